"""Large hosts, made up: the bundle that `diag capture` would write on a host of many containers.

    python -m benchmarks.hosts OUT --containers 1000 --networks 100

Docker 29 with the iptables backend, IPv4 and with `--ipv6` IPv6 too. The same options always give the same bytes.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from types import MappingProxyType

from benchmarks.engine import engine_files
from benchmarks.namespaces import HOST_NAME, container_files, host_files
from benchmarks.plan import Host, HostSpec, container_name, plan_host
from diag.bundle.layout import fact_of
from diag.bundle.writer import write_bundle
from diag.errors import DiagError
from diag.model.bundle import Bundle, FileRecord

__all__ = ["HostSpec", "Written", "container_name", "main", "write_host"]

_CAPTURED_AT = "2026-11-23T18:53:38Z"
_PROGRAMS = frozenset({"iptables-save.txt", "ip6tables-save.txt", "nft-ruleset.json"})
"""Files that a program printed, so that there is an exit status."""


@dataclass(frozen=True, slots=True)
class Written:
    """What a host came to."""

    files: int
    bytes: int
    """Size of all files."""
    rules: int
    """In the host's `iptables-save`."""


def write_host(folder: Path, spec: HostSpec) -> Written:
    """Write the bundle of a host into a folder, which is new or empty.

    Raises ValueError for a host that cannot be, UsageError for a folder that holds something.
    """
    files = host_bundle_files(spec)
    records = {path: _record(path) for path in files}
    bundle = Bundle(
        str(folder),
        MappingProxyType(files),
        MappingProxyType(records),
        host=HOST_NAME,
        captured_at=_CAPTURED_AT,
    )
    write_bundle(bundle, str(folder))
    rules = files["host/iptables-save.txt"].count(b"] -A ")
    return Written(len(files), sum(map(len, files.values())), rules)


def host_bundle_files(spec: HostSpec) -> dict[str, bytes]:
    """The files of a host by their paths in its bundle. Raises ValueError for a host that cannot be."""
    return dict(_files(plan_host(spec)))


def _files(host: Host) -> Iterator[tuple[str, bytes]]:
    parts = [("docker", engine_files(host)), ("host", host_files(host))]
    for folder, files in parts:
        yield from ((f"{folder}/{name}", content) for name, content in files.items())
    for container in host.containers:
        for name, content in container_files(container).items():
            yield f"containers/{container.short_id}/{name}", content


def _record(path: str) -> FileRecord:
    fact = fact_of(path)
    assert fact is not None, path
    status = 0 if path.rpartition("/")[2] in _PROGRAMS else None
    return FileRecord(command=fact.command, exit_status=status, duration=0.002)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    options = vars(_parser().parse_args(arguments))
    folder: Path = options.pop("folder")
    started = time.monotonic()
    try:
        written = write_host(folder, HostSpec(**options))
    except (ValueError, DiagError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    seconds = time.monotonic() - started
    print(
        f"{folder}: {written.rules:,} rules, {written.files:,} files, {written.bytes / 2**20:.1f} MiB, {seconds:.1f} s"
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.hosts", description="Write the bundle of a made-up host."
    )
    parser.add_argument("folder", type=Path, metavar="OUT", help="a new or an empty folder")
    defaults = {field.name: field.default for field in fields(HostSpec)}
    helps = {
        "containers": "how many",
        "networks": "user-defined bridge networks, the containers spread evenly",
        "published": "ports that each container publishes",
        "multihomed": "fraction of containers that are on a second network",
        "admin_rules": "rules in DOCKER-USER, drawn at random",
        "seed": "of everything that is drawn",
    }
    for name, text in helps.items():
        kind = type(defaults[name])
        shown = f"{text} (default {defaults[name]})"
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, default=defaults[name], metavar="N", help=shown)
    parser.add_argument("--distinct", action="store_true", help="every container also has admin rules of its own")
    parser.add_argument("--ipv6", action="store_true", help="every network has IPv6 as well")
    return parser


if __name__ == "__main__":
    sys.exit(main())
