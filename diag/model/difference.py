"""What is different between two looks at one host."""

from __future__ import annotations

from msgspec import Struct

from diag.model.analysis import Allowed
from diag.model.enums import Word
from diag.model.finding import Finding
from diag.model.provenance import Evidence
from diag.model.reasons import Reachability, Reason


class ChangeKind(Word):
    """How a fact is different."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


class Change(Struct, frozen=True):
    """One fact that is different, told by names that survive restarts."""

    kind: ChangeKind
    subject: str
    """`container web`, `network app`, `rules of filter DOCKER-USER`, `sysctl net.ipv4.ip_forward`."""
    text: str
    """One sentence."""
    before: Evidence | None = None
    """In the old capture."""
    after: Evidence | None = None
    """In the new one."""


class Flip(Struct, frozen=True):
    """Ordered pairs (`sources` × `destinations`, a container with itself left out) whose verdict changed alike.

    Ends may be `@host` and `@world`. A pair whose `allowed` changed is one too, though its reachability may not have.
    """

    sources: tuple[str, ...]
    destinations: tuple[str, ...]
    before: Reachability
    after: Reachability
    allowed_before: Allowed
    allowed_after: Allowed
    reason: Reason
    """Of the new verdict."""
    example: tuple[str, str]
    explanation: str
    """Of the example's new verdict."""
    because: tuple[Change, ...] = ()
    """Each of them alone, applied to the old model, gives the new verdict; empty where no single one does."""
    together: tuple[Change, ...] = ()
    """Where no single one does: those that do so together, none of which can be left out."""
    family: str = ""
    """Where the pair as a whole stays as it was: the family, `ipv4` or `ipv6`, that `allowed_…` are of."""

    @property
    def pairs(self) -> int:
        return sum(1 for s in self.sources for d in self.destinations if s != d)


class NameChange(Struct, frozen=True):
    """A name that one container resolves differently; addresses that only moved with their container do not count."""

    container: str
    name: str
    before: tuple[str, ...]
    """Containers it led to, or addresses where they are no container's; empty: not found."""
    after: tuple[str, ...]


class Difference(Struct, frozen=True):
    """Everything that changed, without the noise of restarts."""

    before: str
    """When the old capture was made, ISO 8601."""
    after: str
    changes: tuple[Change, ...] = ()
    flips: tuple[Flip, ...] = ()
    names: tuple[NameChange, ...] = ()
    appeared: tuple[Finding, ...] = ()
    gone: tuple[Finding, ...] = ()
    restarted: tuple[str, ...] = ()
    """Containers that were started anew: no change, but worth a line."""

    @property
    def nothing(self) -> bool:
        """Whether nothing changed; a restart is no change."""
        return not (self.changes or self.flips or self.names or self.appeared or self.gone)
