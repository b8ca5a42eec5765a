"""JUnit XML of one check: a test case per expectation, per check, and for the verdicts since the baseline.

The form is the one that Jenkins' xUnit plugin has a schema for (junit-10.xsd), which other readers take as well.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from xml.etree import ElementTree as ET

from msgspec import Struct

from diag.findings.registry import CHECKS
from diag.model.difference import Flip
from diag.model.finding import Finding
from diag.model.health import Expectation, Health
from diag.report.shown import shown

_NAME, _TEXT = 400, 4000
"""Characters of a name, and of one line of a text."""
_MOST = 100
"""Findings or flips that one test case tells."""


class _Case(Struct, frozen=True):
    """One test case; neither bad news nor trouble: it passed."""

    suite: str
    name: str
    failure: str = ""
    """Why it failed, in a line."""
    error: str = ""
    """Why it cannot be told, in a line."""
    lines: tuple[str, ...] = ()
    """More on that, or of a case that passed what there is to know."""


def junit_xml(health: Health) -> bytes:
    """The document in UTF-8. Text of the host is made visible, so that no character is one that XML cannot have."""
    cases = [*_expectations(health), *_checks(health), *_verdicts(health)]
    snapshot = health.analysis.snapshot
    root = ET.Element("testsuites", _statistics("diag check", cases), time=f"{health.seconds:.3f}")
    for name in dict.fromkeys(case.suite for case in cases):
        members = [case for case in cases if case.suite == name]
        suite = ET.SubElement(root, "testsuite", _statistics(name, members), skipped="0", time="0")
        for key, value in (("hostname", snapshot.host), ("timestamp", snapshot.captured_at)):
            if value:
                suite.set(key, shown(value, _NAME))
        for case in members:
            _add_case(suite, case)
    ET.indent(root)
    text: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def _statistics(name: str, cases: Iterable[_Case]) -> dict[str, str]:
    found = list(cases)
    return {
        "name": name,
        "tests": str(len(found)),
        "failures": str(sum(bool(case.failure) for case in found)),
        "errors": str(sum(bool(case.error) for case in found)),
    }


def _add_case(suite: ET.Element, case: _Case) -> None:
    element = ET.SubElement(suite, "testcase", classname=f"diag.{case.suite}", name=shown(case.name, _NAME), time="0")
    text = "\n".join(shown(line, _TEXT) for line in case.lines)
    if case.failure:
        ET.SubElement(element, "failure", message=shown(case.failure, _TEXT), type=case.suite).text = text
    elif case.error:
        ET.SubElement(element, "error", message=shown(case.error, _TEXT), type=case.suite).text = text
    elif text:
        ET.SubElement(element, "system-out").text = text


def _expectations(health: Health) -> Iterator[_Case]:
    for expectation in health.expectations:
        name = f"{expectation.id}: {expectation.text}"
        lines = tuple(_of_expectation(expectation))
        message = expectation.explanation or expectation.text
        match expectation.held:
            case True:
                yield _Case("expectations", name)
            case False:
                yield _Case("expectations", name, failure=message, lines=lines)
            case None:
                yield _Case("expectations", name, error=message, lines=lines)


def _of_expectation(expectation: Expectation) -> Iterator[str]:
    if any(expectation.subject):
        yield f"first: {' to '.join(expectation.subject)}"
    if expectation.failed:
        yield f"not held: {expectation.failed}"
    if expectation.evidence is not None:
        yield str(expectation.evidence)
    for fix in expectation.fixes:
        yield f"fix: {fix.command}"
    if expectation.file:
        yield f"{expectation.file}:{expectation.line}" if expectation.line else expectation.file


def _checks(health: Health) -> Iterator[_Case]:
    """Each check of the registry; a finding fails it as it would the command."""
    titles = {check.code: str(check.title) for check in CHECKS}
    by_code: dict[str, list[Finding]] = defaultdict(list)
    for finding in health.analysis.findings:
        by_code[finding.code].append(finding)
        titles.setdefault(finding.code, finding.title)
    for code, title in sorted(titles.items()):
        failing = [f for f in health.failing_findings if f.code == code]
        subjects = _some(dict.fromkeys(f.subject for f in failing), "; ")
        lines = tuple(line for finding in by_code[code][:_MOST] for line in _of_finding(finding, health))
        yield _Case("findings", f"{code}: {title}", failure=f"{title}: {subjects}" if failing else "", lines=lines)


def _of_finding(finding: Finding, health: Health) -> Iterator[str]:
    accepted = " (accepted)" if finding.key in health.accepted else ""
    yield f"{finding.severity.value}{accepted}: {finding.subject}: {finding.text}"
    for evidence in finding.evidence[:1]:
        yield f"  {evidence}"
    if finding.command or finding.advice:
        yield f"  fix: {finding.command or finding.advice}"


def _verdicts(health: Health) -> Iterator[_Case]:
    """Other verdicts than in the baseline are bad news; than in the last run they are no more than news."""
    if health.since_baseline is None:
        return
    flips = health.since_baseline.flips
    failure = f"pairs with another verdict than in the baseline: {sum(flip.pairs for flip in flips)}" if flips else ""
    lines = tuple(line for flip in flips[:_MOST] for line in _of_flip(flip))
    yield _Case("verdicts", "no verdict is another than in the baseline", failure=failure, lines=lines)


def _of_flip(flip: Flip) -> Iterator[str]:
    others = f" and {flip.pairs - 1} more" if flip.pairs > 1 else ""
    before = f"{flip.before.value} ({flip.allowed_before.words})"
    after = f"{flip.after.value} ({flip.allowed_after.words})"
    yield f"{' to '.join(flip.example)}{others}: was {before}, is {after}"
    yield f"  {flip.explanation}"
    for change in flip.because:
        yield f"  because: {change.text}"


def _some(texts: Iterable[str], separator: str, most: int = 5) -> str:
    found = list(texts)
    more = f"{separator}and {len(found) - most} more" if len(found) > most else ""
    return separator.join(found[:most]) + more
