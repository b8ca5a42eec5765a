"""Ranges as diagrams, and back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from diag.symbolic.space import PORT_BITS, PacketSpace, intervals, runs

RANGES = st.lists(st.tuples(st.integers(0, 65535), st.integers(0, 65535)).map(lambda r: (min(r), max(r))), max_size=5)


@given(RANGES)
def test_ports_come_back_as_they_were(ranges: list[tuple[int, int]]) -> None:
    space = PacketSpace(1, 1)
    inside = space.ports(tuple(ranges))
    found = intervals(inside, space.pair_levels + 2, PORT_BITS, 1 << PORT_BITS)
    read = [(low, high) for low, high, below in found if below == space.all]
    edges = sorted({0, 65535, *(edge for low, high in ranges for edge in (low - 1, low, high, high + 1))})
    for port in (edge for edge in edges if 0 <= edge <= 65535):
        wanted = any(low <= port <= high for low, high in ranges)
        assert any(low <= port <= high for low, high in read) == wanted


@given(st.sets(st.integers(0, 36)))
def test_numbers_come_back_as_they_were(numbers: set[int]) -> None:
    space = PacketSpace(37, 5)
    found = intervals(space.destinations_among(numbers), 0, space.destination_levels, 37)
    assert {n for low, high, below in found for n in range(low, high + 1) if below == space.all} == numbers


def test_runs_join_neighbours() -> None:
    assert list(runs([5, 1, 2, 3])) == [(1, 3), (5, 5)]
    assert list(runs([])) == []
