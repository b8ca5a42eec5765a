"""The beginning of a list in a sentence."""

from __future__ import annotations

from collections.abc import Iterable

from diag.report.language import Language


def some_of(texts: Iterable[str], limit: int, language: Language) -> str:
    """The first of them, and how many more there are.

    >>> some_of(["web", "db", "cache"], 2, Language())
    'web, db and 1 more'
    """
    found = tuple(texts)
    names, more = ", ".join(found[:limit]), len(found) - limit
    return language.say("{names} and {n} more", names=names, n=more) if more > 0 else names
