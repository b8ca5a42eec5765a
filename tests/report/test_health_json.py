"""The outcome of a check as JSON: by its schema, complete, and bounded where it is sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from msgspec.structs import replace

import diag.report
from diag.model.difference import Difference
from diag.model.health import Health
from diag.report.health_json import health_json
from tests.healths import found, full, health_of, hostile_health
from tests.loading import EACH_CAPTURE

SCHEMA = json.loads((Path(diag.report.__path__[0]) / "schema/health.schema.json").read_text())


def document(health: Health, most: int | None = None) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(health_json(health, most))
    jsonschema.validate(made, SCHEMA)
    return made


@pytest.mark.parametrize("name", EACH_CAPTURE)
def test_every_capture_validates(name: str) -> None:
    health = health_of(name)
    made = document(health)
    assert made["healthy"] is health.healthy
    assert len(made["findings"]) == sum(made["counts"]["findings"].values())
    assert sum(made["counts"]["pairs"].values()) == sum(g.pairs for g in health.analysis.groups)
    assert (made["since_baseline"], made["since_last"], made["shortened"]) == (None, None, False)


def test_all_that_was_found_is_in_it() -> None:
    made = document(full())
    assert made["healthy"] is False
    assert made["summary"].endswith(": 3 findings, 2 expectations not held, 2 pairs changed since the baseline")
    assert [f["subject"] for f in made["findings"] if f["accepted"]] == ["web"]
    failed, unknown = made["failed_expectations"]
    assert (failed["id"], failed["result"], failed["subject"], failed["failed"]) == (
        "no way",
        "failed",
        ["web", "db"],
        2,
    )
    assert failed["fixes"][0]["command"] == "docker network connect app web"
    assert (failed["file"], failed["line"], failed["evidence"]["line"]) == ("p.yaml", 7, 31)
    assert unknown["result"] == "unknown"
    (flip,) = made["since_baseline"]["flips"]
    assert flip["before"] == {"reachability": "reachable", "allowed": {"icmp": True, "tcp": "all", "udp": "none"}}
    assert flip["after"]["reachability"] == "unreachable"
    assert flip["because"] == made["since_baseline"]["changes"]
    assert made["since_last"]["gone"] == [{"code": "gone-code", "subject": "web", "severity": "error"}]
    assert made["since_last"]["restarted"] == ["restarted-one"]


def test_lists_can_be_cut_and_counts_cannot() -> None:
    health = full()
    many = tuple(found("many-code", f"c{i}") for i in range(500))
    health = replace(
        health,
        analysis=replace(health.analysis, findings=many),
        since_last=Difference("", "", appeared=many),
    )
    made = document(health, 10)
    assert made["shortened"] is True
    assert len(made["findings"]) == len(made["since_last"]["appeared"]) == 10
    assert made["counts"]["findings"]["error"] == made["since_last"]["counts"]["appeared"] == 500
    assert document(full(), 10)["shortened"] is False


def test_hostile_names_stay_json() -> None:
    made = document(hostile_health())
    assert "]]>" in made["host"]
