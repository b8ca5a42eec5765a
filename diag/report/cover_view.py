"""The verdict on a whole host, and what is wrong first: what a report opens with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import Struct

from diag.model.message import Message, say
from diag.model.reasons import Reachability, Reason
from diag.reach.codes import find_code
from diag.report.language import Language
from diag.report.pairs_view import GroupView
from diag.report.view import ReportView

SET_APART = frozenset(
    {
        Reason.ISOLATION,
        Reason.ICC_OFF,
        Reason.INTERNAL_NETWORK,
        Reason.DIRECT_ACCESS_DROP,
        Reason.UNPUBLISHED_PORT,
        Reason.NO_COMMON_NETWORK,
        Reason.NETWORK_NONE,
        Reason.NOT_RUNNING,
        Reason.MACVLAN_ISOLATION,
    }
)
"""Why containers are apart where that is how Docker was told to run them: no fault of the host."""


class TroubleView(Struct, frozen=True):
    """Pairs that do not work for one reason."""

    key: str
    """Reachability, for the style sheet."""
    mark: str
    title: str
    pairs: str
    """How many, in words."""
    example: str
    """One of them, explained."""
    command: str
    """What opens the example; empty for nothing that is known."""
    group: str
    """The id of the example's group."""


class CoverView(Struct, frozen=True):
    """The verdict."""

    key: str
    """`healthy`, `broken`, `unknown`, or `empty` where there is no pair to judge."""
    verdict: str
    sentence: str
    """Why."""
    troubles: tuple[TroubleView, ...]
    """Faults first, then what cannot be told, then what is apart on purpose."""

    @property
    def healthy(self) -> bool:
        return self.key in ("healthy", "empty")


_FAULT, _UNKNOWN, _APART, _WORKS = range(4)
"""Ranks of groups, worst first."""


def cover_view(view: ReportView, language: Language) -> CoverView:
    """What a report says first."""
    pairs = [0, 0, 0, 0]
    by_reason: dict[tuple[int, str], list[GroupView]] = {}
    for group in view.groups:
        rank, reason = _ranked(group)
        pairs[rank] += group.pairs
        if rank != _WORKS:
            by_reason.setdefault((rank, reason), []).append(group)
    ordered = sorted(by_reason.items(), key=lambda item: (item[0][0], -sum(g.pairs for g in item[1]), item[0][1]))
    key, verdict = _verdict(pairs)
    sentences = [*_sentences(pairs, language), *_gaps(view, language)]
    return CoverView(
        key,
        language.of(verdict),
        " ".join(sentences) or view.headline,
        tuple(_trouble(reason, groups, language) for (_, reason), groups in ordered),
    )


def _ranked(group: GroupView) -> tuple[int, str]:
    """How bad it is, and the reason code for it; empty where single ports are the trouble."""
    match Reachability(group.key):
        case Reachability.REACHABLE:
            return _WORKS, group.reason
        case Reachability.PARTIAL:
            return _FAULT, ""
        case Reachability.UNKNOWN:
            return _UNKNOWN, group.reason
        case Reachability.UNREACHABLE:
            faults = [path.reason for path in group.paths if Reason(path.reason) not in SET_APART]
            return (_FAULT, faults[0]) if faults else (_APART, group.reason)


def _verdict(pairs: Sequence[int]) -> tuple[str, Message]:
    if not any(pairs):
        return "empty", say("Nothing to judge")
    if pairs[_FAULT]:
        return "broken", say("Not healthy")
    if pairs[_UNKNOWN]:
        return "unknown", say("Cannot be told in full")
    return "healthy", say("Healthy")


def _sentences(pairs: Sequence[int], language: Language) -> Iterator[str]:
    if pairs[_FAULT]:
        yield language.plural(
            "A fault or a firewall rule is in the way of {n} ordered pair.",
            "Faults or firewall rules are in the way of {n} ordered pairs.",
            pairs[_FAULT],
        )
    if pairs[_UNKNOWN]:
        yield language.plural(
            "Whether {n} ordered pair works cannot be told.",
            "Whether {n} ordered pairs work cannot be told.",
            pairs[_UNKNOWN],
        )
    if pairs[_APART]:
        yield language.plural(
            "{n} ordered pair is apart by the way Docker was set up.",
            "{n} ordered pairs are apart by the way Docker was set up.",
            pairs[_APART],
        )
    if any(pairs) and not pairs[_FAULT] and not pairs[_UNKNOWN]:
        yield language.say("Nothing that was set up is broken.")


def _gaps(view: ReportView, language: Language) -> Iterator[str]:
    if view.gaps:
        yield language.plural(
            "{n} thing is missing from the capture.", "{n} things are missing from the capture.", len(view.gaps)
        )


def _trouble(reason: str, groups: Sequence[GroupView], language: Language) -> TroubleView:
    first = groups[0]
    code = find_code(reason) if reason else None
    title = say("Some ports only") if code is None else code.title
    fixes = (fix.command for path in first.paths for fix in path.fixes)
    pairs = sum(group.pairs for group in groups)
    return TroubleView(
        first.key,
        first.mark,
        language.of(title),
        language.plural("{n} ordered pair", "{n} ordered pairs", pairs),
        first.headline,
        next(fixes, ""),
        first.id,
    )
