"""Small parts of findings: who is meant, and what is cited."""

from __future__ import annotations

from collections.abc import Iterable

from diag.model.message import listed, say
from diag.model.provenance import Evidence

MOST = 6
"""Names in one sentence, and lines cited by one finding."""


def some(names: Iterable[str]) -> str:
    """The first names, and how many more there are."""
    found = list(dict.fromkeys(names))
    if len(found) <= MOST:
        return listed(found)
    return say("{names} and {n} more", names=listed(found[:MOST]), n=len(found) - MOST)


def citing(*lines: Evidence | None) -> tuple[Evidence, ...]:
    """The first lines that are there, each once."""
    return tuple(dict.fromkeys(line for line in lines if line is not None))[:MOST]
