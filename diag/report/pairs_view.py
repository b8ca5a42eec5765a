"""Pairs of containers, the matrix, and the pairs with the host and the world, as a report shows them."""

from __future__ import annotations

from msgspec import Struct

from diag.model.analysis import Fix, Group, Path
from diag.model.flow import Hop, HopKind
from diag.model.message import SEMICOLON, Message, listed, say, sentences
from diag.report.evidence_view import Appendix, Cited
from diag.report.language import Language
from diag.report.members_view import MembersView, MembersViews
from diag.report.pair_link import PairLink, pair_links
from diag.report.shown import shown
from diag.report.words import MARKS, WORDS


class HopView(Struct, frozen=True):
    """One step of a trace."""

    text: str
    stops: bool
    """Whether the packet ends here."""
    cited: Cited | None


class FixView(Struct, frozen=True):
    """A command and what it does."""

    command: str
    effect: str
    note: str


class PathView(Struct, frozen=True):
    """One destination address, or class of them."""

    title: str
    key: str
    mark: str
    allowed: str
    reason: str
    explanation: str
    lead: str
    """The explanation, as it reads above the clauses of `partial`."""
    cited: Cited | None
    partial: tuple[str, ...]
    hops: tuple[HopView, ...]
    hops_back: tuple[HopView, ...]
    fixes: tuple[FixView, ...]


class GroupView(Struct, frozen=True):
    """Pairs that behave alike."""

    id: str
    key: str
    mark: str
    word: str
    sources: MembersView
    destinations: MembersView
    pairs: int
    reason: str
    headline: str
    paths: tuple[PathView, ...]
    links: tuple[PairLink, ...]
    """Of each pair; empty on a large host."""


class EndpointView(Struct, frozen=True):
    """What containers, the host and the world can do with each other: one group of pairs."""

    key: str
    """Reachability, for the style sheet."""
    mark: str
    word: str
    sources: MembersView
    destinations: MembersView
    allowed: str
    explanations: tuple[str, ...]


def pair_count(group: Group) -> int:
    """Its ordered pairs, a container with itself left out."""
    both = set(group.destinations).intersection(group.sources)
    return len(group.sources) * len(group.destinations) - len(both)


def group_view(number: int, group: Group, appendix: Appendix, members: MembersViews, language: Language) -> GroupView:
    paths = tuple(_path(p, appendix, language) for p in group.paths)
    best = paths[0]
    return GroupView(
        f"group-{number}",
        group.reachability.value,
        MARKS[group.reachability],
        language.of(WORDS[group.reachability]),
        members.of(group.sources),
        members.of(group.destinations),
        pair_count(group),
        best.reason,
        best.explanation,
        paths,
        () if members.large else tuple(pair_links(group)),
    )


def endpoint_view(group: Group, members: MembersViews, language: Language) -> EndpointView:
    return EndpointView(
        group.reachability.value,
        MARKS[group.reachability],
        language.of(WORDS[group.reachability]),
        members.of(group.sources),
        members.of(group.destinations),
        shown(" / ".join(dict.fromkeys(language.of(path.allowed.words) for path in group.paths)), 400),
        tuple(dict.fromkeys(shown(language.of(path.explanation), 2000) for path in group.paths)),
    )


def _path(path: Path, appendix: Appendix, language: Language) -> PathView:
    where = path.network or path.address or language.say("no address")
    title = f"{where} ({path.address})" if path.network and path.address else where
    explanation = shown(language.of(path.explanation), 4000)
    return PathView(
        shown(f"{title}, {path.family}" if path.family else title),
        path.reachability.value,
        MARKS[path.reachability],
        shown(language.of(path.allowed.words), 2000),
        path.reason.value,
        explanation,
        shown(language.of(_lead(path)), 4000) if path.partial else explanation,
        appendix.cite(path.decided_by),
        tuple(shown(language.of(p), 2000) for p in path.partial),
        tuple(_hop(h, appendix, language) for h in path.hops),
        tuple(_hop(h, appendix, language) for h in path.hops_back),
        tuple(_fix(f, language) for f in path.fixes),
    )


def _lead(path: Path) -> str:
    """What works and what does not is listed below it: a sentence with all of that would say it twice."""
    text = path.explanation
    if isinstance(text, Message) and text.parts.get("others") == listed(path.partial, SEMICOLON):
        a, b, ip = (text.parts[name] for name in ("a", "b", "ip"))
        return say("{a} reaches {b} at {ip} on some ports only.", a=a, b=b, ip=ip)
    return text


def _hop(hop: Hop, appendix: Appendix, language: Language) -> HopView:
    return HopView(shown(language.of(hop.text)), hop.kind is HopKind.DROP, appendix.cite(hop.evidence))


def _fix(fix: Fix, language: Language) -> FixView:
    opened = len(fix.opens)
    note = fix.note
    if opened > 1:
        note = sentences((say("It opens {n} ordered pairs in all.", n=opened), note))
    return FixView(shown(fix.command, 2000), language.of(WORDS[fix.effect]), shown(language.of(note)))
