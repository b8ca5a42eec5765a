"""All checks, and what they find on a host. One module of this package per family of checks."""

from __future__ import annotations

from diag.findings import (
    addresses,
    backends,
    bridge_netfilter,
    docker_rules,
    drivers,
    endpoints,
    firewall,
    foreign_bridges,
    forwarding,
    gateway_modes,
    links,
    names,
    ports,
    routes,
)
from diag.findings.check import Check, Facts
from diag.interpreter.trace import Tracer
from diag.model.analysis import Analysis
from diag.model.finding import Finding, Severity

FAMILIES = (
    addresses,
    backends,
    bridge_netfilter,
    docker_rules,
    drivers,
    endpoints,
    firewall,
    foreign_bridges,
    forwarding,
    gateway_modes,
    links,
    names,
    ports,
    routes,
)

CHECKS: tuple[Check, ...] = tuple(
    sorted(
        (check for family in FAMILIES for check in family.CHECKS),
        key=lambda check: check.code,
    )
)


def find_check(code: str) -> Check | None:
    """The check with this code."""
    return next((check for check in CHECKS if check.code == code), None)


def find_all(analysis: Analysis, tracer: Tracer | None = None) -> tuple[Finding, ...]:
    """Everything that the checks find, the worst first; `tracer` is one that the analysis was made with."""
    facts = Facts(analysis, tracer)
    found = [finding for check in CHECKS for finding in check.findings(facts)]
    return tuple(sorted(found, key=lambda f: (-f.severity.rank, f.code, f.subject)))


def checks_markdown() -> str:
    """`docs/codes/findings.md`."""
    lines = ["# Findings", "", "Made by `python -m diag.findings.registry > docs/codes/findings.md`.", ""]
    for severity in sorted(Severity, key=lambda s: -s.rank):
        lines += [f"## {severity.value.capitalize()}", ""]
        for check in (c for c in CHECKS if c.severity is severity):
            lines += [f"### `{check.code}`: {check.title}", "", check.meaning, ""]
            lines += [f"- How it is found: {check.detected}", f"- What helps: {check.fix}", ""]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    import sys

    sys.stdout.write(checks_markdown())
