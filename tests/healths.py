"""Outcomes of `diag check` on real captures, and one that has everything."""

from __future__ import annotations

import functools

from msgspec.structs import replace

from diag.findings.registry import find_all
from diag.model.analysis import Allowed, Analysis, Fix, PortSet
from diag.model.difference import Change, ChangeKind, Difference, Flip, NameChange
from diag.model.finding import Finding, Severity
from diag.model.health import Expectation, Health
from diag.model.provenance import Evidence
from diag.model.reasons import Reachability, Reason
from tests.hostile import HOSTILE, hostile
from tests.loading import analysis_of

NASTY = ("]]>", "a\x00\x0b\x1bb", "\ufffe", "line\nbreak\r", 'quote"\\', "\ud800", "&amp;<x>", *HOSTILE)
RULE = Evidence("host/iptables-save.txt", 31, "-A DOCKER-USER -i br-a -j DROP")


@functools.cache
def with_findings(name: str) -> Analysis:
    """The analysis of a capture with what the checks find."""
    analysis = analysis_of(name)
    return replace(analysis, findings=find_all(analysis))


def health_of(name: str) -> Health:
    """A check of a capture without policy and state."""
    return Health(with_findings(name), Severity.WARNING, seconds=1.25)


def found(code: str, subject: str, severity: Severity = Severity.ERROR, text: str = "It is so.") -> Finding:
    return Finding(code, severity, f"Title of {code}", subject, text, (RULE,), "Do something.", "sysctl -w a=1")


def difference(subject: str = "web") -> Difference:
    """Something of every kind."""
    change = Change(ChangeKind.ADDED, "rules of filter DOCKER-USER", f"A rule drops {subject}.", after=RULE)
    flip = Flip(
        (subject, "cache"),
        ("db",),
        Reachability.REACHABLE,
        Reachability.UNREACHABLE,
        Allowed(True, PortSet(((1, 65535),))),
        Allowed(),
        Reason.FIREWALL_DROP,
        (subject, "db"),
        f"{subject} cannot reach db: a rule drops it.",
        (change,),
    )
    return Difference(
        "2025-01-01T00:00:00Z",
        "2025-01-02T00:00:00Z",
        (change,),
        (flip,),
        (NameChange(subject, "db", ("db",), ()),),
        (found("appeared-code", subject),),
        (found("gone-code", subject),),
        ("restarted-one",),
    )


def full(name: str = "seed-d20", *, subject: str = "web") -> Health:
    """Findings of every severity, an accepted one, expectations of every result, and two comparisons."""
    findings = (
        found("one-code", subject),
        found("one-code", "other"),
        found("accepted-code", subject, Severity.WARNING),
        found("two-code", subject, Severity.WARNING),
        found("three-code", subject, Severity.INFO),
    )
    fix = Fix("docker network connect app web", Reachability.REACHABLE, ((subject, "db"),), "and names too")
    expectations = (
        Expectation("reach[0]", "web reaches db", True, file="policy.yaml", line=3),
        Expectation("no way", f"{subject} reaches db", False, (subject, "db"), 2, "no rule", RULE, (fix,), "p.yaml", 7),
        Expectation("reach[2]", "who knows", None, (subject, "x"), 1, "not captured", file="/etc/p.yaml"),
    )
    return Health(
        replace(analysis_of(name), findings=findings),
        Severity.WARNING,
        expectations,
        difference(subject),
        difference(subject),
        frozenset({("accepted-code", subject)}),
        0.5,
    )


def hostile_health() -> Health:
    """Everything that a host or a policy can say tries to be something else than text."""
    nasty = "".join(NASTY)
    health = full(subject=nasty)
    findings = tuple(found("nasty-code", text, text=text) for text in NASTY)
    expectations = tuple(Expectation(text, text, False, (text, text), 1, text, RULE, file=text) for text in NASTY)
    analysis = replace(hostile(), findings=(*health.analysis.findings, *findings))
    analysis = replace(analysis, snapshot=replace(analysis.snapshot, host=nasty))
    return replace(health, analysis=analysis, expectations=(*health.expectations, *expectations))
