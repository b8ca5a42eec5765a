"""What a check is, and what it looks at."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property

from msgspec import Struct

from diag.findings.blocked import Blocked, all_blocked
from diag.findings.cables import Cable, cables_of, own_space, whole_containers
from diag.findings.host_rules import HostRules
from diag.interpreter.trace import Tracer
from diag.interpreter.world import World
from diag.model.address import Family, Ip
from diag.model.analysis import Analysis
from diag.model.docker import Container, DockerNetwork
from diag.model.finding import Finding, Severity
from diag.model.netns import Link, LinkKind, Netns
from diag.model.provenance import Evidence
from diag.model.snapshot import Snapshot
from diag.reach.far import far_addresses


class Facts:
    """A host as the checks see it: its snapshot, its analysis, and indexes made when they are first asked for."""

    def __init__(self, analysis: Analysis, tracer: Tracer | None = None) -> None:
        self.analysis = analysis
        self.snapshot: Snapshot = analysis.snapshot
        self._tracer = tracer

    @cached_property
    def tracer(self) -> Tracer:
        """Walks single flows, to prove what facts alone make likely."""
        return self._tracer or Tracer(self.snapshot)

    @property
    def world(self) -> World:
        """Namespaces, their owners, bridges and the link layer."""
        return self.tracer.world

    @cached_property
    def far(self) -> Mapping[Family, Ip]:
        """Of each family the address that stands for any on the internet."""
        return far_addresses(self.snapshot)

    @cached_property
    def cables(self) -> tuple[Cable, ...]:
        """The containers' links on their Docker networks."""
        return cables_of(self.world)

    @cached_property
    def whole(self) -> tuple[tuple[Cable, ...], ...]:
        """The cables of each container whose links are all there."""
        return tuple(whole_containers(self.cables))

    @cached_property
    def publishing(self) -> tuple[tuple[Container, Netns], ...]:
        """Running containers that publish, with the namespace that is theirs alone to publish from."""
        publishing = [c for c in self.snapshot.containers if c.ports and c.status == "running"]
        spaces = ((container, own_space(self.world, container)) for container in publishing)
        return tuple((container, space) for container, space in spaces if space is not None)

    @cached_property
    def sees_bridges(self) -> bool:
        """Whether the host's namespace is the one that Docker's bridges are in (with rootless Docker it is not)."""
        return any(link.name in self.world.bridges for link in self.host.links or ())

    @cached_property
    def host(self) -> Netns:
        """The host's namespace; an empty one where nothing of it was captured."""
        return self.snapshot.netns.get("host") or Netns("host")

    @cached_property
    def host_links(self) -> dict[str, Link]:
        """The host's links by name."""
        return {link.name: link for link in self.host.links or ()}

    @cached_property
    def bridge_networks(self) -> list[DockerNetwork]:
        """Networks of the bridge driver whose bridge is there."""
        bridges = {name for name, link in self.host_links.items() if link.kind is LinkKind.BRIDGE}
        return [n for n in self.snapshot.networks if n.driver == "bridge" and n.bridge_name in bridges]

    @cached_property
    def rules(self) -> dict[Family, HostRules]:
        """The host's netfilter rules by family."""
        return {family: HostRules(self.snapshot, self.host.ruleset, family) for family in Family}

    @cached_property
    def _networks_in(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for container in self.snapshot.containers:
            netns = self.snapshot.netns_of.get(container.name)
            if netns is not None:
                found.setdefault(netns, set()).update(endpoint.network for endpoint in container.endpoints)
        return found

    def networks_of(self, container: str) -> set[str]:
        """The Docker networks that a container's namespace is on, whoever brought it there."""
        return self._networks_in.get(self.snapshot.netns_of.get(container, ""), set())

    @cached_property
    def blocked(self) -> tuple[Blocked, ...]:
        """What rules stop of the traffic that should pass."""
        return all_blocked(self)

    @cached_property
    def version(self) -> tuple[int, int, int] | None:
        """The engine's; None where it was not captured."""
        found = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", self.snapshot.engine.version)
        return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else None


class Found(Struct, frozen=True):
    """One hit of a check."""

    subject: str
    """As in :class:`diag.model.finding.Finding`."""
    text: str
    evidence: tuple[Evidence, ...]
    command: str = ""


class Check(Struct, frozen=True):
    """One row of the registry. A check that lacks its facts finds nothing: the gaps say what is missing."""

    code: str
    severity: Severity
    title: str
    meaning: str
    """What it means for the containers."""
    detected: str
    """By which facts."""
    fix: str
    """What helps, in words."""
    find: Callable[[Facts], Iterator[Found]]

    def findings(self, facts: Facts) -> Iterator[Finding]:
        """What it finds on one host."""
        for hit in self.find(facts):
            yield Finding(
                self.code, self.severity, self.title, hit.subject, hit.text, hit.evidence, self.fix, hit.command
            )
