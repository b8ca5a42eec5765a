"""The state folder as JSON."""

from __future__ import annotations

import json

from diag.model.history import Baseline
from diag.report.history_json import baseline_json, list_json, show_json, trend_json
from tests.report.test_history_text import BAD, BASELINE, BROKEN, DOWN, FINE


def test_the_list() -> None:
    first, second, third = json.loads(list_json((FINE, BAD, BROKEN), BASELINE))
    assert first == {
        "id": 9,
        "captured_at": "2026-11-24T04:00:00Z",
        "written_at": "2027-01-15T08:00:00Z",
        "host": "web-1",
        "healthy": True,
        "verdicts": {"reachable": 546, "unreachable": 9000},
        "findings_by_severity": {"error": 0, "warning": 0, "info": 0},
        "failed_expectations": 0,
        "size": 120_000,
        "damage": "",
        "baseline": True,
    }
    assert second["findings_by_severity"] == {"error": 1, "warning": 0, "info": 1}
    assert (second["healthy"], second["failed_expectations"], second["baseline"]) == (False, 1, False)
    assert third["damage"] == "its beginning is missing"


def test_one_snapshot() -> None:
    found = json.loads(show_json(BAD, None))
    assert found["findings"][0] == {"code": DOWN.code, "severity": "error", "subject": DOWN.subject}
    assert found["failed"] == ["reach[2]"]


def test_the_trend() -> None:
    rows = json.loads(trend_json((BAD, FINE, BAD)))
    assert [(len(row["appeared"]), len(row["gone"])) for row in rows] == [(0, 0), (0, 2), (2, 0)]
    assert rows[1]["gone"][0] == {"code": DOWN.code, "subject": DOWN.subject}
    assert json.loads(trend_json(())) == []


def test_the_baseline() -> None:
    assert json.loads(baseline_json(BASELINE)) == {
        "id": 9,
        "set_at": "2027-01-15T08:00:00Z",
        "by_hand": True,
        "accepted": [{"code": DOWN.code, "subject": DOWN.subject}],
    }
    assert json.loads(baseline_json(Baseline(1)))["accepted"] == []
