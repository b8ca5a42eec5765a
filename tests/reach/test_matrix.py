"""The matrix says of every pair what the interpreter says of that pair alone."""

from __future__ import annotations

import pytest

from diag.interpreter.trace import Tracer
from diag.reach.matrix import PairMatrix, bits
from diag.reach.pairs import PairAnalyser
from tests.loading import snapshot_of


@pytest.mark.parametrize("name", ["seed_connected-d29", "published-d28", "internal_icc-d29", "user_rules-d29nft"])
def test_every_pair_is_in_one_cell_and_like_itself(name: str) -> None:
    snapshot = snapshot_of(name)
    alone = PairAnalyser(snapshot, Tracer(snapshot))
    for column in PairMatrix(snapshot, PairAnalyser(snapshot, Tracer(snapshot))).columns():
        seen = 0
        for cell in column.cells:
            assert not seen & cell.sources
            seen |= cell.sources
            for position in bits(cell.sources):
                facts = alone.pair(snapshot.containers[position], column.destination)
                assert cell.reachability is facts.reachability
                assert [(p.target, p.allowed, p.reason) for p in cell.paths] == [
                    (p.target, p.allowed, p.reason) for p in facts.paths
                ]
        assert seen == (1 << len(snapshot.containers)) - 1 & ~(1 << column.position)
