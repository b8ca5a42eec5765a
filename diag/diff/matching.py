"""Which container and network of one capture is which of another: by what people call them, not by ids.

A container is the same with the same name or the same id; else with the same Compose project and service, for Compose
gives a container that it makes anew a new id, and some of its versions another name. A network is the same by its name.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping

from msgspec import Struct

from diag.model.docker import Container, DockerNetwork
from diag.model.snapshot import Snapshot

_NUMBER = re.compile(r"(\d+)$")


class Matching(Struct, frozen=True):
    """Pairs of old and new."""

    containers: tuple[tuple[Container, Container], ...]
    networks: tuple[tuple[DockerNetwork, DockerNetwork], ...]
    renamed: frozenset[str] = frozenset()
    """Old names of containers that somebody renamed: the same id under another name."""

    @property
    def restarted(self) -> tuple[str, ...]:
        """New names of containers that run in both captures, but not the same process."""
        return tuple(sorted(new.name for old, new in self.containers if _started_anew(old, new)))


def match(before: Snapshot, after: Snapshot) -> Matching:
    """What is the same in both captures."""
    by_name = {c.name: c for c in reversed(after.containers)}
    by_id = {c.id: c for c in after.containers}
    found: dict[str, tuple[Container, Container]] = {}
    taken: set[str] = set()
    renamed = set()

    def pair(old: Container, new: Container | None) -> None:
        if new is not None and old.name not in found and new.name not in taken:
            found[old.name] = old, new
            taken.add(new.name)

    for old in before.containers:
        same = by_id.get(old.id)
        if same is not None and same.name != old.name:
            pair(old, same)
            renamed.add(old.name)
    for old in before.containers:
        pair(old, by_name.get(old.name))
    left = _by_service(c for c in after.containers if c.name not in taken)
    for service, olds in _by_service(c for c in before.containers if c.name not in found).items():
        for number, old in olds.items():
            pair(old, left.get(service, {}).get(number))
    networks = {n.name: n for n in reversed(after.networks)}
    pairs = {n.name: (n, networks[n.name]) for n in reversed(before.networks) if n.name in networks}
    return Matching(tuple(found.values()), tuple(pairs.values()), frozenset(renamed))


def _by_service(containers: Iterable[Container]) -> Mapping[tuple[str, str], dict[str, Container]]:
    """Those of Compose, by project and service, and then by the number at the end of their names."""
    found: dict[tuple[str, str], dict[str, Container]] = defaultdict(dict)
    for container in containers:
        if container.compose_service:
            number = _NUMBER.search(container.name)
            key = (container.compose_project, container.compose_service)
            found[key].setdefault(number[1] if number else "", container)
    return found


def _started_anew(old: Container, new: Container) -> bool:
    if not (old.running and new.running):
        return False
    return old.id != new.id or (old.pid, old.sandbox_key) != (new.pid, new.sandbox_key)
