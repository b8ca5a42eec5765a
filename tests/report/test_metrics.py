"""Metrics: what node_exporter reads is what the check found, and never more series than promised."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from prometheus_client import Metric as Family
from prometheus_client.parser import text_string_to_metric_families

from diag.model.finding import Severity
from diag.model.health import Expectation, Health
from diag.report.metrics import ALL, MOST, metrics_markdown, metrics_text
from diag.report.shown import shown
from tests.healths import found, full, health_of, hostile_health
from tests.programs import program

ROOT = Path(__file__).parent.parent.parent
NOW = 1_700_000_000.5


def families(health: Health | None) -> dict[str, Family]:
    text = metrics_text(health, NOW).decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def values(health: Health | None, name: str) -> dict[tuple[str, ...], float]:
    metric = next(metric for metric in ALL if metric.name == name)
    samples = families(health)[metric.full_name].samples
    return {tuple(s.labels[label] for label in metric.labels): s.value for s in samples}


def series(found_families: Iterable[Family]) -> list[tuple[object, ...]]:
    return [(s.name, *sorted(s.labels.items())) for family in found_families for s in family.samples]


def test_a_run_says_all_that_is_documented_and_nothing_else() -> None:
    assert (ROOT / "docs/metrics.md").read_text() == metrics_markdown()
    made = families(full())
    assert set(made) == {metric.full_name for metric in ALL}
    for metric in ALL:
        family = made[metric.full_name]
        assert (family.documentation, family.type) == (metric.help, "gauge")
        assert all(set(sample.labels) == set(metric.labels) for sample in family.samples)


def test_a_healthy_capture() -> None:
    health = health_of("seed-d20")
    counts = {str(reachability): number for reachability, number in health.analysis.counts.items()}
    assert values(health, "up") == {(): 1}
    assert values(health, "healthy") == {(): 1}
    assert values(health, "last_run_timestamp_seconds") == {(): NOW}
    assert values(health, "run_seconds") == {(): 1.25}
    assert values(health, "pairs") == {(name,): number for name, number in counts.items()}
    assert values(health, "finding") == {}
    assert values(health, "flips") == {}
    assert sum(values(health, "containers").values()) == len(health.analysis.snapshot.containers)


def test_everything_that_is_wrong_is_counted() -> None:
    health = full()
    assert values(health, "healthy") == {(): 0}
    assert values(health, "findings")["error", "false"] == 2
    assert values(health, "findings")["warning", "true"] == 1
    assert values(health, "failing_findings") == {(): 3}
    assert ("one-code", "other", "error") in values(health, "finding")
    assert ("accepted-code", "web", "warning") not in values(health, "finding")
    assert values(health, "expectations") == {("held",): 1, ("failed",): 1, ("unknown",): 1}
    assert values(health, "expectation") == {("no way", "failed"): 1, ("reach[2]", "unknown"): 1}
    assert values(health, "flips") == {("baseline",): 2, ("last",): 2}
    assert values(health, "changes") == {("baseline",): 1, ("last",): 1}


def test_a_run_that_could_not_look_says_only_that() -> None:
    assert series(families(None).values())[:2] == [("docker_diag_up",), ("docker_diag_last_run_timestamp_seconds",)]
    assert len(families(None)) == 3
    assert values(None, "up") == {(): 0}


def test_series_are_few_and_none_is_there_twice() -> None:
    many = tuple(found("many-code", f"c{i % 300}", Severity.INFO) for i in range(600))
    expectations = tuple(Expectation(f"e{i}", "", False) for i in range(200))
    health = full()
    health = replace(
        health,
        analysis=replace(health.analysis, findings=(*health.analysis.findings, *many)),
        expectations=(*expectations, *expectations),
    )
    assert len(values(health, "finding")) == MOST
    assert values(health, "findings_left_out") == {(): 300 + 4 - MOST}
    assert values(health, "findings")["info", "false"] == 601
    assert len(values(health, "expectation")) == MOST
    assert values(health, "expectations_left_out") == {(): 200 - MOST}
    for made in (families(health), families(hostile_health())):
        found_series = series(made.values())
        assert len(set(found_series)) == len(found_series) < 2 * MOST + 60


@settings(max_examples=30)
@given(st.text(st.characters(), max_size=200))
def test_any_name_is_one_label(text: str) -> None:
    health = full()
    one = replace(health, analysis=replace(health.analysis, findings=(found("a-code", text),)))
    assert values(one, "finding") == {("a-code", shown(text, 120), "error"): 1}


@pytest.mark.apart
@pytest.mark.parametrize("health", [full(), None, hostile_health()], ids=["full", "none", "hostile"])
def test_promtool_has_nothing_to_say(health: Health | None) -> None:
    done = subprocess.run(
        [program("promtool"), "check", "metrics"], input=metrics_text(health, NOW), capture_output=True
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")
