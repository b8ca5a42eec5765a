"""The answers of many containers, each one once: those on the same networks share them."""

from __future__ import annotations

from collections.abc import Iterable

from diag.model.analysis import NameAnswer, NameScope


def distinct_answers(scopes: Iterable[NameScope]) -> dict[int, NameAnswer]:
    """Every answer by its `id`, which is good for as long as the scopes are there."""
    found: dict[int, NameAnswer] = {}
    for scope in scopes:
        found.update(zip(map(id, scope.names), scope.names, strict=True))
    return found
