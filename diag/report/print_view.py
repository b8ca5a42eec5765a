"""What the printed report and the text show: the view of a report, cut to a bounded number of pages.

A PDF of everything there is to say about a thousand containers would have a thousand pages, and nobody would read them.
Each list has its limit, and where one is met, a sentence says how many are left out and where they are.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from typing import Generic, TypeVar

from msgspec import Struct

from diag.model.reasons import Reachability
from diag.report.endpoint_rows import EndpointRow, endpoint_rows
from diag.report.evidence_view import CONTEXT, NOWHERE, Cited, EvidenceFile, EvidenceLine
from diag.report.findings_view import FindingView
from diag.report.host_view import ContainerView, GapView, InterfaceView, NetworkView
from diag.report.language import Language
from diag.report.members_view import MembersView
from diag.report.names_view import CallerView, NameRow, ScopeView
from diag.report.pairs_view import FixView, GroupView, PathView
from diag.report.shown import shown
from diag.report.some_of import some_of
from diag.report.summary_view import ProblemView
from diag.report.view import ReportView

S = TypeVar("S")
T = TypeVar("T")


class Limits(Struct, frozen=True):
    """How much is printed."""

    troubles: int
    """Reasons on the cover."""
    groups: int
    endpoints: int
    scopes: int
    rows: int
    """Of each other table."""
    lines: int
    """Of evidence."""
    members: int
    """Of a network."""
    names: int
    """That a container resolves."""
    own: int = 3
    """Names of a caller's own."""
    explanations: int = 2
    sides: int = 6
    """Groups of containers in a row of the host and the world."""


LIMITS = Limits(troubles=5, groups=60, endpoints=60, scopes=60, rows=80, lines=240, members=60, names=250)
LARGE_LIMITS = Limits(troubles=5, groups=40, endpoints=24, scopes=16, rows=50, lines=120, members=8, names=12, sides=3)
"""Of a host that :data:`diag.report.words.LARGE` calls large."""
TEXT_LIMITS = Limits(
    troubles=9,
    groups=400,
    endpoints=400,
    scopes=400,
    rows=400,
    lines=0,
    members=400,
    names=400,
    own=400,
    explanations=9,
    sides=400,
)
"""Of a text that says everything about a host that is not large."""
HEADING = 44
"""Characters of either side in a group's heading."""


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
    heading: str
    """Who reaches whom, cut to a line or two."""
    whole: str
    """All of them; empty where the heading says it."""
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
    facts: tuple[tuple[str, str], ...]
    """What the host is, and when it was captured."""
    troubles: Part[ProblemView]
    findings: tuple[FindingView, ...]
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


def print_view(view: ReportView, language: Language, captured_at: str, small: Limits = LIMITS) -> PrintView:
    """What is printed of a report; `small` is for a host that is not large."""
    unknown = (language.say("Captured"), language.say("at a time that is not recorded"))
    cut = _Cut(language, LARGE_LIMITS if view.large else small)
    groups = cut.groups(view.groups)
    return PrintView(
        view,
        view.facts if captured_at else (*view.facts, unknown),
        cut.troubles(view.summary.every),
        view.findings,
        cut.shortened(view.groups),
        cut.rows(view.networks, cut.network, cut.limits.rows),
        groups,
        cut.rows(endpoint_rows(view.endpoints), cut.endpoint, cut.limits.endpoints),
        cut.rows(view.scopes, cut.scope, cut.limits.scopes),
        cut.rows(view.containers, _as_it_is, cut.limits.rows),
        cut.rows(view.interfaces, _as_it_is, cut.limits.rows),
        cut.rows(view.gaps, _as_it_is, cut.limits.rows),
        cut.evidence(view.evidence, groups.items, view.findings),
    )


def _as_it_is(row: T) -> T:
    return row


def _part(items: Sequence[S], limit: int, make: Callable[[S], T], left_out: Callable[[int], str]) -> Part[T]:
    more = len(items) - limit
    return Part(tuple(make(item) for item in items[:limit]), left_out(more) if more > 0 else "")


