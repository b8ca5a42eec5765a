"""The runner: whole processes, measured, within a limit."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks.phases import IMPORT, OTHER, PHASES
from benchmarks.run import FLOOR, main

pytestmark = pytest.mark.apart


def test_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With so little time most commands are over the limit, and the figures of the others are there."""
    options = ["--containers", "2", "--runs", "1", "--limit", "0.4", "--flows", "3", "--flows-at", "2"]
    assert main([*options, "--json", str(tmp_path / "x.json")]) == 0
    table = capsys.readouterr().out
    found = json.loads((tmp_path / "x.json").read_text())
    assert found["machine"]["python"] == sys.version.split()[0]
    rows = {row["name"]: row for row in found["hosts"][0]["rows"]}
    assert next(iter(rows)) == FLOOR
    assert "diag trace, 3 flows" in rows
    for name, row in rows.items():
        assert name in table
        assert (row["cpu_seconds"] is None) == (row["problem"] == "> 0.4 s")
    phases = found["hosts"][0]["phases"]
    assert (phases["cpu_seconds"] == {}) == (phases["problem"] == "> 0.4 s")


def test_phases_are_in_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--containers", "2", "--runs", "1", "--flows-at", "0", "--json", str(tmp_path / "x.json")]
    assert main(options) == 0
    table = capsys.readouterr().out
    host = json.loads((tmp_path / "x.json").read_text())["hosts"][0]
    assert list(host["phases"]["cpu_seconds"]) == [IMPORT, *PHASES, OTHER]
    assert all(name in table for name in PHASES)
    whole = next(row for row in host["rows"] if row["name"] == "diag report .json")["cpu_seconds"]["median"]
    parts = sum(seconds["median"] for seconds in host["phases"]["cpu_seconds"].values())
    assert whole / 3 < parts < whole * 3
