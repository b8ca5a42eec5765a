"""What is kept of a run's outcome beside its snapshot."""

from __future__ import annotations

from diag.model.finding import Finding
from diag.model.health import Health
from diag.model.history import FindingNote, Record


def record_of(health: Health) -> Record:
    """The outcome of one run."""
    analysis = health.analysis
    return Record(
        host=analysis.snapshot.host,
        captured_at=analysis.snapshot.captured_at,
        verdicts=analysis.counts,
        findings=tuple(map(note_of, analysis.findings)),
        failed=tuple(expectation.id for expectation in health.failed_expectations),
        healthy=health.healthy,
    )


def note_of(finding: Finding) -> FindingNote:
    """What is kept of a finding."""
    return FindingNote(finding.code, finding.severity, finding.subject)
