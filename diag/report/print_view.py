"""What the printed report shows: the view of a report, cut to a bounded number of pages.

A PDF of everything there is to say about a thousand containers would have a thousand pages, and nobody would read them.
Each list has its limit, and where one is met, a sentence says how many are left out and where they are.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from typing import Generic, TypeVar

from msgspec import Struct

from diag.model.reasons import Reachability
from diag.report.cover_view import CoverView, TroubleView, cover_view
from diag.report.endpoint_rows import EndpointRow, endpoint_rows
from diag.report.evidence_view import CONTEXT, Cited, EvidenceFile, EvidenceLine
from diag.report.host_view import ContainerView, GapView, InterfaceView, NetworkView
from diag.report.language import Language
from diag.report.members_view import MembersView
from diag.report.names_view import CallerView, NameRow, ScopeView
from diag.report.pairs_view import FixView, GroupView, PathView
from diag.report.shown import shown
from diag.report.view import ReportView

S = TypeVar("S")
T = TypeVar("T")

TROUBLES, GROUPS, ENDPOINTS, SCOPES, ROWS, LINES = 6, 60, 60, 40, 80, 240
"""Reasons on the cover; groups of pairs; rows of the host and the world, of names, and of any other table; lines of
evidence."""
MEMBERS, NAMES, OWN, EXPLANATIONS, SIDES = 16, 24, 3, 2, 6
"""In a row: members, names, names of a caller's own, explanations, groups of containers."""


class Part(Struct, Generic[T], frozen=True):
    """The beginning of a list."""

    items: tuple[T, ...]
    left_out: str
    """How many more there are, and where; empty for none."""


class PrintNetwork(Struct, frozen=True):
    """A network and who is on it."""

    network: NetworkView
    members: str


class PrintPath(Struct, frozen=True):
    """Why a group is as it is, at one address."""

    explanation: str
    cited: Cited | None
    fixes: tuple[FixView, ...]


class PrintGroup(Struct, frozen=True):
    """A group of pairs."""

    group: GroupView
    label: str
    """For the outline."""
    result: str
    """How many pairs, and what they are."""
    works: bool
    """There is nothing to mend, and little to say."""
    paths: tuple[PrintPath, ...]


class PrintEndpoint(Struct, frozen=True):
    """A row of the host and the world."""

    key: str
    mark: str
    allowed: str
    sources: str
    destinations: str
    why: str


class PrintScope(Struct, frozen=True):
    """Who can call whom."""

    callers: str
    resolver: str
    note: str
    names: str
    missing: tuple[NameRow, ...]


class PrintView(Struct, frozen=True):
    """A whole printed report."""

    report: ReportView
    cover: CoverView
    facts: tuple[tuple[str, str], ...]
    """What the host is, and when it was captured."""
    troubles: Part[TroubleView]
    shortened: str
    """That lists of containers are shortened; empty where none is."""
    networks: Part[PrintNetwork]
    groups: Part[PrintGroup]
    endpoints: Part[PrintEndpoint]
    scopes: Part[PrintScope]
    containers: Part[ContainerView]
    interfaces: Part[InterfaceView]
    gaps: Part[GapView]
    evidence: Part[EvidenceFile]
    """What the printed groups cite, and the lines around it."""


def print_view(view: ReportView, language: Language, captured_at: str) -> PrintView:
    """What is printed of a report."""
    unknown = (language.say("Captured"), language.say("at a time that is not recorded"))
    cut = _Cut(language)
    cover = cover_view(view, language)
    groups = cut.groups(view.groups)
    return PrintView(
        view,
        cover,
        view.facts if captured_at else (*view.facts, unknown),
        cut.troubles(cover.troubles),
        cut.shortened(view.groups),
        cut.rows(view.networks, cut.network),
        groups,
        cut.rows(endpoint_rows(view.endpoints), cut.endpoint, ENDPOINTS),
        cut.rows(view.scopes, cut.scope, SCOPES),
        cut.rows(view.containers, _as_it_is),
        cut.rows(view.interfaces, _as_it_is),
        cut.rows(view.gaps, _as_it_is),
        cut.evidence(view.evidence, groups.items),
    )


def _as_it_is(row: T) -> T:
    return row


def _part(items: Sequence[S], limit: int, make: Callable[[S], T], left_out: Callable[[int], str]) -> Part[T]:
    more = len(items) - limit
    return Part(tuple(make(item) for item in items[:limit]), left_out(more) if more > 0 else "")


