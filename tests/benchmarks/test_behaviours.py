"""Kinds of pairs of a report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.behaviours import kinds, main
from benchmarks.hosts import HostSpec, write_host
from diag.pipeline import analyse_snapshot, load_snapshot
from diag.report.render import ReportFormat, render


def report(folder: Path, spec: HostSpec) -> str:
    write_host(folder, spec)
    return render(analyse_snapshot(load_snapshot(str(folder))), ReportFormat.JSON).decode()


@pytest.mark.parametrize("indent", [None, 2])
def test_who_the_pairs_are_does_not_count(indent: int | None) -> None:
    def group(source: str, network: str, reason: str) -> dict[str, Any]:
        path = {"family": "ipv4", "network": network, "reachability": "reachable", "allowed": {"icmp": True}}
        paths = [{**path, "reason": reason, "address": f"address of {source}", "explanation": f"{source} reaches it"}]
        return {"sources": [source], "reachability": "reachable", "paths": paths}

    document = {
        "containers": [{"endpoints": [{"network": "n"}]}],
        "groups": [group("a", "n", "same-bridge"), group("b", "n", "same-bridge"), group("a", "m", "same-bridge")],
        "endpoints": [group("a", "n", "host-netns"), group("a", "n", "published-port")],
        "names": [{"names": ['"groups": []']}],
    }
    text = json.dumps(document, indent=indent)
    assert (kinds(text, "groups"), kinds(text, "endpoints")) == (2, 2)


def test_hosts_that_differ_in_size_only_have_the_same_kinds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = []
    for count in (6, 12):
        spec = HostSpec(count, 2, published=0, multihomed=0, admin_rules=0)
        (tmp_path / f"{count}.json").write_text(report(tmp_path / f"host{count}", spec))
        assert main([str(tmp_path / f"{count}.json")]) == 0
        found.append(json.loads(capsys.readouterr().out))
    assert found[0] == found[1]
    assert found[0]["groups"] == 4  # within either network, and from either to the other
