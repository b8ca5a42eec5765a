"""Everything that is known of one host at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType

from msgspec import Struct, field

from diag.model.docker import Container, DockerNetwork, Engine
from diag.model.netns import HostsEntry, Netns, ResolvConf
from diag.model.provenance import Gap


class NameFiles(Struct, frozen=True):
    """A container's own resolver files; None: not captured. Even a container on the host's network has its own."""

    hosts: tuple[HostsEntry, ...] | None = None
    resolv: ResolvConf | None = None


class Snapshot(Struct, frozen=True, dict=True):
    """The facts of a bundle. Namespaces are keyed by their `id`; every container in `netns_of` has one."""

    engine: Engine
    networks: tuple[DockerNetwork, ...]
    containers: tuple[Container, ...]
    """Sorted by name."""
    netns: Mapping[str, Netns]
    netns_of: Mapping[str, str]
    """Container name to namespace id: `host` for host mode, the target's for a joined one. Absent: it has none."""
    name_files: Mapping[str, NameFiles] = field(default_factory=lambda: MappingProxyType({}))
    """By container name."""
    captured_at: str = ""
    host: str = ""
    gaps: tuple[Gap, ...] = ()
    containers_captured: bool = True
    """False: `docker/containers.json` is missing and the containers are those that the networks list."""
    files: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """The captured text files that evidence points into, decoded, for the report's appendix."""

    @cached_property
    def _by_name(self) -> dict[str, Container]:
        """The first of several counts."""
        return {c.name: c for c in reversed(self.containers)}

    @cached_property
    def _networks(self) -> dict[str, DockerNetwork]:
        """By name and by id; the first of several counts."""
        return {key: n for n in reversed(self.networks) for key in (n.id, n.name)}

    def container(self, name: str) -> Container | None:
        """By name, or by an id prefix of at least 4 characters that fits one container only."""
        named = self._by_name.get(name)
        if named is not None:
            return named
        for c in self.containers:
            if c.id == name:
                return c
        if len(name) >= 4:
            hits = [c for c in self.containers if c.id.startswith(name)]
            if len(hits) == 1:
                return hits[0]
        return None

    def network(self, name: str) -> DockerNetwork | None:
        """By name or id."""
        return self._networks.get(name)
