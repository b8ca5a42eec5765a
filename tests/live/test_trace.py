"""The product's verdicts on a live host, against real packets and real look-ups."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.live.lab import Engine, Flow, Place, listening, lookups, pings, places

DIAG = [sys.executable, "-m", "diag"]
LATE = {"timeout", "EHOSTUNREACH"}
"""A neighbour that does not answer is a timeout at first, and unreachable once the kernel gives up."""


@pytest.fixture(scope="module")
def spaces(engine: Engine) -> Iterator[list[Place]]:
    found = places(engine)
    with listening(found):
        yield found


def trace(engine: Engine, flows: Iterable[dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    file = folder / "flows.jsonl"
    file.write_text("".join(json.dumps(flow) + "\n" for flow in flows))
    done = engine.run(*DIAG, "trace", "--flows", str(file))
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def question(flow: Flow) -> dict[str, Any]:
    asked = {"source": flow.source, "address": flow.address, "protocol": flow.protocol}
    return asked if flow.protocol == "icmp" else {**asked, "port": flow.port}


def right(said: dict[str, Any], truth: str) -> bool:
    if said["disposition"] == "unknown":
        return False
    if truth == "ok":
        return bool(said["disposition"] == "delivered" and said["symptom"] == "ok")
    return said["symptom"] == truth or {said["symptom"], truth} <= LATE


def test_every_pair_is_as_the_packets_are(engine: Engine, spaces: list[Place], tmp_path: Path) -> None:
    truth = pings(spaces)
    expected = len(spaces) * len({a for p in spaces for a in p.addresses}) * 7
    assert len(truth) > 0.98 * expected, "too much of the traffic was not repeatable"
    said = trace(engine, map(question, truth), tmp_path)
    wrong = [
        f"{flow}: {result}, and not {answer['disposition']}/{answer['symptom']} ({answer['reason']})"
        for (flow, result), answer in zip(truth.items(), said, strict=True)
        if not right(answer, result)
    ]
    assert wrong == []
    # The scenario has all kinds in it: a comparison of nothing but failures would prove nothing.
    assert {"ok", "timeout", "ECONNREFUSED", "ENETUNREACH"} <= set(Counter(truth.values()))


def test_every_name_is_as_the_resolver_says(engine: Engine, spaces: list[Place], tmp_path: Path) -> None:
    truth = lookups(engine, spaces)
    said = trace(engine, ({"source": source, "name": name} for source, name in truth), tmp_path)
    wrong = [
        f"{source} asks for {name}: {address}, and not {answer['addresses']} ({answer['via']})"
        for ((source, name), address), answer in zip(truth.items(), said, strict=True)
        if (address is None) != (not answer["addresses"]) or (address and address not in answer["addresses"])
    ]
    assert wrong == []
    assert any(truth.values())
