"""The outcome of one `diag check`: what its text, JUnit, SARIF, metrics and webhook are made from."""

from __future__ import annotations

from msgspec import Struct

from diag.model.analysis import Analysis, Fix
from diag.model.difference import Difference
from diag.model.finding import Finding, Severity
from diag.model.provenance import Evidence


class Expectation(Struct, frozen=True):
    """One expectation of a policy, judged."""

    id: str
    """Stable: the policy's own name for it, or its place in the file (`reach[2]`)."""
    text: str
    """What is expected, in words."""
    held: bool | None
    """None: cannot be told from the capture."""
    subject: tuple[str, str] = ("", "")
    """The first pair, or container and name, that does not hold."""
    failed: int = 0
    """How many pairs, or names, do not hold."""
    explanation: str = ""
    """Of the subject: why not."""
    evidence: Evidence | None = None
    fixes: tuple[Fix, ...] = ()
    file: str = ""
    """The policy's file, as it was given."""
    line: int = 0
    """1-based line of the expectation in it; 0: unknown."""


class Health(Struct, frozen=True):
    """Everything that one check found out."""

    analysis: Analysis
    fail_on: Severity
    expectations: tuple[Expectation, ...] = ()
    """Empty without a policy."""
    since_baseline: Difference | None = None
    """None: no state folder, a policy instead, or the first run."""
    since_last: Difference | None = None
    """None: no state folder, or the first run."""
    accepted: frozenset[tuple[str, str]] = frozenset()
    """Keys of findings that somebody accepted with the baseline."""
    seconds: float = 0.0
    """Wall clock, capture included."""

    @property
    def failing_findings(self) -> tuple[Finding, ...]:
        """Findings at or above `fail_on` that nobody accepted."""
        return tuple(
            f for f in self.analysis.findings if f.severity.rank >= self.fail_on.rank and f.key not in self.accepted
        )

    @property
    def failed_expectations(self) -> tuple[Expectation, ...]:
        """Those that do not hold, or of which that cannot be told."""
        return tuple(e for e in self.expectations if e.held is not True)

    @property
    def worth_telling(self) -> bool:
        """Not as it should be, or something changed since the last run."""
        return not self.healthy or (self.since_last is not None and not self.since_last.nothing)

    @property
    def healthy(self) -> bool:
        """Exit status 0."""
        flipped = self.since_baseline is not None and bool(self.since_baseline.flips)
        return not (self.failing_findings or self.failed_expectations or flipped)
