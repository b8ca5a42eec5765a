"""The matrix: a cell per pair on a small host, and on a large one a cell per pair of kinds of containers.

Folding goes from fine to coarse until it fits: containers; classes of containers that no group tells apart; roles, which
are classes that look alike when names are left out (each of ninety networks that keep to themselves); networks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby

from msgspec import Struct

from diag.model.analysis import Group
from diag.model.message import listed, say
from diag.model.reasons import Reachability
from diag.report.classes import Class, Classes, ranges
from diag.report.language import Language
from diag.report.members_view import MembersView, MembersViews
from diag.report.pair_link import pair_id
from diag.report.shown import shown
from diag.report.words import LARGE, MARKS, WORDS

ROUNDS = 4
"""How far classes are told apart by what they reach: what they reach, what that reaches, and so on."""
_APART = say("no network of its own")


class CellView(Struct, frozen=True):
    """One cell."""

    key: str
    """Reachability, `mixed`, or `self` where there is no pair."""
    mark: str
    title: str
    href: str
    """Fragment of the pair, or of the first of the cell's groups; empty where there is no pair."""
    groups: str
    """Numbers of its groups, e.g. `1-4,7`; empty with a cell per pair."""


class RowView(Struct, frozen=True):
    """One source, or sources of one kind."""

    source: str
    members: MembersView
    cells: tuple[CellView, ...]


class BlockView(Struct, frozen=True):
    """Neighbouring rows on the same networks."""

    networks: str
    rows: tuple[RowView, ...]


class ColumnView(Struct, frozen=True):
    """One destination, or destinations of one kind."""

    name: str
    starts: bool
    """Whether it is the first of a block."""


class MatrixView(Struct, frozen=True):
    """Rows call columns; both are in the same order."""

    folded: bool
    """Whether rows and columns may stand for several containers."""
    columns: tuple[ColumnView, ...]
    blocks: tuple[BlockView, ...]


class _Kind(Struct, frozen=True):
    """What a row and a column stand for."""

    names: tuple[str, ...]
    networks: tuple[str, ...]
    """Those of each, where all are on the same; otherwise all that any is on."""
    same: bool
    classes: tuple[int, ...]


def matrix_view(groups: Sequence[Group], classes: Classes, members: MembersViews, language: Language) -> MatrixView:
    """Of groups in the order of the report, which gives their numbers."""
    folded = len(classes.placed) > LARGE
    kinds = _folded(groups, classes) if folded else [_Kind((p.name,), p.networks, True, ()) for p in classes.placed]
    cells = _FoldedCells(groups, classes, kinds, language) if folded else _PairCells(groups, classes, language)
    titles = [_networks(kind, language) for kind in kinds]
    columns = tuple(
        ColumnView(_label(kind), number == 0 or titles[number - 1] != titles[number])
        for number, kind in enumerate(kinds)
    )
    blocks = tuple(
        BlockView(
            title,
            tuple(
                RowView(_label(kind), members.of(kind.names), tuple(cells.cell(kind, other) for other in kinds))
                for _, kind in run
            ),
        )
        for title, run in groupby(zip(titles, kinds, strict=True), key=lambda one: one[0])
    )
    return MatrixView(folded, columns, blocks)


def _label(kind: _Kind) -> str:
    more = len(kind.names) - 1
    return f"{shown(kind.names[0])} +{more}" if more else shown(kind.names[0])


def _networks(kind: _Kind, language: Language) -> str:
    if not kind.networks:
        return language.of(_APART)
    if kind.same:
        return shown(" + ".join(kind.networks))
    return language.plural("{n} network", "{n} networks", len(kind.networks))


class _PairCells:
    """A cell per pair."""

    def __init__(self, groups: Sequence[Group], classes: Classes, language: Language) -> None:
        self._groups, self._classes, self._language = groups, classes, language

    def cell(self, row: _Kind, column: _Kind) -> CellView:
        source, destination = row.names[0], column.names[0]
        number = self._classes.groups.get((self._classes.of[source], self._classes.of[destination]))
        if number is None or source == destination:
            return CellView("self", "", "", "", "")
        result = self._groups[number].reachability
        pair = f"{shown(source)} → {shown(destination)}"
        title = self._language.say("{pair}: {result}", pair=pair, result=WORDS[result])
        return CellView(result.value, MARKS[result], title, pair_id(source, destination), "")


