"""Lists of containers, short enough to read: on a large host most containers are named by those that are left out."""

from __future__ import annotations

from msgspec import Struct

from diag.model.message import say
from diag.model.snapshot import Snapshot
from diag.report.language import Language
from diag.report.shown import shown
from diag.report.words import LARGE

FIRST = 12
"""Names of a large host's list that are shown before the fold."""
BUT = say("all containers but ")


class MembersView(Struct, frozen=True):
    """Some of the containers."""

    lead: str
    """Before the names; where it ends in :data:`BUT`, they are those left out."""
    first: str
    rest: str
    """The names behind the fold; empty for none."""
    more: int
    """How many those are."""
    short: str
    """What is before the fold, and how many are behind it."""

    @property
    def full(self) -> str:
        """All of it."""
        return self.lead + (f"{self.first}, {self.rest}" if self.rest else self.first)


class MembersViews:
    """Makes them for one host."""

    def __init__(self, snapshot: Snapshot, language: Language) -> None:
        self._language = language
        self._all = tuple(c.name for c in snapshot.containers)
        self._names = frozenset(self._all)
        self.large = len(self._all) > LARGE
        self._made: dict[tuple[str, ...], MembersView] = {}

    def of(self, names: tuple[str, ...]) -> MembersView:
        if names not in self._made:
            self._made[names] = self._make(names)
        return self._made[names]

    def _make(self, names: tuple[str, ...]) -> MembersView:
        if not self.large:
            every = ", ".join(shown(name) for name in names)
            return MembersView("", every, "", 0, every)
        lead = ""
        chosen = self._names.intersection(names)
        if len(chosen) > FIRST and 2 * len(chosen) > len(self._all):
            beside = "".join(f"{shown(name)}, " for name in names if name not in chosen)
            names = tuple(name for name in self._all if name not in chosen)
            if not names:
                whole = beside + self._language.say("all containers")
                return MembersView(whole, "", "", 0, whole)
            lead = beside + self._language.of(BUT)
        texts = [shown(name) for name in names]
        keep = FIRST if len(texts) > FIRST + 1 else len(texts)
        first, more = ", ".join(texts[:keep]), len(texts) - keep
        short = self._language.say("{names} and {n} more", names=first, n=more) if more else first
        return MembersView(lead, first, ", ".join(texts[keep:]), more, lead + short)
