"""The JSON of `diag diff`, as `docs/json.md` describes it."""

from __future__ import annotations

from typing import Any

from diag import __version__
from diag.model.difference import Change, Difference, Flip
from diag.model.finding import Finding
from diag.reach.flows import evidence_json
from diag.reach.rows import allowed_json
from diag.report.json_text import on_lines

SCHEMA_VERSION = 1


def diff_json(difference: Difference) -> bytes:
    """UTF-8, two spaces, keys in a fixed order: the same difference gives the same bytes."""
    return on_lines(difference_json(difference)) + b"\n"


def difference_json(difference: Difference) -> dict[str, Any]:
    """The difference as JSON values."""
    return {
        "schema_version": SCHEMA_VERSION,
        "tool": {"name": "docker-diag", "version": __version__},
        "before": difference.before,
        "after": difference.after,
        "nothing": difference.nothing,
        "changes": [_change(change) for change in difference.changes],
        "flips": [_flip(flip) for flip in difference.flips],
        "names": [
            {"container": n.container, "name": n.name, "before": list(n.before), "after": list(n.after)}
            for n in difference.names
        ],
        "findings": {
            "appeared": [_finding(f) for f in difference.appeared],
            "gone": [_finding(f) for f in difference.gone],
        },
        "restarted": list(difference.restarted),
    }


def _change(change: Change) -> dict[str, Any]:
    return {
        "kind": change.kind.value,
        "subject": change.subject,
        "text": change.text,
        "before": evidence_json(change.before),
        "after": evidence_json(change.after),
    }


def _flip(flip: Flip) -> dict[str, Any]:
    return {
        "sources": list(flip.sources),
        "destinations": list(flip.destinations),
        "pairs": flip.pairs,
        "family": flip.family or None,
        "before": {"reachability": flip.before.value, "allowed": allowed_json(flip.allowed_before)},
        "after": {"reachability": flip.after.value, "allowed": allowed_json(flip.allowed_after)},
        "reason": flip.reason.value,
        "example": list(flip.example),
        "explanation": flip.explanation,
        "because": [_change(change) for change in flip.because],
        "together": [_change(change) for change in flip.together],
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "code": finding.code,
        "severity": finding.severity.value,
        "subject": finding.subject,
        "text": finding.text,
        "evidence": [evidence_json(e) for e in finding.evidence],
    }
