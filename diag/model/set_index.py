"""Which elements of a large set may have a value: sets that block countries have a hundred thousand elements."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Sequence
from itertools import accumulate
from typing import Generic, TypeVar

T = TypeVar("T")
Key = tuple[int, int] | str
"""A range, or a name that may end with `*`."""
_MOST_WIDTHS = 64
"""Of prefixes there are fewer."""


class SetIndex(Generic[T]):
    """The items of some keys, found by value in the order in which they were given."""

    def __init__(self, items: Sequence[tuple[Key, T]]) -> None:
        self._items = [item for _, item in items]
        self._named: dict[str, list[int]] = defaultdict(list)
        self._prefixes: list[tuple[str, int]] = []
        ranges = []
        for place, (key, _) in enumerate(items):
            if not isinstance(key, str):
                ranges.append((*key, place))
            elif key.endswith("*"):
                self._prefixes.append((key[:-1], place))
            else:
                self._named[key].append(place)
        by_width: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for low, high, place in sorted(ranges):
            by_width[high - low].append((low, place))
        if len(by_width) > _MOST_WIDTHS:
            by_width, self._ranges = {}, sorted(ranges)
        else:
            self._ranges = []
        self._by_width = [
            (width, [low for low, _ in found], [place for _, place in found]) for width, found in by_width.items()
        ]
        self._lows = [low for low, _, _ in self._ranges]
        self._furthest = list(accumulate((high for _, high, _ in self._ranges), max))
        """Up to each range, the highest end: nothing further down can have a value beyond it."""

    def of(self, value: int | str) -> list[T]:
        """Those whose key is the value, or has it."""
        places = self._with_name(value) if isinstance(value, str) else self._with_number(value)
        return [self._items[place] for place in sorted(places)]

    def _with_name(self, name: str) -> list[int]:
        return [*self._named.get(name, ()), *(place for prefix, place in self._prefixes if name.startswith(prefix))]

    def _with_number(self, value: int) -> list[int]:
        found = []
        for width, lows, places in self._by_width:
            found += places[bisect_left(lows, value - width) : bisect_right(lows, value)]
        place = bisect_right(self._lows, value) - 1
        while place >= 0 and self._furthest[place] >= value:
            _, high, item = self._ranges[place]
            if high >= value:
                found.append(item)
            place -= 1
        return found
