"""Flows that are asked about."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.flows import flows
from benchmarks.hosts import HostSpec, write_host
from diag.bundle.reader import read_bundle
from diag.parse.snapshot import build_snapshot
from diag.reach.flows import FlowAnswerer


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
