"""SARIF 2.1.0 of one check, for code scanning: a result per finding, expectation that is not held, and flip.

Evidence is a place in the bundle: its file below `BUNDLE`, and the line there. An expectation is a place in its policy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from urllib.parse import quote

from msgspec import Struct, to_builtins

from diag import __version__
from diag.findings.registry import CHECKS
from diag.model.difference import Flip
from diag.model.finding import Severity
from diag.model.health import Expectation, Health
from diag.model.provenance import Evidence, Gap
from diag.report.json_text import on_lines
from diag.report.sarif_records import (
    Artifact,
    Component,
    Configuration,
    Invocation,
    Location,
    Log,
    Logical,
    Notification,
    Physical,
    Region,
    Result,
    Rule,
    Run,
    Suppression,
    Text,
    Tool,
)
from diag.report.shown import shown

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_TEXT, _NAME = 4000, 400
"""Characters of a text, and of a name."""
_MOST_GAPS = 100
_BUNDLE = "BUNDLE"
_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}


class _Hit(Struct, frozen=True):
    """A result before its rule has a place."""

    rule: Rule
    level: str
    text: str
    places: tuple[Location, ...]
    """The first is where it is, the others have to do with it."""
    subject: str
    """With the rule the same for the same trouble at another time."""
    accepted: bool = False


def sarif_json(health: Health) -> bytes:
    """The document in UTF-8. A finding that was accepted with the baseline is a suppressed result."""
    hits = [*_findings(health), *_expectations(health), *_flips(health)]
    rules = list({rule.id: rule for rule in (*_RULES.values(), *(hit.rule for hit in hits))}.values())
    position = {rule.id: number for number, rule in enumerate(rules)}
    snapshot = health.analysis.snapshot
    run = Run(
        Tool(Component("docker-diag", __version__, tuple(rules))),
        (
            Invocation(
                execution_successful=True,
                tool_execution_notifications=tuple(_notifications(health.analysis.gaps)),
                machine=shown(snapshot.host, _NAME),
            ),
        ),
        tuple(_result(hit, position[hit.rule.id]) for hit in hits),
        {_BUNDLE: Artifact(description=Text("The captured bundle, as `diag capture` writes it."))},
    )
    return on_lines(to_builtins(Log(_SCHEMA, "2.1.0", (run,)))) + b"\n"


def _result(hit: _Hit, rule_index: int) -> Result:
    key = f"{hit.rule.id}\0{hit.subject}".encode("utf-8", "surrogatepass")
    return Result(
        hit.rule.id,
        rule_index,
        hit.level,
        Text(hit.text),
        hit.places[:1],
        {"ruleAndSubject/v1": hashlib.sha256(key).hexdigest()[:32]},
        hit.places[1:],
        (Suppression("external", "accepted", "accepted with the baseline"),) if hit.accepted else (),
    )


_RULES = {
    check.code: Rule(
        check.code,
        Text(str(check.title)),
        Text(str(check.meaning)),
        Text(f"How it is found: {check.detected} What helps: {check.fix}"),
        Configuration(_LEVELS[check.severity]),
    )
    for check in CHECKS
}
_FLIPPED = Rule("verdict-changed", Text("A pair has another verdict than in the baseline"))


def _findings(health: Health) -> Iterator[_Hit]:
    for finding in health.analysis.findings:
        rule = _RULES.get(finding.code) or Rule(shown(finding.code, _NAME), Text(_text(finding.title)))
        subject = Location(logical_locations=(Logical(shown(finding.subject, _NAME)),))
        places = tuple(_place(e, finding.subject) for e in finding.evidence) or (subject,)
        text = _text(f"{finding.subject}: {finding.text}", finding.command or finding.advice)
        accepted = finding.key in health.accepted
        yield _Hit(rule, _LEVELS[finding.severity], text, places, finding.subject, accepted)


def _expectations(health: Health) -> Iterator[_Hit]:
    for expectation in health.failed_expectations:
        rule = Rule(f"expectation/{shown(expectation.id, _NAME)}", Text(_text(expectation.text)))
        first = next((fix.command for fix in expectation.fixes), "")
        text = _text(f"{expectation.text}: {expectation.explanation}", first)
        level = "warning" if expectation.held is None else "error"
        yield _Hit(rule, level, text, tuple(_places(expectation)), expectation.id)


def _places(expectation: Expectation) -> Iterator[Location]:
    if expectation.file:
        region = Region(expectation.line) if expectation.line else None
        yield Location(Physical(_policy(expectation.file), region))
    if expectation.evidence is not None:
        yield _place(expectation.evidence, " to ".join(expectation.subject))


def _policy(file: str) -> Artifact:
    path = quote(shown(file, _TEXT))
    return Artifact(f"file://{path}" if path.startswith("/") else path)


def _flips(health: Health) -> Iterator[_Hit]:
    for flip in health.since_baseline.flips if health.since_baseline else ():
        example = " to ".join(flip.example)
        evidence = [change.after or change.before for change in flip.because]
        places = tuple(_place(e, example) for e in evidence if e is not None)
        nowhere = (Location(logical_locations=(Logical(shown(example, _NAME)),)),)
        yield _Hit(_FLIPPED, "error", _flip_text(flip, example), places or nowhere, example)


def _flip_text(flip: Flip, example: str) -> str:
    others = f" and {flip.pairs - 1} more" if flip.pairs > 1 else ""
    return _text(f"{example}{others}: was {flip.before.value}, is {flip.after.value}. {flip.explanation}")


def _place(evidence: Evidence, subject: str = "") -> Location:
    """A line of the bundle; 0 is the file as a whole."""
    file = Artifact(quote(shown(evidence.file, _TEXT).lstrip("/")), _BUNDLE)
    region = Region(evidence.line, Text(_text(evidence.text))) if evidence.line else None
    return Location(Physical(file, region), (Logical(shown(subject, _NAME)),) if subject else ())


def _notifications(gaps: Iterable[Gap]) -> Iterator[Notification]:
    for gap in tuple(gaps)[:_MOST_GAPS]:
        places = (_place(Evidence(gap.file, gap.line, "")),) if gap.file else ()
        yield Notification("warning", Text(_text(f"{gap.detail} {gap.affects}")), places)


def _text(text: str, fix: str = "") -> str:
    """For people, with what helps on a line of its own."""
    said = shown(text.strip(), _TEXT) or "-"
    return f"{said}\nFix: {shown(fix, _TEXT)}" if fix else said
