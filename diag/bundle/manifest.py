"""`manifest.json`: which command made each file of a bundle, when, and how it ended.

::

    {"schema_version": 1, "tool": "docker-diag 0.1.0", "host": "web-1", "captured_at": "2026-11-24T04:00:00Z",
     "files": {"host/ip-addr.json": {"command": "ip -j -d addr show", "exit_status": 0, "stderr": "",
                                     "duration": 0.004, "sha256": "9f86d0…", "error": ""}}}

A file that could not be captured is listed with the reason in `error` and without a checksum.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Set
from typing import Any

import msgspec.json
from msgspec import Struct, field
from msgspec.json import Decoder
from msgspec.structs import replace

from diag import __version__
from diag.bundle.layout import MANIFEST, is_layout_path
from diag.collector import collector_paused
from diag.model.bundle import SCHEMA_VERSION, Bundle, FileRecord
from diag.model.message import say
from diag.model.provenance import Gap, GapKind

MAX_TEXT = 4096
"""Characters kept of any text of a manifest."""


class _Fields(Struct, forbid_unknown_fields=True):
    """What a manifest says of one file, of whatever types."""

    command: Any = None
    exit_status: Any = None
    stderr: Any = None
    duration: Any = None
    sha256: Any = None
    error: Any = None


class _Document(Struct, forbid_unknown_fields=True):
    """A manifest as :func:`encode_manifest` writes it."""

    schema_version: Any = None
    tool: Any = None
    host: Any = None
    captured_at: Any = None
    files: dict[str, _Fields] = field(default_factory=dict)


_DOCUMENT = Decoder(_Document)
"""Takes no other manifest, and a fraction of what :func:`_load` takes."""


class FileRecords(Mapping[str, FileRecord]):
    """Records by path; made when asked for, because a large host has tens of thousands and few are looked at."""

    __slots__ = ("_fields",)

    def __init__(self, fields: Mapping[str, _Fields]) -> None:
        self._fields = fields

    def __getitem__(self, path: str) -> FileRecord:
        fields = self._fields[path]
        return FileRecord(
            _text(fields.command),
            _exit_status(fields.exit_status),
            _text(fields.stderr),
            _seconds(fields.duration),
            _text(fields.sha256),
            _text(fields.error),
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __contains__(self, path: object) -> bool:
        return path in self._fields

    def checksums(self) -> Iterator[tuple[str, object]]:
        """What the manifest has as the SHA-256 of each file; None when there is none."""
        return ((path, fields.sha256) for path, fields in self._fields.items())


class Manifest(Struct, frozen=True):
    """A decoded manifest; every field has a default, for a manifest may be of any quality."""

    host: str = ""
    captured_at: str = ""
    records: FileRecords = field(default_factory=lambda: FileRecords({}))
    gaps: tuple[Gap, ...] = ()


def encode_manifest(bundle: Bundle, *, checksums: bool = True) -> bytes:
    """The manifest of a bundle: the records it carries, with the checksums of the files as they are now, or none."""
    records = dict(bundle.records)
    for path, content in bundle.files.items():
        record = records.get(path, FileRecord(command=""))
        records[path] = replace(record, sha256=hashlib.sha256(content).hexdigest() if checksums else "")
    document = {
        "schema_version": SCHEMA_VERSION,
        "tool": f"docker-diag {__version__}",
        "host": bundle.host,
        "captured_at": bundle.captured_at,
        "files": {path: _encode_record(record) for path, record in sorted(records.items())},
    }
    return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")


def _encode_record(record: FileRecord) -> dict[str, Any]:
    return {
        "command": record.command,
        "exit_status": record.exit_status,
        "stderr": record.stderr,
        "duration": round(record.duration, 6),
        "sha256": record.sha256,
        "error": record.error,
    }


def decode_manifest(content: bytes, present: Set[str] = frozenset()) -> Manifest:
    """Read a manifest as far as it makes sense; what does not becomes a gap. Never raises.

    `present` are paths that are known to be of the layout.
    """
    with collector_paused():  # it would look through the growing document again and again for nothing
        try:
            strict = _DOCUMENT.decode(content)
        except (ValueError, RecursionError):
            return _decode_any(content, present)
    usable = _usable(strict.files, present)
    unusable = len(strict.files) - len(usable)
    return _manifest(strict.schema_version, strict.host, strict.captured_at, usable, unusable)


def _decode_any(content: bytes, present: Set[str]) -> Manifest:
    """One that is no :class:`_Document`."""
    try:
        document = _load(content)
    except (ValueError, RecursionError) as error:
        return Manifest(gaps=(_gap(say("is not JSON ({error}) and is ignored", error=printable(str(error)))),))
    if not isinstance(document, dict):
        return Manifest(gaps=(_gap(say("is not a JSON object and is ignored")),))
    files = document.get("files")
    entries = files if isinstance(files, dict) else {}
    known = {
        path: _Fields(*map(fields.get, _Fields.__struct_fields__))
        for path, fields in entries.items()
        if isinstance(fields, dict)
    }
    usable = _usable(known, present)
    unusable = len(entries) - len(usable) if isinstance(files, dict) or files is None else 1
    captured_at = document.get("captured_at", document.get("time"))
    return _manifest(document.get("schema_version"), document.get("host"), captured_at, usable, unusable)


def _load(content: bytes) -> Any:
    try:
        return msgspec.json.decode(content)
    except (ValueError, RecursionError):  # what is laxer than strict JSON in UTF-8, or tells what is wrong
        return json.loads(content)


def _usable(files: dict[str, _Fields], present: Set[str]) -> dict[str, _Fields]:
    """Those of the layout."""
    foreign = {path for path in files.keys() - present if not is_layout_path(path)}
    return {path: fields for path, fields in files.items() if path not in foreign} if foreign else files


def _manifest(
    version: object, host: object, captured_at: object, records: dict[str, _Fields], unusable: int
) -> Manifest:
    gaps = []
    if version != SCHEMA_VERSION:
        said = printable(repr(version), 40)
        gaps.append(
            _gap(
                say(
                    "has schema version {version}; this release knows {known} and reads it as that",
                    version=said,
                    known=SCHEMA_VERSION,
                )
            )
        )
    if unusable:
        gaps.append(_gap(say("has {n} entries in `files` that cannot be used", n=unusable)))
    return Manifest(_text(host), _text(captured_at), FileRecords(records), tuple(gaps))


def _text(value: object) -> str:
    if not isinstance(value, str):
        return ""
    return value if len(value) <= MAX_TEXT and value.isprintable() else printable(value)


def _exit_status(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 31 else None


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    try:
        seconds = float(value)
    except OverflowError:
        return 0.0
    return seconds if math.isfinite(seconds) and seconds >= 0 else 0.0


def check_files(files: Mapping[str, bytes], records: FileRecords) -> tuple[Gap, ...]:
    """A gap for each file whose SHA-256 is not the manifest's."""
    digests: dict[bytes, str] = {}  # containers have many files in common
    differ = []
    for path, stated in records.checksums():
        content = files.get(path)
        if content is None or not stated:
            continue
        digest = digests.get(content)
        if digest is None:
            digest = digests[content] = hashlib.sha256(content).hexdigest()
        if stated != digest and _text(stated) and _text(stated).strip().lower() != digest:
            differ.append(path)
    detail = say("its SHA-256 is not the one in manifest.json: it was changed after the capture, or damaged")
    return tuple(Gap(GapKind.INCONSISTENT, path, 0, detail) for path in sorted(differ))


def _gap(detail: str) -> Gap:
    return Gap(GapKind.UNREADABLE, MANIFEST, 0, detail)


def printable(text: str, limit: int = MAX_TEXT) -> str:
    r"""Foreign text made safe for a terminal: control characters escaped, cut at `limit` characters.

    >>> printable("a\x1b[31mb\nc")
    'a\\x1b[31mb\nc'
    """
    cut = text if len(text) <= limit else text[:limit] + "…"
    visible: Callable[[str], bool] = lambda c: c.isprintable() or c in "\n\t"  # noqa: E731
    return "".join(c if visible(c) else c.encode("unicode_escape").decode("ascii") for c in cut)
