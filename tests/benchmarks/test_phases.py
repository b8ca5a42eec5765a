"""The phases of one analysis: functions that exist, and each moment in one phase."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import diag.parse.snapshot
import diag.pipeline
from benchmarks.hosts import HostSpec, write_host
from benchmarks.phases import IMPORT, OTHER, PHASES, Measured, Stopwatch, find, print_phases, wrapped


class Clock:
    """Goes on when it is told to."""

    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time

    def go(self, seconds: float) -> float:
        self.time += seconds
        return seconds


@pytest.mark.parametrize("name", [name for names in PHASES.values() for name in names])
def test_every_function_exists(name: str) -> None:
    owner, attribute, function = find(name)
    assert vars(owner)[attribute] is function
    assert callable(function)


@pytest.mark.parametrize(
    "name",
    ["diag.parse.nothing:build_snapshot", "diag.parse.snapshot:nothing", "diag.reach.matrix:PairMatrix.nothing"],
)
def test_a_function_that_has_gone_is_named(name: str) -> None:
    with pytest.raises(LookupError, match=name), wrapped(Stopwatch("x"), {"y": [name]}):
        pass


def test_a_phase_is_without_the_phases_in_it() -> None:
    clock = Clock()
    watch = Stopwatch("start", clock)
    inner = watch.timed(lambda: clock.go(5), "inner")

    def work() -> float:
        clock.go(2)
        inner()
        inner()
        return clock.go(1)

    clock.go(10)
    assert watch.timed(work, "outer")() == 1
    assert watch.seconds == {"start": 10, "outer": 3, "inner": 10}
    assert watch.calls == {"outer": 1, "inner": 2}


def test_a_phase_ends_with_an_error() -> None:
    clock = Clock()
    watch = Stopwatch("start", clock)

    def fail() -> None:
        clock.go(3)
        raise KeyError

    with pytest.raises(KeyError):
        watch.timed(fail, "failing")()
    clock.go(4)
    watch.timed(lambda: None, "next")()
    assert watch.seconds == {"start": 4, "failing": 3, "next": 0}


def test_the_steps_of_a_generator_are_its_phase_and_what_is_between_them_is_not() -> None:
    clock = Clock()
    watch = Stopwatch("start", clock)

    def count() -> Iterator[int]:
        for number in range(3):
            clock.go(1)
            yield number

    found = []
    for number in watch.timed(count, "counting")():
        found.append(number)
        clock.go(10)
    watch.timed(lambda: None, "next")()
    assert found == [0, 1, 2]
    assert watch.seconds == {"start": 30, "counting": 3, "next": 0}


def test_a_function_is_timed_where_it_was_imported_and_not_any_more_later() -> None:
    original = diag.parse.snapshot.build_snapshot
    with wrapped(Stopwatch("x"), {"y": ["diag.parse.snapshot:build_snapshot"]}):
        assert diag.parse.snapshot.build_snapshot is not original
        assert diag.pipeline.build_snapshot is diag.parse.snapshot.build_snapshot  # type: ignore[attr-defined]
    assert diag.parse.snapshot.build_snapshot is original
    assert diag.pipeline.build_snapshot is original  # type: ignore[attr-defined]


def test_the_command(tmp_path: Path) -> None:
    """Every phase is reached, and its name still means what it does."""
    write_host(tmp_path / "host", HostSpec(containers=6, networks=2, admin_rules=8))
    words = [sys.executable, "-m", "benchmarks.phases", str(tmp_path / "host"), "--json"]
    found = json.loads(subprocess.run(words, check=True, capture_output=True).stdout)
    assert list(found["phases"]) == [IMPORT, *PHASES, OTHER]
    for name in PHASES:
        assert found["phases"][name]["calls"] > 0, name
        assert found["phases"][name]["cpu_seconds"] > 0, name
    assert found["cpu_seconds"] == pytest.approx(sum(p["cpu_seconds"] for p in found["phases"].values()))
    assert found["phases"][OTHER]["cpu_seconds"] < found["cpu_seconds"] / 4


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    print_phases([Measured("read", 1.5, 3), Measured("other", 0.5, 0)])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[1:] == [["read", "1.500", "75%", "3"], ["other", "0.500", "25%"], ["all", "2.000"]]
