"""Random rules, real packets: every verdict and symptom against what the kernel did.

`make test` runs a small number of rulesets; `make kernel-soak` runs until a number of packets was judged. A failure is
shrunk and printed as JSON, ready to be kept in `fixtures/kernel/`, whose cases run here each time.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.kernel import rules
from tests.kernel.judge import Case, Difference, Score, compare, judge, real, shrink
from tests.kernel.lab import Kernel
from tests.live.lab import Flow, listening

EXAMPLES = int(os.environ.get("KERNEL_EXAMPLES", "40"))
"""Rulesets per kind."""
CASES = sorted((Path(__file__).parents[2] / "fixtures" / "kernel").glob("*.json"))


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    programs = ("ip", "nft", "iptables-nft-restore", "iptables-legacy-restore", "conntrack", "ipset")
    missing = [p for p in programs if not shutil.which(p)]
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
    sys.stderr.write(f"\n{found}\n")


def check(kernel: Kernel, case: Case, score: Score) -> None:
    """No verdict may be wrong, and none unknown: the rules that are made here are all modelled."""
    found = [d for d in judge(kernel, case, score) if d.kind != "symptom"]
    if found:
        pytest.fail(_report(*shrink(kernel, case, found[0]), len(found)))


def _report(case: Case, difference: Difference, count: int) -> str:
    kept = {"case": asdict(case), "flows": [[*asdict(difference.flow).values(), difference.real]]}
    return f"{count} flows differ, the first is {difference.kind}: {difference.answer}\n{json.dumps(kept, indent=1)}"


SWITCHES = st.fixed_dictionaries(
    {
        "net.bridge.bridge-nf-call-iptables": st.sampled_from(["1", "1", "0"]),
        "net.ipv4.conf.all.rp_filter": st.sampled_from(["0", "0", "1", "2"]),
        "net.ipv4.ip_forward": st.sampled_from(["1", "1", "1", "0"]),
        "net.bridge.bridge-nf-call-ip6tables": st.sampled_from(["1", "1", "0"]),
        "net.ipv6.conf.all.forwarding": st.sampled_from(["1", "1", "1", "0"]),
    }
)
KERNEL = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=os.environ.get("KERNEL_EXAMPLES") is None,
    suppress_health_check=list(HealthCheck),
    print_blob=False,
    phases=[Phase.generate],  # check() shrinks by itself: it knows what a rule is and which flow to look at
)


@KERNEL
@given(text=rules.iptables(), switches=SWITCHES)
def test_iptables(kernel: Kernel, score: Score, text: str, switches: dict[str, str]) -> None:
    check(kernel, Case("iptables", text, switches), score)


@KERNEL
@given(text=rules.nft(), switches=SWITCHES)
def test_nft(kernel: Kernel, score: Score, text: str, switches: dict[str, str]) -> None:
    check(kernel, Case("nft", text, switches), score)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_what_was_wrong_once(kernel: Kernel, path: Path) -> None:
    kept = json.loads(path.read_text())
    Case(**kept["case"]).load(kernel)
    truth = real(
        kernel, [Flow(source, address, protocol, port) for source, address, protocol, port, _ in kept["flows"]]
    )
    assert list(truth.values()) == [result for *_, result in kept["flows"]]
    assert not compare(kernel, truth)
