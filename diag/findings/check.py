"""What a check is, and what it looks at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property

from msgspec import Struct

from diag.findings.cables import Cable, cables_of
from diag.interpreter.trace import Tracer
from diag.interpreter.world import World
from diag.model.analysis import Analysis
from diag.model.finding import Finding, Severity
from diag.model.netns import Netns
from diag.model.provenance import Evidence
from diag.model.snapshot import Snapshot


class Facts:
    """A host as the checks see it: its snapshot, its analysis, and indexes made when they are first asked for."""

    def __init__(self, analysis: Analysis) -> None:
        self.analysis = analysis
        self.snapshot: Snapshot = analysis.snapshot

    @cached_property
    def tracer(self) -> Tracer:
        """Walks single flows, to prove what facts alone make likely."""
        return Tracer(self.snapshot)

    @property
    def world(self) -> World:
        """Namespaces, their owners, bridges and the link layer."""
        return self.tracer.world

    @cached_property
    def cables(self) -> tuple[Cable, ...]:
        """The containers' links on their Docker networks."""
        return cables_of(self.world)

    @cached_property
    def sees_bridges(self) -> bool:
        """Whether the host's namespace is the one that Docker's bridges are in (with rootless Docker it is not)."""
        return any(link.name in self.world.bridges for link in self.host.links or ())

    @cached_property
    def host(self) -> Netns:
        """The host's namespace; an empty one where nothing of it was captured."""
        return self.snapshot.netns.get("host") or Netns("host")


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
