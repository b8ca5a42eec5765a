"""The names of some networks as every container on just these resolves them, found once for all of them.

What one of them alone has otherwise is put in its place: a name of its own, a line of its hosts file.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from diag.model.analysis import NameAnswer


class SharedNames(Struct, frozen=True):
    """Everything that the containers of some networks are called there."""

    found: Mapping[str, NameAnswer]
    """The names that give an address, sorted."""
    in_order: tuple[str, ...]
    """The same names."""
    answers: tuple[NameAnswer, ...]
    """Theirs."""
    in_vain: frozenset[str]
    """The names that give none."""
    alike: Mapping[str, tuple[str, ...]]
    """All names by what a hosts file that has them says: in lower case, without the dot at the end."""
    targets: Mapping[str, int]
    """Containers by how many names lead to them."""
    spells: Callable[[str], Sequence[str]]
    """The containers that have a name but for upper and lower case."""
    spelt: Mapping[str, int]
    """Those containers by how many names are theirs."""

    @classmethod
    def of(cls, answers: Mapping[str, NameAnswer | None], spells: Callable[[str], Sequence[str]]) -> SharedNames:
        """From what each name gives, sorted by name."""
        found = {name: answer for name, answer in answers.items() if answer is not None and answer.addresses}
        alike: dict[str, tuple[str, ...]] = {}
        for name in answers:
            key = as_in_hosts(name)
            alike[key] = (*alike.get(key, ()), name)
        return cls(
            found,
            tuple(found),
            tuple(found.values()),
            frozenset(answers.keys() - found.keys()),
            alike,
            Counter(answer.target for answer in found.values()),
            spells,
            Counter(container for name in answers for container in spells(name)),
        )

    def like(self, written: Iterable[str]) -> Iterator[str]:
        """The names that a hosts file has, too."""
        for key in written:
            yield from self.alike.get(key, ())

    def with_own(self, own: Mapping[str, NameAnswer | None]) -> tuple[NameAnswer, ...]:
        """All answers, sorted by name, where those of `own` are instead of the shared ones; None is for no answer."""
        merged: list[NameAnswer] = []
        start = 0
        for name in sorted(own):
            position = bisect_left(self.in_order, name, start)
            merged += self.answers[start:position]
            start = position + (name in self.found)
            answer = own[name]
            if answer is not None:
                merged.append(answer)
        merged += self.answers[start:]
        return tuple(merged)

    def targets_without(self, names: Iterable[str]) -> set[str]:
        """Containers that other names than these lead to."""
        return _left(self.targets, (self.found[name].target for name in names if name in self.found))

    def spelt_without(self, names: Iterable[str]) -> set[str]:
        """Containers that other names than these are those of but for upper and lower case."""
        mine = (name for name in names if name in self.found or name in self.in_vain)
        return _left(self.spelt, (container for name in mine for container in self.spells(name)))


def _left(counts: Mapping[str, int], gone: Iterable[str]) -> set[str]:
    """What is still there when each of `gone` is taken away once."""
    fewer: dict[str, int] = {}
    for key in gone:
        fewer[key] = fewer.get(key, 0) + 1
    return counts.keys() - {key for key, count in fewer.items() if count >= counts[key]}


def as_in_hosts(name: str) -> str:
    """A name as the lines of a hosts file are searched for it."""
    return name.lower().rstrip(".")
