"""What `diag check` says: 80 columns, short enough for a mail that is read."""

from __future__ import annotations

from collections.abc import Iterator

from diag.model.difference import Difference
from diag.model.finding import Finding
from diag.model.health import Expectation, Health
from diag.model.reasons import Reachability
from diag.report.columns import command_lines, wrapped
from diag.report.diff_text import difference_lines
from diag.report.findings_view import SEVERITIES
from diag.report.language import Language
from diag.report.shown import shown

EXPECTATIONS, FINDINGS, HITS = 12, 12, 3
"""Expectations and checks that are told, and hits of one check; the rest are counted."""
_LONGEST = 1200
"""Characters of a sentence with what a host says in it."""


def check_text(health: Health, language: Language) -> str:
    """What is wrong, what to do about it, and what changed."""
    return "\n".join(_Text(health, language).lines())


class _Text:
    """Writes lines in one language."""

    def __init__(self, health: Health, language: Language) -> None:
        self.health = health
        self.language = language

    def lines(self) -> Iterator[str]:
        health, say = self.health, self.language.say
        yield from wrapped(self._head())
        for expectation in health.failed_expectations[:EXPECTATIONS]:
            yield ""
            yield from self._expectation(expectation)
        yield from self._more(len(health.failed_expectations) - EXPECTATIONS)
        yield from self._findings()
        if health.analysis.gaps:
            yield ""
            missing = self.language.plural(
                "{n} thing is missing from the capture.",
                "{n} things are missing from the capture.",
                len(health.analysis.gaps),
            )
            detail = shown(self.language.of(health.analysis.gaps[0].detail), 300).rstrip(".")
            first = say("The first gap in the capture: {detail}.", detail=detail)
            yield from wrapped(f"{missing} {first}")
        baseline, last = health.since_baseline, health.since_last
        if baseline is not None and not (baseline.nothing and not baseline.restarted):
            yield from self._since(say("Since the baseline:"), baseline)
        news = last is not None and not (last.nothing and not last.restarted)
        if last is not None and last != baseline and news:
            yield from self._since(say("Since the last run:"), last)

    def _head(self) -> str:
        health, plural = self.health, self.language.plural
        host = shown(health.analysis.snapshot.host) or self.language.say("this host")
        unknown = health.analysis.counts[Reachability.UNKNOWN]
        if health.healthy and unknown:
            return plural(
                "{host} is as it should be as far as can be seen; {n} ordered pair cannot be told.",
                "{host} is as it should be as far as can be seen; {n} ordered pairs cannot be told.",
                unknown,
                host=host,
            )
        if health.healthy:
            return self.language.say("{host} is as it should be.", host=host)
        findings, expectations = len(health.failing_findings), len(health.failed_expectations)
        pairs = sum(flip.pairs for flip in health.since_baseline.flips) if health.since_baseline is not None else 0
        parts = [
            plural("{n} expectation does not hold.", "{n} expectations do not hold.", expectations)
            if expectations
            else "",
            plural("{n} finding.", "{n} findings.", findings) if findings else "",
            plural(
                "{n} ordered pair has another verdict than in the baseline.",
                "{n} ordered pairs have another verdict than in the baseline.",
                pairs,
            )
            if pairs
            else "",
        ]
        return " ".join((self.language.say("{host} is not as it should be:", host=host), *filter(None, parts)))

    def _expectation(self, expectation: Expectation) -> Iterator[str]:
        text = shown(self.language.of(expectation.text), _LONGEST)
        if expectation.held is None:
            head = self.language.say("Cannot be told: {expectation}", expectation=text)
        else:
            head = self.language.say("Does not hold: {expectation}", expectation=text)
        yield from wrapped(f"{head} [{shown(expectation.id)}]", "  ", "✕ " if expectation.held is False else "? ")
        yield from wrapped(shown(self.language.of(expectation.explanation), _LONGEST), "  ", "  ")
        if expectation.failed > 1:
            others = expectation.failed - 1
            yield from wrapped(
                self.language.plural("{n} more does not hold.", "{n} more do not hold.", others), "  ", "  "
            )
        if expectation.evidence is not None:
            yield from wrapped(shown(str(expectation.evidence), _LONGEST), "      ", "    ")
        for fix in expectation.fixes[:1]:
            yield from self._command(fix.command)

    def _findings(self) -> Iterator[str]:
        by_code: dict[str, list[Finding]] = {}
        for finding in self.health.analysis.findings:
            if finding.key not in self.health.accepted:
                by_code.setdefault(finding.code, []).append(finding)
        for found in list(by_code.values())[:FINDINGS]:
            yield ""
            yield from self._check(found)
        yield from self._more(len(by_code) - FINDINGS)
        accepted = len(self.health.analysis.findings) - sum(map(len, by_code.values()))
        if accepted:
            yield ""
            yield from wrapped(
                self.language.plural(
                    "{n} finding was accepted with the baseline.",
                    "{n} findings were accepted with the baseline.",
                    accepted,
                )
            )

    def _check(self, found: list[Finding]) -> Iterator[str]:
        first, of = found[0], self.language.of
        _, mark, word = SEVERITIES[first.severity]
        title = self.language.say("{severity}: {title}", severity=of(word), title=of(first.title))
        yield from wrapped(f"{title} [{first.code}]", "  ", f"{mark} ")
        for finding in found[:HITS]:
            yield from wrapped(shown(of(finding.text), _LONGEST), "  ", "  ")
            for evidence in finding.evidence[:1]:
                yield from wrapped(shown(str(evidence), 300), "      ", "    ")
            if finding.command:
                yield from self._command(finding.command)
        yield from self._more(len(found) - HITS)
        if not any(finding.command for finding in found[:HITS]):
            yield from wrapped(of(first.advice), "  ", "  ")

    def _command(self, command: str) -> Iterator[str]:
        fix = self.language.say("Fix:")
        yield f"  {fix}"
        yield from command_lines(shown(command, 2000), "    ")

    def _more(self, number: int) -> Iterator[str]:
        if number > 0:
            yield from wrapped(self.language.plural("… and {n} more.", "… and {n} more.", number), "  ", "  ")

    def _since(self, title: str, difference: Difference) -> Iterator[str]:
        yield ""
        yield title
        yield from difference_lines(difference, self.language)
