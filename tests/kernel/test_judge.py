"""Random rules on random hosts, real packets: every verdict and symptom against what the kernel did.

`make test` runs a small number of rulesets; `make kernel-soak` runs until a number of packets was judged. A failure is
shrunk and printed as JSON, ready to be kept in `fixtures/kernel/`, whose cases run here each time.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.kernel.cases import KINDS, cases, unmodelled
from tests.kernel.judge import BAD, PATIENCE, Case, Hosts, Score, compare, judge, observe, real, report, shrink
from tests.live.lab import Flow

pytestmark = pytest.mark.random
EXAMPLES = 14
"""Cases per kind."""
KEPT = sorted((Path(__file__).parents[2] / "fixtures" / "kernel").glob("*.json"))


@pytest.fixture(scope="module")
def hosts() -> Iterator[Hosts]:
    programs = ("ip", "nft", "iptables-nft-restore", "iptables-legacy-restore", "conntrack", "ipset")
    missing = [p for p in programs if not shutil.which(p)]
    reason = "not root" if os.geteuid() else f"not installed: {', '.join(missing)}" if missing else ""
    if reason and os.environ.get("CI"):
        pytest.fail(f"the kernel tests cannot run in CI: {reason}")
    if reason:
        pytest.skip(reason)
    with Hosts(f"kj{os.getpid()}-") as made:
        yield made


@pytest.fixture(scope="module")
def score() -> Iterator[Score]:
    found = Score()
    yield found
    sys.stderr.write(f"\n{found}\n")


@pytest.mark.parametrize("kind", KINDS)
def test_random_rules(hosts: Hosts, score: Score, kind: str) -> None:
    """No verdict may be wrong, and few unknown: of the rules that are made here only those that a hash or an order decides."""
    mine = Score()

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
        phases=[Phase.generate],  # shrink() knows what a rule is and which flow to look at
    )
    @given(cases(kind))
    def check(case: Case) -> None:
        with hosts.on(case) as kernel:
            wrong = [d for d in judge(kernel, case, mine) if d.kind in BAD]
            if wrong:
                pytest.fail(report(*shrink(kernel, case, wrong[0])))

    try:
        check()
    finally:
        score.add(mine)
    assert mine.kinds["unknown"] <= 0.01 * mine.packets, mine
    assert mine.kinds["symptom"] <= 0.01 * mine.packets, mine


def test_unmodelled_matches_never_mislead(hosts: Hosts, score: Score) -> None:
    """Where an unmodelled match decides, the verdict is unknown and says why; everywhere else it is right."""
    mine = Score()

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
        phases=[Phase.generate],
    )
    @given(unmodelled())
    def check(case: Case) -> None:
        with hosts.on(case) as kernel:
            found = judge(kernel, case, mine)
            wrong = [d for d in found if d.kind in BAD]
            if wrong:
                pytest.fail(report(*shrink(kernel, case, wrong[0])))
            assert all(d.answer["unknown"] for d in found if d.answer["disposition"] == "unknown")

    try:
        check()
    finally:
        score.add(mine)
    assert mine.kinds["unknown"]


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_what_was_wrong_once(hosts: Hosts, path: Path) -> None:
    kept = json.loads(path.read_text())
    case = Case.from_json(kept["case"])
    with hosts.on(case) as kernel:
        case.load(kernel)
        flows = [Flow(source, address, protocol, port) for source, address, protocol, port, _ in kept["flows"]]
        truth, found = observe(kernel, flows)
        unclear = real(kernel, [flow for flow in flows if flow not in truth], PATIENCE)
        found += compare(kernel, unclear)
        truth |= unclear
        assert [truth.get(flow) for flow in flows] == [result for *_, result in kept["flows"]]
        assert not found
