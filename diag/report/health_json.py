"""The outcome of `diag check` as JSON, for `--format json` and the webhook; its schema is `schema/health.schema.json`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import islice
from typing import Any, TypeVar

from diag import __version__
from diag.model.difference import Change, Difference, Flip, NameChange
from diag.model.finding import Finding, Severity
from diag.model.health import Expectation, Health
from diag.model.reasons import Reachability
from diag.reach.flows import evidence_json
from diag.reach.rows import allowed_json
from diag.report.analysis_json import finding_json
from diag.report.explanation import fix_json
from diag.report.json_text import on_lines

T = TypeVar("T")
SCHEMA_VERSION = 1


def health_json(health: Health, most: int | None = None) -> bytes:
    """UTF-8, two spaces, keys in a fixed order. With `most`, no list is longer than that; `counts` has them all."""
    return on_lines(_Document(most).of(health)) + b"\n"


class _Document:
    def __init__(self, most: int | None) -> None:
        self._most = most
        self._shortened = False

    def of(self, health: Health) -> dict[str, Any]:
        """The whole document."""
        snapshot = health.analysis.snapshot
        document = {
            "schema_version": SCHEMA_VERSION,
            "tool": {"name": "docker-diag", "version": __version__},
            "host": snapshot.host,
            "captured_at": snapshot.captured_at,
            "healthy": health.healthy,
            "summary": _summary(health),
            "fail_on": health.fail_on.value,
            "seconds": round(health.seconds, 3),
            "counts": _counts(health),
            "findings": self._some(
                {**finding_json(f), "accepted": f.key in health.accepted} for f in health.analysis.findings
            ),
            "failed_expectations": self._some(_expectation(e) for e in health.failed_expectations),
            "since_baseline": self._difference(health.since_baseline),
            "since_last": self._difference(health.since_last),
        }
        return {**document, "shortened": self._shortened}

    def _some(self, items: Iterable[T]) -> list[T]:
        found = list(items if self._most is None else islice(items, self._most + 1))
        if self._most is not None and len(found) > self._most:
            self._shortened = True
            del found[self._most :]
        return found

    def _difference(self, difference: Difference | None) -> dict[str, Any] | None:
        if difference is None:
            return None
        return {
            "before": difference.before,
            "after": difference.after,
            "counts": {
                "changes": len(difference.changes),
                "flipped_pairs": sum(flip.pairs for flip in difference.flips),
                "names": len(difference.names),
                "appeared": len(difference.appeared),
                "gone": len(difference.gone),
            },
            "changes": self._some(_change(c) for c in difference.changes),
            "flips": self._some(self._flip(f) for f in difference.flips),
            "names": self._some(self._name(n) for n in difference.names),
            "appeared": self._some(finding_json(f) for f in difference.appeared),
            "gone": self._some(_key(f) for f in difference.gone),
            "restarted": self._some(difference.restarted),
        }

    def _flip(self, flip: Flip) -> dict[str, Any]:
        return {
            "sources": self._some(flip.sources),
            "destinations": self._some(flip.destinations),
            "pairs": flip.pairs,
            "example": list(flip.example),
            "before": {"reachability": flip.before.value, "allowed": allowed_json(flip.allowed_before)},
            "after": {"reachability": flip.after.value, "allowed": allowed_json(flip.allowed_after)},
            "reason": flip.reason.value,
            "explanation": flip.explanation,
            "because": self._some(_change(c) for c in flip.because),
        }

    def _name(self, change: NameChange) -> dict[str, Any]:
        return {
            "container": change.container,
            "name": change.name,
            "before": self._some(change.before),
            "after": self._some(change.after),
        }


def _summary(health: Health) -> str:
    """One plain line for a chat or a subject."""
    host = health.analysis.snapshot.host or "this host"
    if health.healthy:
        return f"{host}: healthy"
    flipped = sum(flip.pairs for flip in health.since_baseline.flips) if health.since_baseline else 0
    parts = (
        _number(len(health.failing_findings), "finding"),
        _number(len(health.failed_expectations), "expectation not held", "expectations not held"),
        _number(flipped, "pair changed since the baseline", "pairs changed since the baseline"),
    )
    return f"{host}: " + ", ".join(part for part in parts if part)


def _number(number: int, one: str, many: str = "") -> str:
    return "" if not number else f"{number} {one if number == 1 else many or f'{one}s'}"


def _counts(health: Health) -> dict[str, Any]:
    analysis = health.analysis
    severities = Counter(f.severity for f in analysis.findings)
    results = Counter(e.held for e in health.expectations)
    return {
        "networks": len(analysis.snapshot.networks),
        "containers": len(analysis.snapshot.containers),
        "running": sum(c.running for c in analysis.snapshot.containers),
        "pairs": {r.value: analysis.counts[r] for r in Reachability},
        "findings": {s.value: severities[s] for s in Severity},
        "failing_findings": len(health.failing_findings),
        "accepted_findings": sum(f.key in health.accepted for f in analysis.findings),
        "expectations": {"held": results[True], "failed": results[False], "unknown": results[None]},
        "gaps": len(analysis.gaps),
    }


def _expectation(expectation: Expectation) -> dict[str, Any]:
    return {
        "id": expectation.id,
        "text": expectation.text,
        "result": "unknown" if expectation.held is None else "failed",
        "subject": list(expectation.subject),
        "failed": expectation.failed,
        "explanation": expectation.explanation,
        "evidence": evidence_json(expectation.evidence),
        "fixes": [fix_json(fix) for fix in expectation.fixes],
        "file": expectation.file,
        "line": expectation.line,
    }


def _change(change: Change) -> dict[str, Any]:
    return {
        "kind": change.kind.value,
        "subject": change.subject,
        "text": change.text,
        "before": evidence_json(change.before),
        "after": evidence_json(change.after),
    }


def _key(finding: Finding) -> dict[str, Any]:
    return {"code": finding.code, "subject": finding.subject, "severity": finding.severity.value}
