"""Pings against verdicts: who is asked, and whether they agree; and, where an engine can run, all of it once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.ping import (
    BUNDLE,
    CAPTURE,
    LIVE,
    Ask,
    Comparison,
    Difference,
    asks,
    differences,
    memberships,
    print_table,
    processes,
    verdicts,
    why_not,
)

AB, BA, AC = Ask("a", "b", "10.0.0.2"), Ask("b", "a", "10.0.0.1"), Ask("a", "c", "10.0.0.3")


def test_containers_are_spread_over_the_networks() -> None:
    found = memberships(14, 4)
    assert len(found) == 14
    assert {network for networks in found.values() for network in networks} == {"n1", "n2", "n3", "n4"}
    assert [name for name, networks in found.items() if len(networks) == 2] == ["c05", "c10"]
    assert memberships(5, 1)["c05"] == ("n1",)


def test_every_address_of_every_other_container_is_asked_for() -> None:
    def container(name: str, *addresses: str) -> dict[str, Any]:
        networks = {f"n{number}": {"IPAddress": address} for number, address in enumerate(addresses)}
        return {"Name": f"/{name}", "NetworkSettings": {"Networks": networks}}

    found = asks([container("b", "10.0.0.2", "10.1.0.2"), container("a", "10.0.0.1"), container("off", "")])
    assert found == [AB, Ask("a", "b", "10.1.0.2"), BA]


def test_verdicts_of_rows() -> None:
    def row(ask: Ask, *, icmp: bool, **more: object) -> str:
        place = {"source": ask.source, "destination": ask.destination, "address": ask.address}
        return json.dumps({**place, "allowed": {"icmp": icmp, "tcp": "all", **more}})

    rows = [
        row(AB, icmp=True),
        row(BA, icmp=False, unknown={"icmp": False, "tcp": "1-2"}),
        row(AC, icmp=False, unknown={"icmp": True}),
    ]
    assert verdicts(rows) == {AB: True, BA: False, AC: None}


def test_differences() -> None:
    pings = {AB: True, BA: False, AC: True}
    assert differences("x", pings, {AB: True, BA: False, AC: True}) == ()
    assert differences("x", pings, {AB: False, BA: None}) == (
        Difference("x", AB, True, False),
        Difference("x", BA, False, None),
        Difference("x", AC, True, None),
    )


def test_the_table_names_differences(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(Comparison("20.10", 3, 1, 6, 5, 12.5, (), (Difference(LIVE, AB, False, True),)))
    said = capsys.readouterr().out
    assert "6 pings took 12.5 s, 5 were answered" in said
    assert f"{LIVE}: a to b at 10.0.0.2 delivered, the ping was not answered" in said
    print_table(Comparison("20.10", 3, 1, 6, 6, 12.5, (), ()))
    assert "every verdict is that of the ping" in capsys.readouterr().out


@pytest.mark.live
def test_the_command_leaves_nothing_behind(tmp_path_factory: pytest.TempPathFactory) -> None:
    if (reason := why_not()) and not os.environ.get("CI"):
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("p")  # short, as the engine has sockets below it
    result = folder / "x.json"
    words = ["--containers", "3", "--networks", "2", "--runs", "1", "--json", str(result)]
    environment = {**os.environ, "TMPDIR": str(folder)}
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.ping", *words], env=environment, stderr=subprocess.PIPE, text=True
    ) as child:
        _, said = child.communicate(timeout=200)
    assert child.returncode == 0, said
    found = json.loads(result.read_text())
    assert (found["pings"], found["answered"], found["differences"]) == (6, 2, [])
    assert [timing["name"] for timing in found["timings"]] == [LIVE, CAPTURE, BUNDLE]
    assert list(folder.iterdir()) == [result]
    assert str(folder) not in Path("/proc/mounts").read_text()
    assert not Path(f"/run/netns/diag-ping-{child.pid}").exists()
    assert list(processes(str(folder))) == []
