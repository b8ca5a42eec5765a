"""Phrases that several checks use."""

from __future__ import annotations

from collections.abc import Iterable

from diag.model.message import listed, say

_SHOWN = 3


def some(names: Iterable[str]) -> str:
    """The first of some names, and how many more there are.

    >>> print(some(["web", "db", "cache", "mail"]))
    web, db, cache and 1 more
    """
    found = tuple(names)
    first = listed(found[:_SHOWN])
    more = len(found) - _SHOWN
    return say("{names} and {n} more", names=first, n=more) if more > 0 else first
