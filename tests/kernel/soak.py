"""The long mode: random cases of every kind until a number of real packets was judged.

`python -m tests.kernel.soak --packets 200000`; needs root. What differs is shrunk, printed, and kept as JSON in
`--keep FOLDER`. Exit status 1 if any verdict was wrong, the two engines disagreed, or 1 % or more were unknown.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings

import tests.storage  # noqa: F401  sets where Hypothesis keeps its files
from tests.kernel.cases import KINDS, cases
from tests.kernel.judge import BAD, Case, Hosts, Score, judge, report, shrink

ROUND = 10
"""Cases of one kind before it is the next one's turn."""


def run(packets: int, start: int, keep: Path | None, kinds: tuple[str, ...]) -> Score:
    """Judge until `packets` were sent; prints a line per round."""
    total = Score()
    scores = {kind: Score() for kind in kinds}
    began = time.monotonic()
    with Hosts(f"ks{os.getpid()}-") as hosts:
        for number, kind in _rounds(kinds):
            if total.packets >= packets:
                break
            mine = Score()
            _judge_some(hosts, kind, start + number, mine, keep)
            scores[kind].add(mine)
            total.add(mine)
            _say(f"{time.monotonic() - began:6.0f} s  {kind:13} {mine}")
    for kind, found in scores.items():
        _say(f"{kind:13} {found}")
    return total


def _rounds(kinds: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    return enumerate(itertools.cycle(kinds))


def _judge_some(hosts: Hosts, kind: str, number: int, score: Score, keep: Path | None) -> None:
    @seed(number)
    @settings(
        max_examples=ROUND,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(cases(kind))
    def judge_one(case: Case) -> None:
        with hosts.on(case) as kernel:
            wrong = [d for d in judge(kernel, case, score) if d.kind in BAD]
            if wrong:
                text = report(*shrink(kernel, case, wrong[0]))
                _say(f"{len(wrong)} flows differ (seed {number}), the first is {text}")
                if keep is not None:
                    (keep / f"{kind}-{number}.json").write_text(text.partition("\n")[2])

    judge_one()


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packets", type=int, default=200_000, help="how many packets to judge at least")
    parser.add_argument("--seed", type=int, default=1, help="where the random cases start")
    parser.add_argument("--keep", type=Path, help="folder for the cases that differ")
    parser.add_argument("--kinds", default=",".join(KINDS), help=f"of {', '.join(KINDS)}")
    options = parser.parse_args()
    total = run(options.packets, options.seed, options.keep, tuple(options.kinds.split(",")))
    _say(f"in all: {total}")
    return int(any(total.kinds[kind] for kind in BAD) or total.kinds["unknown"] >= 0.01 * total.packets)


if __name__ == "__main__":
    sys.exit(main())
