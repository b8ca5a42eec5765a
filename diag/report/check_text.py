"""What `diag check` says: 80 columns, short enough for a mail that is read."""

from __future__ import annotations

from collections.abc import Iterator

from diag.model.analysis import Analysis
from diag.model.finding import Finding, Severity
from diag.model.message import Message, say
from diag.report.columns import command_lines, wrapped
from diag.report.language import Language
from diag.report.shown import shown

WORDS: dict[Severity, Message] = {
    Severity.ERROR: say("error"),
    Severity.WARNING: say("warning"),
    Severity.INFO: say("note"),
}


def check_text(analysis: Analysis, language: Language) -> str:
    """The findings of a host, the worst first."""
    return "\n".join(_lines(analysis, language))


def _lines(analysis: Analysis, language: Language) -> Iterator[str]:
    host = shown(analysis.snapshot.host) or language.say("this host")
    if not analysis.findings:
        yield language.say("{host}: nothing found.", host=host)
        return
    number = len(analysis.findings)
    yield language.plural("{host}: {n} finding.", "{host}: {n} findings.", number, host=host)
    for finding in analysis.findings:
        yield ""
        yield from _finding(finding, language)


def _finding(finding: Finding, language: Language) -> Iterator[str]:
    head = f"{language.of(WORDS[finding.severity])}: {language.of(finding.title)} [{finding.code}]"
    yield from wrapped(head, "  ")
    yield from wrapped(shown(language.of(finding.text), 2000), "  ", "  ")
    for evidence in finding.evidence[:1]:
        yield from wrapped(shown(str(evidence), 2000), "    ", "  ")
    if finding.command:
        yield f"  {language.say('Fix:')}"
        yield from command_lines(finding.command, "    ")
    elif finding.advice:
        yield from wrapped(language.of(finding.advice), "  ", "  ")
