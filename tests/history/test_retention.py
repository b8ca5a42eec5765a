"""Retention keeps what it must and removes what it should."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from diag.history.retention import needed_by, retired
from diag.model.history import Kept, Record, Retention

HOUR = 3600.0
ALL = Retention(count=10**6, days=10**6, size=1 << 60)


def entries(*times: float, base: int = 0, size: int = 10) -> list[Kept]:
    """Snapshots written then; all but the first are differences to it if there is a base."""
    return [
        Kept(n, size, Record("h", "", written_at=time), base=base if n > 1 else 0) for n, time in enumerate(times, 1)
    ]


@st.composite
def stores(draw: st.DrawFn) -> list[Kept]:
    times = draw(st.lists(st.floats(-1e9, 4e9), min_size=1, max_size=12))
    sizes = st.integers(1, 1000)
    made: list[Kept] = []
    for number, time in enumerate(times, 1):
        alone = [entry.id for entry in made if not entry.base]
        base = draw(st.sampled_from([0, *alone]))
        made.append(Kept(number, draw(sizes), Record("h", "", written_at=time), base, retired=draw(st.booleans())))
    return made


LIMITS = st.builds(Retention, count=st.integers(0, 12), days=st.floats(0, 400), size=st.integers(0, 5000))


@given(stores(), LIMITS, st.sets(st.integers(1, 12)))
def test_what_always_holds(found: list[Kept], limits: Retention, pinned: set[int]) -> None:
    gone = retired(found, limits, pinned)
    kept = [entry for entry in found if not entry.retired]
    staying = [entry for entry in kept if entry.id not in gone]
    assert gone <= {entry.id for entry in kept}
    assert not gone & pinned
    if kept:
        assert kept[-1] in staying
    free = [entry for entry in staying[:-1] if entry.id not in pinned]
    assert all(entry.id > max(gone, default=0) or entry.id in pinned for entry in staying)
    assert len(free) < max(limits.count, 1)
    sizes = {entry.id: entry.size for entry in found}
    assert not free or sum(sizes[number] for number in needed_by(staying)) <= limits.size
    assert not retired([replace(e, retired=e.retired or e.id in gone) for e in found], limits, pinned)


def test_what_is_removed_leaves_nothing_to_remove() -> None:
    found = entries(*[0.0] * 8, -1.0, 0.0)
    limits = Retention(count=2, days=0.0)
    gone = retired(found, limits, ())
    assert gone == set(range(1, 10))
    assert not retired([entry for entry in found if entry.id not in gone], limits, ())


def test_by_count() -> None:
    assert retired(entries(1, 2, 3, 4, 5), Retention(count=2), {1}) == {2, 3}


def test_by_age() -> None:
    times = [day * 24 * HOUR for day in range(10)]
    assert retired(entries(*times), Retention(days=3), ()) == {1, 2, 3, 4, 5, 6}


def test_by_size_counts_what_the_rest_needs() -> None:
    assert retired(entries(1, 2, 3, size=10), Retention(size=20), ()) == {1}
    assert retired(entries(1, 2, 3, base=1, size=10), Retention(size=20), ()) == {1, 2}


def test_a_clock_that_goes_back_makes_nothing_old() -> None:
    assert retired(entries(1e9, 1e9 + HOUR, 5e8, 5e8 + HOUR), Retention(days=1), ()) == frozenset()


def test_a_clock_that_was_years_ahead_once_makes_little_old() -> None:
    found = entries(1e9, 1e9 + HOUR, 3e9, 1e9 + 2 * HOUR, 1e9 + 3 * HOUR)
    assert retired(found, Retention(days=90), ()) == frozenset()


def test_a_clock_that_jumps_again_and_again_makes_nothing_old() -> None:
    times = [1e9 + HOUR * n + (1e8 if n % 2 else 0) for n in range(60)]
    assert retired(entries(*times), Retention(days=30), ()) == frozenset()


def test_one_that_was_stored_in_the_future_goes_in_time() -> None:
    times = [4e9, *(1e9 + day * 24 * HOUR for day in range(40))]
    assert retired(entries(*times), Retention(days=30), ()) == set(range(1, 11))


def test_what_is_needed() -> None:
    assert needed_by(entries(1, 2, base=1)[1:]) == {1, 2}
