"""Which snapshots go: by count, by age, by size, the oldest first."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import pairwise, takewhile

from diag.model.history import Kept, Retention

_DAY = 86400.0
MAX_GAP = 7 * _DAY
"""Seconds between two snapshots that count at most, forward or back."""


def retired(entries: Sequence[Kept], limits: Retention, pinned: Collection[int]) -> frozenset[int]:
    """Ids of the snapshots to remove, of entries in their order; never the newest and never a pinned one.

    The clock may jump, and a host may be off for months: age is the time between snapshots added up, of each no more than
    :data:`MAX_GAP`. So no jump takes all of them, and one that is taken back leaves nothing behind.
    """
    kept = [entry for entry in entries if not entry.retired]
    free = [entry.id for entry in kept[:-1] if entry.id not in pinned]
    ages = _ages(kept)
    newest = {entry.id for entry in kept[-max(limits.count, 1) :]}
    old = takewhile(lambda number: ages[number] > limits.days * _DAY, free)
    gone = {*old, *(number for number in free if number not in newest)}
    sizes = {entry.id: entry.size for entry in entries}
    for number in free:
        staying = [entry for entry in kept if entry.id not in gone]
        if sum(sizes.get(needed, 0) for needed in needed_by(staying)) <= limits.size:
            break
        gone.add(number)
    return frozenset(gone)


def needed_by(entries: Iterable[Kept]) -> frozenset[int]:
    """Ids of the files that these snapshots are made from."""
    return frozenset(number for entry in entries for number in (entry.id, entry.base) if number)


def _ages(kept: Sequence[Kept]) -> dict[int, float]:
    """Seconds that each is older than the newest; whatever the clock says, none is younger than one that came later."""
    ages, age, oldest = {}, 0.0, 0.0
    for newer, older in pairwise(reversed(kept)):
        age += min(MAX_GAP, max(-MAX_GAP, newer.record.written_at - older.record.written_at))
        oldest = max(oldest, age)
        ages[older.id] = oldest
    return ages
