"""What is kept of an outcome."""

from __future__ import annotations

from msgspec.structs import replace

from diag.findings.registry import find_all
from diag.history.record import record_of
from diag.model.finding import Severity
from diag.model.health import Expectation, Health
from tests.history.bundles import NOTE
from tests.loading import analysis_of


def test_of_a_real_host() -> None:
    analysis = analysis_of("forward_off-d29")
    analysis = replace(analysis, findings=find_all(analysis))
    expectations = (Expectation("reach[0]", "a", True), Expectation("reach[1]", "b", False), Expectation("c", "", None))
    record = record_of(Health(analysis, Severity.WARNING, expectations))
    assert (record.host, record.captured_at) == (analysis.snapshot.host, analysis.snapshot.captured_at)
    assert record.verdicts == analysis.counts
    assert NOTE in record.findings
    assert record.findings[0].key == analysis.findings[0].key
    assert record.failed == ("reach[1]", "c")
    assert not record.healthy