class _Cut:
    """Cuts lists, and says in one language what is left out."""

    def __init__(self, language: Language) -> None:
        self.language = language

    def rows(self, items: Sequence[S], make: Callable[[S], T], limit: int = ROWS) -> Part[T]:
        return _part(items, limit, make, self._rows_left)

    def _rows_left(self, more: int) -> str:
        return self.language.plural(
            "{n} more row is in the HTML and JSON reports.", "{n} more rows are in the HTML and JSON reports.", more
        )

    def troubles(self, troubles: Sequence[TroubleView]) -> Part[TroubleView]:
        def left(more: int) -> str:
            return self.language.plural(
                "{n} more reason is with the pairs.", "{n} more reasons are with the pairs.", more
            )

        return _part(troubles, TROUBLES, _as_it_is, left)

    def shortened(self, groups: Iterable[GroupView]) -> str:
        if not any(members.more for group in groups for members in (group.sources, group.destinations)):
            return ""
        return self.language.say(
            "Long lists of containers are shortened here; the HTML and JSON reports have them whole."
        )

    def network(self, network: NetworkView) -> PrintNetwork:
        members = (f"{m.name} {m.address}{f' ({m.note})' if m.note else ''}" for m in network.members)
        return PrintNetwork(network, self._listed(members, MEMBERS))

    def _listed(self, texts: Iterable[str], limit: int) -> str:
        found = tuple(texts)
        names, more = ", ".join(found[:limit]), len(found) - limit
        return self.language.say("{names} and {n} more", names=names, n=more) if more > 0 else names

    def groups(self, groups: Sequence[GroupView]) -> Part[PrintGroup]:
        def left(more: int) -> str:
            pairs = sum(group.pairs for group in groups[GROUPS:])
            return self.language.plural(
                "{n} more group of pairs ({pairs} ordered pairs in all) is in the HTML and JSON reports.",
                "{n} more groups of pairs ({pairs} ordered pairs in all) are in the HTML and JSON reports.",
                more,
                pairs=pairs,
            )

        return _part(groups, GROUPS, self._group, left)

    def _group(self, group: GroupView) -> PrintGroup:
        label = f"{group.mark} {shown(group.sources.short, 40)} → {shown(group.destinations.short, 40)}"
        pairs = self.language.plural("{n} ordered pair", "{n} ordered pairs", group.pairs)
        reasons = ", ".join(dict.fromkeys(path.reason for path in group.paths))
        works = group.key == Reachability.REACHABLE.value
        paths = tuple(dict.fromkeys(_path(path) for path in group.paths))
        return PrintGroup(group, label, f"{pairs} · {group.word} · {reasons}", works, paths)

    def endpoint(self, row: EndpointRow) -> PrintEndpoint:
        why = " ".join(row.explanations[:EXPLANATIONS])
        more = len(row.explanations) - EXPLANATIONS
        if more > 0:
            why += " " + self.language.plural("{n} more address.", "{n} more addresses.", more)
        sources, destinations = self._sides(row.sources), self._sides(row.destinations)
        return PrintEndpoint(row.key, row.mark, row.allowed, sources, destinations, why)

    def _sides(self, sides: Sequence[MembersView]) -> str:
        texts = [side.short for side in sides[:SIDES]]
        more = len(sides) - SIDES
        if more > 0:
            texts.append(self.language.plural("{n} more group of containers", "{n} more groups of containers", more))
        return "; ".join(texts)

    def scope(self, scope: ScopeView) -> PrintScope:
        names = (f"{name.name} = {name.addresses} ({name.via})" for name in scope.names)
        return PrintScope(
            self._listed((self._caller(caller) for caller in scope.callers), MEMBERS),
            scope.resolver,
            scope.note,
            self._listed(names, NAMES),
            scope.missing,
        )

    def _caller(self, caller: CallerView) -> str:
        own = self._listed((name.name for name in caller.own), OWN)
        return self.language.say("{name} (also {own})", name=caller.container, own=own) if own else caller.container

    def evidence(self, files: Iterable[EvidenceFile], groups: Iterable[PrintGroup]) -> Part[EvidenceFile]:
        def left(more: int) -> str:
            return self.language.plural(
                "{n} more line of evidence is in the HTML report.",
                "{n} more lines of evidence are in the HTML report.",
                more,
            )

        cited = {path.cited.anchor for group in groups for path in group.paths if path.cited is not None}
        lines = [(file.path, line) for file in files for line in _near(file.lines, cited)]
        kept = _part(lines, LINES, _as_it_is, left)
        by_file: dict[str, list[EvidenceLine]] = {}
        for path, line in kept.items:
            by_file.setdefault(path, []).append(line)
        return Part(tuple(EvidenceFile(path, tuple(some)) for path, some in by_file.items()), kept.left_out)


def _path(path: PathView) -> PrintPath:
    """The ports that are stopped are in the explanation, too."""
    return PrintPath(path.explanation, path.cited, path.fixes)


def _near(lines: Sequence[EvidenceLine], cited: Container[str]) -> Iterator[EvidenceLine]:
    """Lines that are cited and those around them; what only hops cite is not printed."""
    near = {
        n
        for position, line in enumerate(lines)
        if line.anchor and line.anchor in cited
        for n in range(position - CONTEXT, position + CONTEXT + 1)
    }
    last = -1
    for position in sorted(near.intersection(range(len(lines)))):
        line = lines[position]
        if position != last + 1 and line.number:
            yield EvidenceLine(0, "…", "", False)
        yield EvidenceLine(line.number, line.text, line.anchor, bool(line.anchor) and line.anchor in cited)
        last = position