class _Cut:
    """Cuts lists, and says in one language what is left out."""

    def __init__(self, language: Language, limits: Limits) -> None:
        self.language = language
        self.limits = limits

    def rows(self, items: Sequence[S], make: Callable[[S], T], limit: int) -> Part[T]:
        return _part(items, limit, make, self._rows_left)

    def _rows_left(self, more: int) -> str:
        return self.language.plural(
            "{n} more row is in the HTML and JSON reports.", "{n} more rows are in the HTML and JSON reports.", more
        )

    def troubles(self, troubles: Sequence[ProblemView]) -> Part[ProblemView]:
        def left(more: int) -> str:
            return self.language.plural(
                "{n} more reason is with the pairs.", "{n} more reasons are with the pairs.", more
            )

        return _part(troubles, self.limits.troubles, _as_it_is, left)

    def shortened(self, groups: Iterable[GroupView]) -> str:
        if not any(members.more for group in groups for members in (group.sources, group.destinations)):
            return ""
        return self.language.say(
            "Long lists of containers are shortened here; the HTML and JSON reports have them whole."
        )

    def network(self, network: NetworkView) -> PrintNetwork:
        members = (f"{m.name} {m.address}{f' ({m.note})' if m.note else ''}" for m in network.members)
        return PrintNetwork(network, some_of(members, self.limits.members, self.language))

    def groups(self, groups: Sequence[GroupView]) -> Part[PrintGroup]:
        def left(more: int) -> str:
            pairs = sum(group.pairs for group in groups[self.limits.groups :])
            return self.language.plural(
                "{n} more group of pairs ({pairs} ordered pairs in all) is in the HTML and JSON reports.",
                "{n} more groups of pairs ({pairs} ordered pairs in all) are in the HTML and JSON reports.",
                more,
                pairs=pairs,
            )

        return _part(groups, self.limits.groups, self._group, left)

    def _group(self, group: GroupView) -> PrintGroup:
        sides = (group.sources.short, group.destinations.short)
        heading = f"{shown(sides[0], HEADING)} → {shown(sides[1], HEADING)}"
        whole = (
            ""
            if max(map(len, sides)) <= HEADING
            else self.language.say("From {sources} to {destinations}.", sources=sides[0], destinations=sides[1])
        )
        pairs = self.language.plural("{n} ordered pair", "{n} ordered pairs", group.pairs)
        reasons = ", ".join(dict.fromkeys(path.reason for path in group.paths))
        works = group.key == Reachability.REACHABLE.value
        paths = tuple(dict.fromkeys(_path(path) for path in group.paths))
        return PrintGroup(group, heading, whole, f"{pairs} · {group.word} · {reasons}", works, paths)

    def endpoint(self, row: EndpointRow) -> PrintEndpoint:
        why = " ".join(row.explanations[: self.limits.explanations])
        more = len(row.explanations) - self.limits.explanations
        if more > 0:
            why += " " + self.language.plural("{n} more address.", "{n} more addresses.", more)
        sources, destinations = self._sides(row.sources), self._sides(row.destinations)
        return PrintEndpoint(row.key, row.mark, row.allowed, sources, destinations, why)

    def _sides(self, sides: Sequence[MembersView]) -> str:
        texts = [side.short for side in sides[: self.limits.sides]]
        more = len(sides) - self.limits.sides
        if more > 0:
            texts.append(self.language.plural("{n} more group of containers", "{n} more groups of containers", more))
        return "; ".join(texts)

    def scope(self, scope: ScopeView) -> PrintScope:
        names = (f"{name.name} = {name.addresses} ({name.via})" for name in scope.names)
        return PrintScope(
            some_of((self._caller(caller) for caller in scope.callers), self.limits.members, self.language),
            scope.resolver,
            scope.note,
            some_of(names, self.limits.names, self.language),
            scope.missing,
        )

    def _caller(self, caller: CallerView) -> str:
        own = some_of((name.name for name in caller.own), self.limits.own, self.language)
        return self.language.say("{name} (also {own})", name=caller.container, own=own) if own else caller.container

    def evidence(
        self, files: Iterable[EvidenceFile], groups: Iterable[PrintGroup], findings: Iterable[FindingView]
    ) -> Part[EvidenceFile]:
        def left(more: int) -> str:
            return self.language.plural(
                "{n} more line of evidence is in the HTML report.",
                "{n} more lines of evidence are in the HTML report.",
                more,
            )

        cited = {path.cited.anchor for group in groups for path in group.paths if path.cited is not None}
        cited |= {line.anchor for finding in findings for hit in finding.first for line in hit.cited}
        lines = [(file.path, line) for file in files for line in _near(file.lines, cited)]
        kept = _part(lines, self.limits.lines, _as_it_is, left)
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
        if 0 <= last < position - 1 and line.number:
            yield EvidenceLine(0, "…", "", False, NOWHERE)
        shows = bool(line.anchor) and line.anchor in cited
        yield EvidenceLine(line.number, line.text, line.anchor, shows, line.places)
        last = position
