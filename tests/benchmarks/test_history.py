"""A day of a made-up host: what changes is what changes on a real one, and what it takes to keep."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.history import day, main, measure
from benchmarks.hosts import HostSpec, write_host
from diag.bundle.reader import read_bundle
from diag.model.bundle import Bundle
from diag.parse.snapshot import build_snapshot


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("host")
    write_host(folder, HostSpec(containers=12, networks=3))
    return folder


@pytest.fixture(scope="module")
def hours(host: Path) -> list[Bundle]:
    return list(day(read_bundle(str(host)), 14))


def changed(one: Bundle, other: Bundle) -> set[str]:
    return {path.rpartition("/")[2] for path in one.files if one.files[path] != other.files[path]}


def test_what_changes_from_hour_to_hour(hours: list[Bundle]) -> None:
    expected = {"iptables-save.txt", "ip6tables-save.txt", "nft-ruleset.json", "ip-neigh.json", "sysctl.txt"}
    assert changed(hours[2], hours[3]) == expected
    assert hours[2].captured_at[:13] == "2026-11-23T20"
    assert len({record.duration for record in hours[2].records.values()}) > 100


def test_counters_only_grow(hours: list[Bundle]) -> None:
    def counted(bundle: Bundle) -> int:
        lines = bundle.files["host/iptables-save.txt"].decode().splitlines()
        return sum(int(line[1:].partition(":")[0]) for line in lines if line.startswith("["))

    counts = [counted(bundle) for bundle in hours[1:]]
    assert counts == sorted(set(counts))


def test_two_containers_are_restarted_and_change_places(hours: list[Bundle]) -> None:
    before, after = (build_snapshot(bundle) for bundle in hours[11:13])
    assert not [gap for gap in after.gaps if gap not in before.gaps]
    addresses = [
        {c.name: str(c.endpoints[0].ip) for c in snapshot.containers if c.endpoints} for snapshot in (before, after)
    ]
    moved = {name for name in addresses[0] if addresses[0][name] != addresses[1][name]}
    assert len(moved) == 2
    assert {addresses[0][name] for name in moved} == {addresses[1][name] for name in moved}
    links = [{link["ifname"] for link in json.loads(b.files["host/ip-addr.json"])} for b in hours[11:13]]
    assert len(links[0] - links[1]) == len(links[1] - links[0]) == 2


def test_figures(host: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = measure(read_bundle(str(host)), tmp_path / "state", 4)
    assert found.snapshots == 4
    assert found.alone < found.bytes < 4 * found.alone
    assert main([str(host), "--hours", "2"]) == 0
    assert "2 snapshots, " in capsys.readouterr().out
