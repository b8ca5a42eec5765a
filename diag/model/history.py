"""What the state folder says of earlier runs: plain data, enough for lists and trends without reading a snapshot."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field

from diag.model.finding import Severity
from diag.model.reasons import Reachability


class FindingNote(Struct, frozen=True, order=True):
    """A finding of an earlier run."""

    code: str
    severity: Severity
    subject: str

    @property
    def key(self) -> tuple[str, str]:
        """As that of a finding."""
        return self.code, self.subject


class Record(Struct, frozen=True):
    """The outcome of one run."""

    host: str
    captured_at: str
    """RFC 3339, as the bundle gives it."""
    verdicts: Mapping[Reachability, int] = field(default_factory=dict)
    """Ordered pairs of containers by reachability."""
    findings: tuple[FindingNote, ...] = ()
    failed: tuple[str, ...] = ()
    """Ids of the expectations that did not hold, or of which that could not be told."""
    healthy: bool = True
    written_at: float = 0.0
    """Unix time by the host's clock when it was stored. The clock may go back: it is no order."""


class Kept(Struct, frozen=True):
    """One snapshot in the state folder."""

    id: int
    """Counts up from 1, is never given twice, and is the order of the snapshots."""
    size: int
    """Bytes of its file."""
    record: Record
    base: int = 0
    """The snapshot that its file holds the differences to; 0: it stands alone."""
    retired: bool = False
    """Removed by retention; its file stays until no other needs it."""
    damage: str = ""
    """What is wrong with its file; empty when nothing is known to be."""


class Baseline(Struct, frozen=True):
    """What later runs are held against."""

    id: int
    accepted: frozenset[tuple[str, str]] = frozenset()
    """Keys of the findings that somebody accepted with it."""
    set_at: float = 0.0
    """Unix time."""
    by_hand: bool = False
    """False: the first snapshot, taken without being asked."""


class Retention(Struct, frozen=True):
    """How much the state folder keeps. The newest snapshot and the baseline are always kept."""

    count: int = 24 * 31
    """The newest ones: a month of hourly runs."""
    days: float = 90.0
    size: int = 256 << 20
    """Bytes of all snapshot files."""
