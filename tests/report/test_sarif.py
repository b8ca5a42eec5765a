"""SARIF: by the standard's schema, and each result where its evidence is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import jsonschema
import pytest

from diag.bundle.reader import read_bundle
from diag.findings.registry import CHECKS
from diag.model.health import Health
from diag.report.sarif import sarif_json
from tests.healths import RULE, full, health_of, hostile_health
from tests.loading import EACH_CAPTURE, bundle_path

SCHEMA = json.loads((Path(__file__).parent.parent / "schemas/sarif-2.1.0-rtm.5.json").read_text())
VALIDATOR = jsonschema.Draft4Validator(SCHEMA, format_checker=jsonschema.FormatChecker())


def run_of(health: Health) -> dict[str, Any]:
    made = json.loads(sarif_json(health))
    VALIDATOR.validate(made)
    (run,) = made["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert len({rule["id"] for rule in rules}) == len(rules)
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["locations"]
    assert isinstance(run, dict)
    return run


@pytest.mark.parametrize("name", EACH_CAPTURE)
def test_findings_point_into_the_bundle(name: str) -> None:
    health = health_of(name)
    run = run_of(health)
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == [check.code for check in CHECKS]
    assert len(run["results"]) == len(health.analysis.findings)
    files = read_bundle(str(bundle_path(name))).files
    for result in run["results"]:
        place = result["locations"][0]["physicalLocation"]
        file = unquote(place["artifactLocation"]["uri"])
        assert place["artifactLocation"]["uriBaseId"] in run["originalUriBaseIds"]
        assert 1 <= place["region"]["startLine"] <= len(files[file].splitlines())


def test_all_that_was_found_is_a_result() -> None:
    run = run_of(full())
    found = [(r["ruleId"], r["level"], bool(r.get("suppressions"))) for r in run["results"]]
    assert found == [
        ("one-code", "error", False),
        ("one-code", "error", False),
        ("accepted-code", "warning", True),
        ("two-code", "warning", False),
        ("three-code", "note", False),
        ("expectation/no way", "error", False),
        ("expectation/reach[2]", "warning", False),
        ("verdict-changed", "error", False),
    ]
    prints = [r["partialFingerprints"]["ruleAndSubject/v1"] for r in run["results"]]
    assert len(set(prints)) == len(prints)


def test_an_expectation_is_in_its_policy_and_its_reason_in_the_bundle() -> None:
    results = {r["ruleId"]: r for r in run_of(full())["results"]}
    failed = results["expectation/no way"]
    place = {"artifactLocation": {"uri": "p.yaml"}, "region": {"startLine": 7}}
    assert failed["locations"][0]["physicalLocation"] == place
    (related,) = failed["relatedLocations"]
    assert related["physicalLocation"]["artifactLocation"]["uri"] == RULE.file
    assert related["physicalLocation"]["region"] == {"startLine": RULE.line, "snippet": {"text": RULE.text}}
    assert failed["message"]["text"].endswith("\nFix: docker network connect app web")
    whole_file = results["expectation/reach[2]"]["locations"][0]["physicalLocation"]
    assert whole_file == {"artifactLocation": {"uri": "file:///etc/p.yaml"}}


def test_gaps_are_notifications() -> None:
    health = health_of("seed-d20")
    (invocation,) = run_of(health)["invocations"]
    told = invocation.get("toolExecutionNotifications", [])
    assert len(told) == min(100, len(health.analysis.gaps))


def test_hostile_names_stay_text() -> None:
    run = run_of(hostile_health())
    assert any("‹U+D800›" in result["message"]["text"] for result in run["results"])
