"""A container's `/etc/hosts`: as captured, or as Docker would have written it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec import Struct

from diag.model.address import Ip
from diag.model.docker import Container
from diag.model.netns import HostsEntry
from diag.model.snapshot import Snapshot


class HostsFile(Struct, frozen=True):
    """The lines, and each lower-case name's own."""

    lines: tuple[HostsEntry, ...]
    by_name: Mapping[str, tuple[HostsEntry, ...]]


def hosts_file(snapshot: Snapshot, container: Container) -> HostsFile:
    """What the container reads; where the file was not captured, the lines that Docker would have written."""
    files = snapshot.name_files.get(container.name)
    captured = files.hosts if files else None
    lines = tuple(_written(snapshot, container)) if captured is None else captured
    by_name: dict[str, tuple[HostsEntry, ...]] = {}
    for line in lines:
        for name in dict.fromkeys([name.lower() for name in line.names]):
            by_name[name] = (*by_name.get(name, ()), line)
    return HostsFile(lines, by_name)


def _written(snapshot: Snapshot, container: Container) -> Iterator[HostsEntry]:
    for name, address in container.extra_hosts:
        ip = _address(address)
        if ip is not None:
            yield HostsEntry(ip, (name,), container.evidence)
    first = next((e.ip for e in container.endpoints if e.ip is not None), None)
    if first is not None:
        yield HostsEntry(first, tuple(n for n in (container.hostname, container.short_id) if n))
    for target, alias in container.links:
        other = snapshot.container(target)
        ip = next((e.ip for e in other.endpoints if e.network == "bridge"), None) if other else None
        if ip is not None and other is not None:
            yield HostsEntry(ip, (alias, other.short_id, other.name), container.evidence)


def _address(text: str) -> Ip | None:
    try:
        return Ip.parse(text)
    except ValueError:
        return None
