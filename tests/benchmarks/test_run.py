"""The runner: whole processes, measured, within a limit."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest

from benchmarks.flows import flows
from benchmarks.hosts import HostSpec, write_host
from benchmarks.measure import measure
from benchmarks.run import FLOOR, Spread, main
from diag.bundle.reader import read_bundle
from diag.parse.snapshot import build_snapshot
from diag.reach.flows import FlowAnswerer


def test_a_process_is_measured(tmp_path: Path) -> None:
    code = "import sys; block = bytearray(64 << 20); print(sum(range(2_000_000))); sys.exit(3)"
    used = measure([sys.executable, "-c", code], 30, tmp_path / "out")
    assert used.in_time
    assert used.status == 3
    assert 0 < used.cpu <= used.wall + 0.1
    assert used.rss > 64
    assert (tmp_path / "out").read_text() == "1999999000000\n"


def test_a_process_is_ended_at_its_limit() -> None:
    started = time.monotonic()
    used = measure([sys.executable, "-c", "import time; time.sleep(60)"], 0.3)
    assert not used.in_time
    assert used.status < 0
    assert 0.3 <= time.monotonic() - started < 10


def test_spread() -> None:
    assert Spread.of([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0)


def test_flows_can_be_answered(tmp_path: Path) -> None:
    write_host(tmp_path / "host", HostSpec(containers=6, networks=2, admin_rules=5))
    containers = json.loads((tmp_path / "host/docker/containers.json").read_bytes())
    asked = list(flows(containers, 60))
    assert asked == list(flows(containers, 60))
    answerer = FlowAnswerer(build_snapshot(read_bundle(str(tmp_path / "host"))))
    answers = [answerer.answer(flow) for flow in asked]
    assert {answer["protocol"] for answer in answers} == {"tcp", "icmp"}
    assert {"delivered", "dropped"} <= {answer["disposition"] for answer in answers}
    assert "unknown" not in {answer["disposition"] for answer in answers}


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
