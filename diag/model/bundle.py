"""A bundle in memory: plain command outputs by path, as `docs/bundle.md` lays them out."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from msgspec import Struct, field

from diag.model.provenance import Gap

SCHEMA_VERSION = 1
"""Version of the layout, written to and checked in `manifest.json`."""


class FileRecord(Struct, frozen=True):
    """What the manifest says of one file: how it was made, or why it is not there."""

    command: str
    exit_status: int | None = None
    stderr: str = ""
    duration: float = 0.0
    """Seconds."""
    sha256: str = ""
    error: str = ""
    """Why the collector has no output: no permission, no binary, time limit… Empty when all went well."""


class Bundle(Struct, frozen=True):
    """One host's captured state.

    `files` maps a path such as `host/ip-addr.json` to its bytes; the top folder of an archive is already taken off.
    """

    source: str
    """What the user named: a folder, an archive, `-` or `live`."""
    files: Mapping[str, bytes]
    records: Mapping[str, FileRecord] = field(default_factory=lambda: MappingProxyType({}))
    host: str = ""
    captured_at: str = ""
    """RFC 3339, as the manifest gives it; empty when there is no manifest."""
    gaps: tuple[Gap, ...] = ()
    """What reading the bundle itself found wrong: a truncated archive, a refused member, a checksum that differs."""
