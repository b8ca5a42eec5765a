from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diag.model.analysis import Allowed, PortSet


@pytest.mark.parametrize(
    ("ranges", "words", "spelled"),
    [
        ((), "none", "none"),
        (((1, 65535),), "all", "all"),
        (((80, 80), (443, 443), (8000, 8100)), "80,443,8000-8100", "80,443,8000-8100"),
        (((1, 52), (54, 65535)), "all but 53", "1-52,54-65535"),
        (((1, 21), (23, 79), (101, 65535)), "all but 22,80-100", "1-21,23-79,101-65535"),
        (((1024, 65535),), "1024-65535", "1024-65535"),
        (((1, 1), (65535, 65535)), "1,65535", "1,65535"),
    ],
)
def test_most_ports_are_told_by_those_that_are_left_out(
    ranges: tuple[tuple[int, int], ...], words: str, spelled: str
) -> None:
    assert (PortSet(ranges).words, str(PortSet(ranges))) == (words, spelled)


def test_what_is_allowed_in_words_and_for_programs() -> None:
    allowed = Allowed(None, PortSet(((80, 80),)), PortSet(((1, 52), (54, 65535))), unknown_udp=PortSet(((53, 53),)))
    assert allowed.words == "icmp?; tcp 80; udp all but 53; udp? 53"
    assert str(allowed) == "icmp?; tcp 80; udp 1-52,54-65535; udp? 53"


@given(st.lists(st.integers(1, 65535), max_size=12, unique=True).map(sorted))
def test_either_way_it_is_the_same_ports(cuts: list[int]) -> None:
    ends = [0, *cuts, 65536]
    ranges = tuple((a + 1, b - 1) for a, b in pairwise(ends) if a + 1 < b)
    text = PortSet(ranges).words
    listed, but = text.removeprefix("all but "), text.startswith("all but ")
    if listed not in ("all", "none"):
        parts = [part.partition("-") for part in listed.split(",")]
        named = {port for first, _, last in parts for port in range(int(first), int(last or first) + 1)}
        assert {port for port in range(1, 65536) if (port in named) != but} == set(range(1, 65536)) - set(cuts)
