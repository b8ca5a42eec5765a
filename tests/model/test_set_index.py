from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from diag.model.set_index import Key, SetIndex

RANGES = st.tuples(st.integers(0, 300), st.integers(0, 40)).map(lambda found: (found[0], found[0] + found[1]))
WIDE = st.tuples(st.integers(0, 1000), st.integers(0, 1000)).map(lambda found: (min(found), max(found)))
NAMES = st.text("ab", min_size=1, max_size=3).flatmap(lambda name: st.sampled_from([name, f"{name}*"]))


def fits(key: Key, value: int | str) -> bool:
    if isinstance(key, str) or isinstance(value, str):
        name, other = str(value), str(key)
        return name.startswith(other[:-1]) if other.endswith("*") else name == other
    return key[0] <= value <= key[1]


@given(st.lists(st.one_of(RANGES, NAMES), max_size=40), st.one_of(st.integers(0, 350), st.text("ab", max_size=3)))
def test_what_fits_is_found_in_order(keys: list[Key], value: int | str) -> None:
    index = SetIndex([(key, place) for place, key in enumerate(keys)])
    assert index.of(value) == [place for place, key in enumerate(keys) if fits(key, value)]


@given(st.lists(WIDE, min_size=70, max_size=120, unique_by=lambda key: key[1] - key[0]), st.integers(0, 1000))
def test_ranges_of_many_widths(keys: list[Key], value: int) -> None:
    index = SetIndex([(key, place) for place, key in enumerate(keys)])
    assert index.of(value) == [place for place, key in enumerate(keys) if fits(key, value)]
