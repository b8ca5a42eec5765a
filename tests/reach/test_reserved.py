"""Pairs with the host and the world: the engine's answers, shared, are those of single traces."""

from __future__ import annotations

import pytest

from diag.interpreter.trace import Tracer
from diag.reach.beyond import with_world
from diag.reach.pairs import PairAnalyser
from diag.reach.reserved import ReservedPairs
from tests.loading import snapshot_of


@pytest.mark.parametrize("name", ["seed-d29", "published-d29", "user_rules-d20", "gateway_modes-d29nft"])
def test_shared_answers_are_those_of_single_traces(name: str) -> None:
    snapshot = snapshot_of(name)
    world = with_world(snapshot)
    alone = ReservedPairs(snapshot, PairAnalyser(world, Tracer(world)))
    shared = ReservedPairs.of(snapshot)
    for facts in shared.all_pairs():
        wanted = alone.pair(facts.source, facts.destination)
        assert facts.reachability is wanted.reachability, (facts.source, facts.destination)
        assert [(p.target, p.allowed, p.reason) for p in facts.paths] == [
            (p.target, p.allowed, p.reason) for p in wanted.paths
        ], (facts.source, facts.destination)