class _FoldedCells:
    """A cell for all pairs of two kinds."""

    def __init__(self, groups: Sequence[Group], classes: Classes, kinds: Sequence[_Kind], language: Language) -> None:
        self._groups, self._language = groups, language
        self._kinds = {number: position for position, kind in enumerate(kinds) for number in kind.classes}
        """Positions, by class."""
        self._pairs: dict[tuple[int, int], dict[int, int]] = {}
        """Of each cell how many pairs are in which group."""
        sizes = [len(one.members) for one in classes.all]
        for (source, destination), number in classes.groups.items():
            count = sizes[source] * (sizes[destination] - (source == destination))
            if count:
                pairs = self._pairs.setdefault((self._kinds[source], self._kinds[destination]), {})
                pairs[number] = pairs.get(number, 0) + count

    def cell(self, row: _Kind, column: _Kind) -> CellView:
        found = self._pairs.get((self._kinds[row.classes[0]], self._kinds[column.classes[0]]))
        if not found:
            return CellView("self", "", "", "", "")
        results: Counter[Reachability] = Counter()
        for number, count in found.items():
            results[self._groups[number].reachability] += count
        present = [r for r in Reachability if results[r]]
        told = listed(say("{n} {result}", n=results[r], result=WORDS[r]) for r in present)
        pair = f"{_label(row)} → {_label(column)}"
        return CellView(
            present[0].value if len(present) == 1 else "mixed",
            "".join(MARKS[r] for r in present),
            self._language.say("{pair}: {result}", pair=pair, result=told),
            f"group-{min(found) + 1}",
            ranges(number + 1 for number in found),
        )


def _folded(groups: Sequence[Group], classes: Classes) -> list[_Kind]:
    """Classes, if few enough, or else roles; where all have one role, networks, if they are few enough."""
    if len(classes.all) <= LARGE:
        keys: Sequence[object] = range(len(classes.all))
    else:
        keys = _roles(groups, classes)
        networks = [found.members[0].networks[:1] for found in classes.all]
        if len(set(keys)) == 1 and len(set(networks)) <= LARGE:
            keys = networks
    alike: dict[object, list[int]] = {}
    for number, key in enumerate(keys):
        alike.setdefault(key, []).append(number)
    return [_kind([classes.all[n] for n in numbers], tuple(numbers)) for numbers in alike.values()]


def _kind(found: Sequence[Class], numbers: tuple[int, ...]) -> _Kind:
    placed = [one for some in found for one in some.members]
    every = dict.fromkeys(one.networks for one in placed)
    return _Kind(
        tuple(one.name for one in placed),
        tuple(dict.fromkeys(network for networks in every for network in networks)),
        len(every) == 1,
        numbers,
    )


def _roles(groups: Sequence[Group], classes: Classes) -> Sequence[int]:
    """A role for each class: told apart, round by round, by what their members reach and are reached by."""
    results: list[dict[int, tuple[str, str]]] = [{} for _ in classes.all]
    within = [""] * len(classes.all)
    keys = [group.reachability.value for group in groups]
    for (source, destination), number in classes.groups.items():
        if source == destination:
            within[source] = keys[number]
            continue
        back = classes.groups.get((destination, source))
        results[source][destination] = keys[number], keys[back] if back is not None else ""
    roles = [0] * len(classes.all)
    for _ in range(ROUNDS):
        finer = _refined(roles, within, results)
        if len(set(finer)) > LARGE or len(set(finer)) == len(set(roles)):
            break
        roles = finer
    return roles


def _refined(
    roles: Sequence[int], within: Sequence[str], results: Sequence[Mapping[int, tuple[str, str]]]
) -> list[int]:
    """`within` is what members of a class are to each other, `results` what others are to them, there and back."""
    seen = (frozenset(zip(map(roles.__getitem__, others), others.values(), strict=True)) for others in results)
    numbers: dict[object, int] = {}
    return [numbers.setdefault(key, len(numbers)) for key in zip(roles, within, seen, strict=True)]
