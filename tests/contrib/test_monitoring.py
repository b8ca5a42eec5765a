"""Alerts and dashboard speak of documented metrics only, and Prometheus understands them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from diag.report.metrics import ALL
from tests.contrib.units import CONTRIB
from tests.programs import program

ALERTS = CONTRIB / "prometheus/alerts.yml"
DASHBOARD: dict[str, Any] = json.loads((CONTRIB / "grafana/docker-diag.json").read_text())
LABELS = {metric.full_name: {*metric.labels, "instance"} for metric in ALL}
_SELECTOR = re.compile(r"(docker_diag_\w+)(?:\{([^}]*)\})?")


def expressions() -> list[str]:
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]


def assert_documented(expression: str) -> set[str]:
    """The metrics of an expression, which are documented, with their labels."""
    found = _SELECTOR.findall(expression)
    assert found, expression
    for name, matchers in found:
        assert set(re.findall(r"(\w+)\s*[=!]", re.sub(r'"[^"]*"', "", matchers))) <= LABELS[name], expression
    return {name for name, _ in found}


def test_alerts_speak_of_documented_metrics() -> None:
    found = re.findall(r"^ +expr: (.*)$", ALERTS.read_text(), re.MULTILINE)
    assert len(found) == ALERTS.read_text().count("- alert:")
    for expression in found:
        assert_documented(expression)


def test_the_dashboard_shows_every_documented_metric_and_no_other() -> None:
    assert {name for expression in expressions() for name in assert_documented(expression)} == set(LABELS)
    for variable in DASHBOARD["templating"]["list"]:
        assert variable["type"] == "datasource" or assert_documented(variable["query"])


def test_panels_have_places_of_their_own() -> None:
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    for one, other in combinations((panel["gridPos"] for panel in DASHBOARD["panels"]), 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert beside or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in DASHBOARD["panels"])


@pytest.mark.apart
def test_alerts_go_off_when_they_should(tmp_path: Path) -> None:
    shutil.copy(ALERTS, tmp_path)
    shutil.copy(Path(__file__).parent / "alerts_test.yml", tmp_path)
    for words in (("check", "rules", "alerts.yml"), ("test", "rules", "alerts_test.yml")):
        done = subprocess.run([program("promtool"), *words], cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.apart
def test_prometheus_understands_the_dashboard(tmp_path: Path) -> None:
    rules = [{"record": "a", "expr": text.replace("$instance", ".+")} for text in expressions()]
    groups = [{"name": f"g{number}", "rules": [rule]} for number, rule in enumerate(rules)]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": groups}))
    words = [program("promtool"), "check", "rules", "rules.yml"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
