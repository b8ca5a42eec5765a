"""What the checks found, as a report shows it: one entry for each check, with its hits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct

from diag.model.finding import Finding, Severity
from diag.model.message import Message, say
from diag.report.evidence_view import Appendix, Cited
from diag.report.language import Language
from diag.report.shown import shown

MOST = 12
"""Hits of one check that are shown; the rest are counted."""
FEW = 4
"""Of those, on paper and in text."""
SEVERITIES: dict[Severity, tuple[str, str, Message]] = {
    Severity.ERROR: ("unreachable", "✕", say("error")),
    Severity.WARNING: ("partial", "!", say("warning")),
    Severity.INFO: ("unknown", "i", say("note")),
}
"""Class of the style sheet, mark and word, the worst first."""


class HitView(Struct, frozen=True):
    """One thing that a check found."""

    text: str
    cited: tuple[Cited, ...]
    command: str
    """Empty where it takes more than one command."""


class FindingView(Struct, frozen=True):
    """What one check found."""

    key: str
    mark: str
    word: str
    """The severity."""
    title: str
    code: str
    advice: str
    """What helps, in words."""
    hits: tuple[HitView, ...]
    """The first :data:`MOST`."""
    more: int

    @property
    def first(self) -> tuple[HitView, ...]:
        """The first :data:`FEW`."""
        return self.hits[:FEW]

    @property
    def others(self) -> int:
        """Hits that are not among the first."""
        return self.more + len(self.hits) - len(self.first)


def finding_views(findings: Iterable[Finding], appendix: Appendix, language: Language) -> Iterator[FindingView]:
    """In the order of the findings."""
    by_code: dict[str, list[Finding]] = {}
    for finding in findings:
        by_code.setdefault(finding.code, []).append(finding)
    for code, found in by_code.items():
        first = found[0]
        key, mark, word = SEVERITIES[first.severity]
        yield FindingView(
            key,
            mark,
            language.of(word),
            language.of(first.title),
            code,
            language.of(first.advice),
            tuple(_hit(finding, appendix, language) for finding in found[:MOST]),
            max(0, len(found) - MOST),
        )


def _hit(finding: Finding, appendix: Appendix, language: Language) -> HitView:
    cited = (appendix.cite(evidence) for evidence in finding.evidence)
    return HitView(
        shown(language.of(finding.text), 2000),
        tuple(one for one in cited if one is not None),
        shown(finding.command, 2000),
    )
