"""The state folder as JSON: what `diag history` and `diag baseline` print for programs."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from diag.model.finding import Severity
from diag.model.history import Baseline, Kept
from diag.report.json_text import on_lines


def list_json(entries: Iterable[Kept], baseline: Baseline | None) -> bytes:
    """All snapshots, the oldest first, with their counts."""
    return on_lines([_row(entry, baseline) for entry in entries])


def show_json(entry: Kept, baseline: Baseline | None) -> bytes:
    """One snapshot with its findings and failed expectations."""
    findings = [{"code": f.code, "severity": f.severity, "subject": f.subject} for f in entry.record.findings]
    return on_lines({**_row(entry, baseline), "findings": findings, "failed": entry.record.failed})


def trend_json(entries: Iterable[Kept]) -> bytes:
    """Verdicts and findings of each snapshot, and the findings that came and went since the one before."""
    rows: list[dict[str, Any]] = []
    before: set[tuple[str, str]] = set()
    for entry in entries:
        keys = {note.key for note in entry.record.findings}
        row = {key: value for key, value in _row(entry, None).items() if key not in ("size", "baseline")}
        row["appeared"] = _keys(keys - before) if rows else []
        row["gone"] = _keys(before - keys)
        rows.append(row)
        before = keys
    return on_lines(rows)


def baseline_json(baseline: Baseline) -> bytes:
    """Which snapshot it is, and what was accepted with it."""
    return on_lines(
        {
            "id": baseline.id,
            "set_at": written(baseline.set_at),
            "by_hand": baseline.by_hand,
            "accepted": _keys(baseline.accepted),
        }
    )


def written(seconds: float) -> str:
    """RFC 3339 in UTC; empty for a time that no calendar has.

    >>> written(0.0), written(1e300)
    ('1970-01-01T00:00:00Z', '')
    """
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return ""


def severities(entry: Kept) -> dict[Severity, int]:
    """How many findings of each severity, the worst first."""
    found = dict.fromkeys(sorted(Severity, key=lambda s: -s.rank), 0)
    for note in entry.record.findings:
        found[note.severity] += 1
    return found


def _keys(found: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"code": code, "subject": subject} for code, subject in sorted(found)]


def _row(entry: Kept, baseline: Baseline | None) -> dict[str, Any]:
    record = entry.record
    return {
        "id": entry.id,
        "captured_at": record.captured_at,
        "written_at": written(record.written_at),
        "host": record.host,
        "healthy": record.healthy,
        "verdicts": dict(record.verdicts),
        "findings_by_severity": severities(entry),
        "failed_expectations": len(record.failed),
        "size": entry.size,
        "damage": entry.damage,
        "baseline": baseline is not None and baseline.id == entry.id,
    }
