"""A policy as it was written."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from msgspec import Struct

from diag.model.enums import Word
from diag.policy.traffic import ALL_TRAFFIC, Traffic

VERSION = 1
"""Of the file's form."""


class Kind(Word):
    """The sections of a policy."""

    REACH = "reach"
    DENY = "deny"
    ONLY = "only"
    RESOLVE = "resolve"


class Selector(Struct, frozen=True):
    """Containers that fit everything that is said here, or `@host` or `@world`. Texts are patterns: `*`, `?`, `[…]`."""

    name: str = ""
    project: str = ""
    """Of Docker Compose."""
    service: str = ""
    label: str = ""
    """`key=value`, or `key` for any value."""
    network: str = ""
    """They are on it; `host` and `none`: that is their network mode."""
    min: int = 1
    """It has to fit at least so many."""

    @property
    def words(self) -> str:
        """As a policy has it."""
        if self.name and not (self.project or self.label or self.network):
            return self.name
        parts = (("name", self.name), ("compose", self.compose), ("label", self.label), ("network", self.network))
        return " ".join(f"{key} {text}" for key, text in parts if text)

    @property
    def compose(self) -> str:
        """`project/service`, or `project` for all its services; empty: does not matter."""
        return f"{self.project}/{self.service}" if self.service else self.project


class Expected(Struct, frozen=True, kw_only=True):
    """What each expectation has."""

    id: str
    """Its own, or its place in the file, counted from 1: `reach[2]`."""
    description: str = ""
    optional: bool = False
    """It says nothing where a selector fits no container."""
    line: int = 0


class Reach(Expected, frozen=True, kw_only=True):
    """Each source reaches each destination."""

    sources: tuple[Selector, ...]
    destinations: tuple[Selector, ...]
    traffic: Traffic | None = None
    """All of it gets there, at one or another of the destination's addresses; None: something does."""


class Deny(Expected, frozen=True, kw_only=True):
    """No source gets any of it to a destination."""

    sources: tuple[Selector, ...]
    destinations: tuple[Selector, ...]
    traffic: Traffic = ALL_TRAFFIC


class Only(Expected, frozen=True, kw_only=True):
    """No container but the sources, and not the world, gets any of it to a destination."""

    sources: tuple[Selector, ...]
    """None: nobody."""
    destinations: tuple[Selector, ...]
    traffic: Traffic = ALL_TRAFFIC


class Resolve(Expected, frozen=True, kw_only=True):
    """Each source resolves a name."""

    sources: tuple[Selector, ...]
    name: str = ""
    """Empty: each of the targets by its own name."""
    targets: tuple[Selector, ...] = ()
    """Every address that the name gives is one of theirs; none: it resolves to anything."""


Expectation = Reach | Deny | Only | Resolve


class Policy(Struct, frozen=True):
    """A file of expectations."""

    file: str
    reach: tuple[Reach, ...] = ()
    deny: tuple[Deny, ...] = ()
    only: tuple[Only, ...] = ()
    resolve: tuple[Resolve, ...] = ()

    def __iter__(self) -> Iterator[Expectation]:
        return chain(self.reach, self.deny, self.only, self.resolve)

    def __len__(self) -> int:
        return len(self.reach) + len(self.deny) + len(self.only) + len(self.resolve)

    @property
    def labels(self) -> frozenset[str]:
        """The keys of the labels that selectors ask for: a capture keeps no others."""
        return frozenset(
            selector.label.partition("=")[0] for expected in self for selector in selectors(expected) if selector.label
        )


def selectors(expected: Expectation) -> tuple[Selector, ...]:
    """All that an expectation has."""
    others = expected.targets if isinstance(expected, Resolve) else expected.destinations
    return (*expected.sources, *others)
