"""Findings in a report: the worst first, every hit with its evidence, none of a long list lost without a word."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from diag.model.analysis import Analysis
from diag.model.finding import Finding, Severity
from diag.model.provenance import Evidence
from diag.report.evidence_view import Appendix
from diag.report.findings_view import FEW, MOST, FindingView, finding_views
from diag.report.language import Language
from diag.report.render import ReportFormat, render
from tests.loading import analysis_of

ENGLISH = Language()
LINE = Evidence("host/sysctl.txt", 1, "net.ipv4.ip_forward = 0")


def found(number: int, code: str = "made-up", severity: Severity = Severity.WARNING) -> tuple[Finding, ...]:
    return tuple(
        Finding(code, severity, "A title", f"c{n}", f"Text of hit {n}.", (LINE,), "What helps.") for n in range(number)
    )


def with_findings(findings: tuple[Finding, ...], name: str = "seed_connected-d20") -> Analysis:
    return replace(analysis_of(name), findings=findings)


def views(findings: tuple[Finding, ...]) -> list[FindingView]:
    return list(finding_views(findings, Appendix(with_findings(findings), ENGLISH), ENGLISH))


def test_hits_of_one_check_are_one_entry() -> None:
    (view,) = views(found(3))
    assert [hit.text for hit in view.hits] == ["Text of hit 0.", "Text of hit 1.", "Text of hit 2."]
    assert (view.more, view.others) == (0, 0)


def test_what_is_not_shown_is_counted() -> None:
    (view,) = views(found(MOST + 7))
    assert (len(view.hits), view.more) == (MOST, 7)
    assert (len(view.first), view.others) == (FEW, MOST + 7 - FEW)


def test_evidence_leads_to_its_file() -> None:
    analysis = analysis_of("forward_off-d29")
    (view, *_) = finding_views(analysis.findings, Appendix(analysis, ENGLISH), ENGLISH)
    assert view.code == "forwarding-disabled"
    assert view.hits[0].cited[0].anchor


@pytest.mark.parametrize("form", [f for f in ReportFormat if f is not ReportFormat.PDF])
def test_every_format_has_every_check_that_found_something(form: ReportFormat) -> None:
    both = (*found(2, "one-code", Severity.ERROR), *found(30, "other-code"))
    text = render(with_findings(both), form, ENGLISH).decode()
    assert text.index("one-code") < text.index("other-code")
    assert "Text of hit 0." in text


def test_a_finding_takes_the_all_clear_from_the_verdict() -> None:
    clear = render(with_findings(()), ReportFormat.TEXT, ENGLISH).decode()
    noted = render(with_findings(found(1, severity=Severity.INFO)), ReportFormat.TEXT, ENGLISH).decode()
    warned = render(with_findings(found(1)), ReportFormat.TEXT, ENGLISH).decode()
    verdict = "Pairs are as they were set up, but the checks found something to mend."
    assert (verdict in clear, verdict in noted, verdict in warned) == (False, False, True)
