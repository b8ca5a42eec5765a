"""Names that a container resolves to another container than before, or to none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from diag.diff.matching import Matching
from diag.diff.renaming import Renaming
from diag.model.address import Ip
from diag.model.analysis import Analysis, NameAnswer
from diag.model.difference import NameChange
from diag.model.snapshot import Snapshot

Answers = tuple[str, ...]


def changed_names(old: Analysis, new: Analysis, matching: Matching, renaming: Renaming) -> tuple[NameChange, ...]:
    """Of containers that are in both captures; names of those that came and went are no change of the others'."""
    before, after = _Scopes(old.snapshot, {}), _Scopes(new.snapshot, renaming.names)
    old_scopes, new_scopes = {s.container: s for s in old.names}, {s.container: s for s in new.names}
    called = {o.name: n.name for o, n in matching.containers}
    stay = set(called) | {"@host"}
    found: list[NameChange] = []
    for mine, theirs in sorted(matching.containers, key=lambda pair: pair[1].name):
        first, second = old_scopes.get(mine.name), new_scopes.get(theirs.name)
        if first is None or second is None:
            continue
        names = before.answers(first.names), after.answers(second.names, renaming)
        found += _between(theirs.name, *names, stay, called)
    return tuple(found)


def _between(
    container: str, old: Mapping[str, Answers], new: Mapping[str, Answers], stay: set[str], called: Mapping[str, str]
) -> Iterator[NameChange]:
    for name in sorted({*old, *new}):
        before, after = old.get(name, ()), new.get(name, ())
        if before == after:
            continue
        if not (before and after) and not any(_stays(target, stay) for target in (*before, *after)):
            continue
        now = tuple(called.get(target, target) for target in after)
        yield NameChange(container, called.get(name, name), tuple(called.get(t, t) for t in before), now)


def _stays(target: str, stay: set[str]) -> bool:
    return target in stay or target[:1].isdigit() or ":" in target


class _Scopes:
    """Answers of one capture as the containers that they lead to, in old names."""

    def __init__(self, snapshot: Snapshot, names: Mapping[str, str]) -> None:
        self._names = names
        self._owner = {
            str(ip): names.get(c.name, c.name)
            for c in snapshot.containers
            if c.running
            for e in c.endpoints
            for ip in (e.ip, e.ip6)
            if ip is not None
        }
        self._short = {c.short_id for c in snapshot.containers}
        self._known: dict[int, tuple[NameAnswer, str, Answers]] = {}

    def answers(self, scope: tuple[NameAnswer, ...], renaming: Renaming | None = None) -> dict[str, Answers]:
        """By name; ids are no names that anybody relies on."""
        found = {}
        for answer in scope:
            known = self._known.get(id(answer))
            if known is None:
                name = renaming.text(answer.name) if renaming is not None else answer.name
                known = self._known[id(answer)] = answer, name, self._targets(answer, renaming)
            if answer.name.partition(".")[0] not in self._short:
                found[known[1]] = known[2]
        return found

    def _targets(self, answer: NameAnswer, renaming: Renaming | None) -> Answers:
        found = set()
        for address in answer.addresses:
            owner = self._owner.get(address)
            if owner is None and answer.target and len(answer.addresses) == 1:
                owner = self._names.get(answer.target, answer.target)
            if owner is None and renaming is not None:
                owner = str(renaming.ip(Ip.parse(address)))
            found.add(owner or address)
        return tuple(sorted(found))
