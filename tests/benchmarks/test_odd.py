"""Hosts with one thing out of the ordinary: what is traced flow by flow must not grow with the pairs."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from benchmarks.hosts import host_bundle_files
from benchmarks.odd import ODDITIES, counted_traces, main, odd_bundle
from benchmarks.plan import HostSpec
from diag.pipeline import analyse_snapshot, parse_bundle

COUNT = 100
PAIRS = COUNT * (COUNT - 1)


@pytest.fixture(scope="module")
def files() -> Mapping[str, bytes]:
    return host_bundle_files(HostSpec(COUNT, 10))


@pytest.mark.apart
@pytest.mark.parametrize("name", ODDITIES)
def test_what_is_odd_costs_less_than_a_trace_for_every_fourth_pair(name: str, files: Mapping[str, bytes]) -> None:
    snapshot = parse_bundle(odd_bundle(files, ODDITIES[name]))
    with counted_traces() as asked:
        analysis = analyse_snapshot(snapshot)
    assert len(asked) < PAIRS // 4
    covered = sum(len(set(g.sources) - {d}) for g in analysis.groups for d in g.destinations)
    assert covered == len(snapshot.containers) * (len(snapshot.containers) - 1)


def test_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--containers", "4"]) == 0
    printed = capsys.readouterr().out
    assert all(f"| {name} |" in printed for name in ODDITIES)
