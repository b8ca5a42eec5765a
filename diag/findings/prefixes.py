"""Which of many prefixes overlap with one: prefixes either contain each other or have nothing in common."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from diag.model.address import Family, Prefix

T = TypeVar("T")


class PrefixIndex(Generic[T]):
    """Things by the prefix that each has."""

    def __init__(self, items: Iterable[tuple[Prefix, T]]) -> None:
        self._by_prefix: dict[Prefix, list[T]] = {}
        for prefix, item in items:
            self._by_prefix.setdefault(prefix, []).append(item)
        self._lengths: dict[Family, list[int]] = {
            family: sorted({p.length for p in self._by_prefix if p.family is family}) for family in Family
        }
        self._sorted = sorted(self._by_prefix, key=lambda p: (p.family, p.first))
        self._firsts = [(p.family, p.first) for p in self._sorted]

    def containing(self, prefix: Prefix) -> Iterator[tuple[Prefix, T]]:
        """Those that cover it, itself included, the widest first."""
        bits = prefix.family.bits
        for length in self._lengths[prefix.family]:
            if length <= prefix.length:
                wider = Prefix(prefix.family, prefix.value >> (bits - length) << (bits - length), length)
                yield from ((wider, item) for item in self._by_prefix.get(wider, ()))

    def within(self, prefix: Prefix) -> Iterator[tuple[Prefix, T]]:
        """Those that are a part of it, itself left out."""
        start = bisect_left(self._firsts, (prefix.family, prefix.first))
        end = bisect_right(self._firsts, (prefix.family, prefix.last))
        for narrower in self._sorted[start:end]:
            if narrower.length > prefix.length:
                yield from ((narrower, item) for item in self._by_prefix[narrower])
