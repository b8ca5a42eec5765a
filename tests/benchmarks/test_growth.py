"""Growth: what doublings cost, and the bar that they are held against."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.figures import Spread
from benchmarks.growth import CURVES, Point, growth, main, print_table
from benchmarks.plan import plan_host

ALIKE, OTHER = "alike", "realistic"


def point(curve: str, count: int, cpu: float, memory: float = 50.0) -> Point:
    seconds, size = Spread(cpu, cpu, cpu), Spread(memory, memory, memory)
    return Point(CURVES[curve].host(count), "made", 1, seconds, seconds, size, 1.5, 7, 9)


def test_only_a_curve_of_the_same_kinds_of_pairs_has_a_bar() -> None:
    assert [name for name, curve in CURVES.items() if curve.alike] == [ALIKE]
    assert growth(OTHER, [point(OTHER, 100, 1), point(OTHER, 200, 9)], 2.3).over_bar == ()


def test_steps() -> None:
    found = growth(ALIKE, [point(ALIKE, 100, 2, 50), point(ALIKE, 200, 4, 75), point(ALIKE, 500, 12, 100)], 2.3)
    first, second = found.steps
    assert (first.containers, first.cpu, first.cpu_per_doubling, first.memory) == ((100, 200), 2, 2, 1.5)
    assert (second.containers, second.cpu) == ((200, 500), 3)
    assert second.cpu_per_doubling == pytest.approx(3 ** (1 / 1.3219), abs=0.001)
    assert found.cpu_exponent == pytest.approx(1.11, abs=0.01)
    assert found.over_bar == ()
    assert growth(ALIKE, found.points, 2.1).over_bar == (second,)


def test_sizes_without_figures_are_passed_over(capsys: pytest.CaptureFixture[str]) -> None:
    late = Point(CURVES[ALIKE].host(400), "made", 0, problem="> 5 s")
    broken = Point(CURVES[ALIKE].host(50), "made", 0, problem="failed with 2: why")
    found = growth(ALIKE, [broken, point(ALIKE, 100, 1), point(ALIKE, 200, 3), late], 2.3)
    assert [step.containers for step in found.steps] == [(100, 200)]
    print_table(found)
    said = capsys.readouterr().out
    assert "bar of × 2.3 a doubling: missed (100 to 200: × 3.00)" in said
    assert "50 containers: failed with 2: why" in said
    assert said.count("> 5 s") == 2  # in the table, and below it


@pytest.mark.parametrize("name", CURVES)
def test_curves_go_to_five_thousand_containers(name: str) -> None:
    small, large = CURVES[name].host(100), CURVES[name].host(5000)
    assert (small.containers, large.containers) == (100, 5000)
    assert len(plan_host(large).containers) == 5000
    if CURVES[name].alike:
        assert (small.networks, small.admin_rules) == (large.networks, large.admin_rules)


@pytest.mark.apart
def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--containers", "4,2", "--curve", ALIKE, "--bar", "100", "--json", str(tmp_path / "x.json")]
    assert main(options) == 0
    found = json.loads((tmp_path / "x.json").read_text())
    (curve,) = found["curves"]
    assert [point["spec"]["containers"] for point in curve["points"]] == [2, 4]
    assert all(point["cpu_seconds"]["median"] > 0 and point["pair_kinds"] for point in curve["points"])
    assert all(point["peak_rss_mib"]["median"] > 20 and point["report_mib"] > 0 for point in curve["points"])
    assert [step["containers"] for step in curve["steps"]] == [[2, 4]]
    assert (curve["bar"], curve["bar_met"]) == (100, True)
    assert "bar of × 100 a doubling: met" in capsys.readouterr().out


@pytest.mark.apart
def test_after_a_size_that_takes_too_long_larger_ones_are_not_tried(tmp_path: Path) -> None:
    options = ["--containers", "4,8", "--curve", ALIKE, "--limit", "0.05", "--json", str(tmp_path / "x.json")]
    assert main(options) == 0
    (curve,) = json.loads((tmp_path / "x.json").read_text())["curves"]
    assert [(point["made"] != "", point["problem"]) for point in curve["points"]] == [
        (True, "> 0.05 s"),
        (False, "> 0.05 s"),
    ]
    assert (curve["steps"], curve["cpu_exponent"], curve["bar_met"]) == ([], None, None)
