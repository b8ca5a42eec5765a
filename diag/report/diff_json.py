"""What changed as JSON: of `diag diff`, and within the outcome of `diag check`. `docs/json.md` describes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from diag import __version__
from diag.model.difference import Change, Difference, Flip, NameChange
from diag.reach.flows import evidence_json
from diag.reach.rows import allowed_json
from diag.report.analysis_json import finding_json
from diag.report.json_text import on_lines

SCHEMA_VERSION = 1

Some = Callable[[Iterable[Any]], list[Any]]
"""Makes a list of some items, all of them or the first."""


def diff_json(difference: Difference) -> bytes:
    """UTF-8, two spaces, keys in a fixed order: the same difference gives the same bytes."""
    about = {"schema_version": SCHEMA_VERSION, "tool": {"name": "docker-diag", "version": __version__}}
    return on_lines({**about, **difference_json(difference)}) + b"\n"


def difference_json(difference: Difference, some: Some = list) -> dict[str, Any]:
    """The difference as JSON values; `counts` has all of what `some` leaves out of the lists."""
    return {
        "before": difference.before,
        "after": difference.after,
        "nothing": difference.nothing,
        "counts": {
            "changes": len(difference.changes),
            "flipped_pairs": sum(flip.pairs for flip in difference.flips),
            "names": len(difference.names),
            "appeared": len(difference.appeared),
            "gone": len(difference.gone),
        },
        "changes": some(change_json(change) for change in difference.changes),
        "flips": some(_flip(flip, some) for flip in difference.flips),
        "names": some(_name(name, some) for name in difference.names),
        "appeared": some(finding_json(finding) for finding in difference.appeared),
        "gone": some(finding_json(finding) for finding in difference.gone),
        "restarted": some(difference.restarted),
    }


def change_json(change: Change) -> dict[str, Any]:
    """One fact."""
    return {
        "kind": change.kind.value,
        "subject": change.subject,
        "text": change.text,
        "before": evidence_json(change.before),
        "after": evidence_json(change.after),
    }


def _flip(flip: Flip, some: Some) -> dict[str, Any]:
    return {
        "sources": some(flip.sources),
        "destinations": some(flip.destinations),
        "pairs": flip.pairs,
        "family": flip.family or None,
        "before": {"reachability": flip.before.value, "allowed": allowed_json(flip.allowed_before)},
        "after": {"reachability": flip.after.value, "allowed": allowed_json(flip.allowed_after)},
        "reason": flip.reason.value,
        "example": list(flip.example),
        "explanation": flip.explanation,
        "because": some(change_json(change) for change in flip.because),
        "together": some(change_json(change) for change in flip.together),
    }


def _name(change: NameChange, some: Some) -> dict[str, Any]:
    return {
        "container": change.container,
        "name": change.name,
        "before": some(change.before),
        "after": some(change.after),
    }
