"""Random rules, real packets: every verdict and symptom against what the kernel did.

`make test` runs a small number of rulesets; `make kernel-soak PACKETS=200000` runs until that many packets were judged.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diag.parse.snapshot import build_snapshot
from diag.reach.flows import FlowAnswerer
from tests.kernel import rules
from tests.kernel.lab import Kernel, Space
from tests.live.lab import CLOSED_PORT, TCP_PORTS, UDP_PORTS, Flow, inside, listening, send

EXAMPLES = int(os.environ.get("KERNEL_EXAMPLES", "40"))
"""Rulesets per kind."""
WAIT = float(os.environ.get("KERNEL_WAIT", "0.35"))
"""Seconds until no answer is a timeout."""
LATE = {"timeout", "EHOSTUNREACH"}


@dataclass
class Score:
    """What was judged."""

    packets: int = 0
    unknown: int = 0
    symptoms: int = 0
    results: Counter[str] = field(default_factory=Counter)


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    missing = [
        p for p in ("ip", "nft", "iptables-nft-restore", "iptables-legacy-restore", "conntrack") if not shutil.which(p)
    ]
    reason = "not root" if os.geteuid() else f"not installed: {', '.join(missing)}" if missing else ""
    if reason and os.environ.get("CI"):
        pytest.fail(f"the kernel tests cannot run in CI: {reason}")
    if reason:
        pytest.skip(reason)
    made = Kernel(f"kj{os.getpid()}-")
    try:
        made.start()
        with listening(made.spaces()):
            yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def score() -> Iterator[Score]:
    found = Score()
    yield found
    said = f"{found.packets} packets judged, {found.unknown} unknown, {found.symptoms} symptoms off"
    sys.stderr.write(f"\n{said}, {dict(found.results)}\n")
    if os.environ.get("KERNEL_SCORE"):
        with Path(os.environ["KERNEL_SCORE"]).open("a") as file:
            file.write(
                json.dumps({"packets": found.packets, "unknown": found.unknown, "symptoms": found.symptoms}) + "\n"
            )


def flows_of(spaces: list[Space]) -> list[Flow]:
    addresses = [a for space in spaces for a in space.addresses]
    return [
        flow
        for space in spaces
        for address in addresses
        for flow in (
            Flow(space.name, address, "icmp"),
            *(Flow(space.name, address, "tcp", p) for p in (*TCP_PORTS, CLOSED_PORT)),
            *(Flow(space.name, address, "udp", p) for p in UDP_PORTS),
        )
    ]


def real(kernel: Kernel) -> dict[Flow, str]:
    """Twice; what does not agree was the machine."""
    spaces = kernel.spaces()
    by_source: dict[str, list[Flow]] = {}
    for flow in flows_of(spaces):
        by_source.setdefault(flow.source, []).append(flow)

    def probe(space: Space) -> dict[Flow, str]:
        asked = by_source[space.name]
        first, second = (inside(space.netns, lambda: send(asked, WAIT)) for _ in range(2))
        return {f: second[f] for f in asked if first[f] == second[f] or {first[f], second[f]} <= LATE}

    with ThreadPoolExecutor(len(spaces)) as pool:
        return {flow: result for found in pool.map(probe, spaces) for flow, result in found.items()}


def judge(kernel: Kernel, score: Score) -> None:
    """Compare every flow; the first that differs fails with all that is needed to see it again."""
    answerer = FlowAnswerer(build_snapshot(kernel.bundle()))
    wrong = []
    for flow, result in real(kernel).items():
        request = {"source": flow.source, "address": flow.address, "protocol": flow.protocol, "port": flow.port}
        answer = answerer.answer(request)
        score.packets += 2
        score.results[result] += 1
        if answer["disposition"] == "unknown":
            score.unknown += 2
        elif (result == "ok") != (answer["disposition"] == "delivered" and answer["symptom"] == "ok"):
            if not (result == answer["symptom"] == "ECONNREFUSED"):
                wrong.append((flow, result, answer))
        elif result not in ("ok", answer["symptom"]) and not {result, answer["symptom"]} <= LATE:
            score.symptoms += 2
            if os.environ.get("KERNEL_SYMPTOMS"):
                wrong.append((flow, result, answer))
    assert not wrong, f"{len(wrong)} wrong, the first: {wrong[0]}"


SWITCHES = st.fixed_dictionaries(
    {
        "net.bridge.bridge-nf-call-iptables": st.sampled_from(["1", "1", "0"]),
        "net.ipv4.conf.all.rp_filter": st.sampled_from(["0", "0", "1", "2"]),
        "net.ipv4.ip_forward": st.sampled_from(["1", "1", "1", "0"]),
    }
)
KERNEL = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=os.environ.get("KERNEL_EXAMPLES") is None,
    suppress_health_check=list(HealthCheck),
    print_blob=False,
)


@KERNEL
@given(text=rules.iptables(), switches=SWITCHES)
def test_iptables(kernel: Kernel, score: Score, text: str, switches: dict[str, str]) -> None:
    kernel.sysctl(switches)
    kernel.load(iptables=text)
    judge(kernel, score)


@KERNEL
@given(text=rules.nft(), switches=SWITCHES)
def test_nft(kernel: Kernel, score: Score, text: str, switches: dict[str, str]) -> None:
    kernel.sysctl(switches)
    kernel.load(nft=text)
    judge(kernel, score)
