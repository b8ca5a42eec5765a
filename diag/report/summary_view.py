"""The first screen of a report: is the host healthy, what is wrong, and what is apart because it was set up so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum

from msgspec import Struct

from diag.model.analysis import Analysis, Group, Path
from diag.model.finding import Severity
from diag.model.message import Message, say
from diag.model.reasons import Reachability, Reason
from diag.reach.codes import CODES
from diag.report.language import Language
from diag.report.pairs_view import FixView, GroupView

MOST = 6
"""Problems that are listed; the rest are counted."""


class Standing(StrEnum):
    """What a result says about the host's health."""

    BROKEN = "unreachable"
    """Something does not work that is there to work. The values are classes of the style sheet."""
    BLOCKED = "partial"
    """A rule of somebody stops it; only they know whether it should."""
    UNKNOWN = "unknown"
    FOUND = "found"
    """All pairs are as they were set up, but the checks found something."""
    APART = "apart"
    """Networks and modes were chosen so that it does not work, or a container was stopped."""
    FINE = "reachable"


_APART = frozenset(
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
_BLOCKED = frozenset({Reason.FIREWALL_DROP, Reason.FIREWALL_REJECT, Reason.POLICY_DROP, Reason.ROUTE_PROHIBITED})
_CODES = {code.code: code for code in CODES}
_BANNERS: dict[Standing, tuple[str, Message]] = {
    Standing.BROKEN: ("✕", say("Something is broken.")),
    Standing.UNKNOWN: ("?", say("Some results cannot be told from this capture.")),
    Standing.BLOCKED: ("◐", say("Firewall rules stop some traffic.")),
    Standing.FOUND: ("!", say("Pairs are as they were set up, but the checks found something to mend.")),
    Standing.APART: ("✓", say("Nothing is broken. What is apart was set up so, or does not run.")),
    Standing.FINE: ("✓", say("Everything reaches everything.")),
}
"""The worst first."""
_KEYS = {Standing.APART: Standing.FINE.value, Standing.FOUND: Standing.BLOCKED.value}
"""Classes of the style sheet that are not the standing's own."""
_NOTHING = say("There is nothing to judge.")


class ProblemView(Struct, frozen=True):
    """What is wrong with pairs for one reason, or why they are apart."""

    key: str
    """Class of the style sheet."""
    mark: str
    title: str
    reason: str
    pairs: int
    example: str
    """The explanation of one of them."""
    group: str
    """Id of the group that it is from."""
    fix: FixView | None
    """Proved on the model."""
    advice: str
    """What helps in general, where no fix is proved; empty where one is."""


class SummaryView(Struct, frozen=True):
    """The verdict on a host."""

    key: str
    mark: str
    verdict: str
    problems: tuple[ProblemView, ...]
    """The worst and the largest first, :data:`MOST` of them."""
    others: tuple[ProblemView, ...]
    """The rest."""
    apart: tuple[ProblemView, ...]
    gaps: str
    """How much is missing from the capture; empty for nothing."""

    @property
    def more(self) -> int:
        """Problems that are not listed first."""
        return len(self.others)

    @property
    def every(self) -> tuple[ProblemView, ...]:
        """What does not work, for whatever reason."""
        return (*self.problems, *self.others, *self.apart)


def summary_view(
    analysis: Analysis, ordered: Iterable[Group], views: Iterable[GroupView], language: Language
) -> SummaryView:
    """Of groups and their views, in one order. Of what stands alike that with most pairs is first."""
    found: dict[tuple[Standing, Reason, bool], list[GroupView]] = {}
    networks = {c.name: {e.network for e in c.endpoints} for c in analysis.snapshot.containers}
    for group, view in zip(ordered, views, strict=True):
        source, destination = (networks.get(name, set()) for name in group.example)
        standing, reason = _standing(group, meant=not source.isdisjoint(destination))
        some = group.reachability is Reachability.PARTIAL
        found.setdefault((standing, reason, some), []).append(view)
    most_first = sorted(found.items(), key=lambda item: -sum(view.pairs for view in item[1]))
    listed = [(s, r, v) for s in _BANNERS for (standing, r, _), v in most_first if standing is s]
    problems = [_problem(*one, language) for one in listed if one[0] not in (Standing.FINE, Standing.APART)]
    apart = [_problem(*one, language) for one in listed if one[0] is Standing.APART]
    worst = listed[0][0] if listed else Standing.FINE
    found_something = any(f.severity is not Severity.INFO for f in analysis.findings)
    if found_something and worst in (Standing.APART, Standing.FINE):
        worst = Standing.FOUND
    mark, verdict = _BANNERS[worst]
    return SummaryView(
        _KEYS.get(worst, worst.value),
        mark,
        language.of(verdict if listed or found_something else _NOTHING),
        tuple(problems[:MOST]),
        tuple(problems[MOST:]),
        tuple(apart),
        _gaps(len(analysis.gaps), language),
    )


def _gaps(number: int, language: Language) -> str:
    if not number:
        return ""
    return language.plural("{n} thing is missing from the capture.", "{n} things are missing from the capture.", number)


def _decisive(group: Group) -> Reason:
    """Why the group is what it is."""
    worst = next((p for p in group.paths if p.reachability is group.reachability), group.paths[0])
    return worst.reason


def _standing(group: Group, *, meant: bool) -> tuple[Standing, Reason]:
    """With what decides it. `meant`: the two are on a common network, which is there for them to reach each other."""
    reason = _decisive(group)
    match group.reachability:
        case Reachability.REACHABLE:
            return Standing.FINE, reason
        case Reachability.UNKNOWN:
            return Standing.UNKNOWN, reason
        case Reachability.PARTIAL:
            return _standing_on_some(group)
        case Reachability.UNREACHABLE:
            if reason in _APART or (reason is Reason.NO_ROUTE and not meant):
                return Standing.APART, reason
            return Standing.BLOCKED if reason in _BLOCKED else Standing.BROKEN, reason


def _standing_on_some(group: Group) -> tuple[Standing, Reason]:
    """Of pairs that work on some ports only: what stops the others, somebody's rules before Docker's own."""
    causes = list(dict.fromkeys(cause for path in group.paths for cause in _causes(path)))
    others = [cause for cause in causes if cause not in _APART]
    if causes and not others:
        return Standing.APART, causes[0]
    return Standing.BLOCKED, next(iter(others), _decisive(group))


def _causes(path: Path) -> Iterator[Reason]:
    if path.reachability is Reachability.PARTIAL:
        yield from (reason for reason, _ in path.stoppers)
    elif path.reachability is Reachability.UNREACHABLE:
        yield path.reason


def _problem(standing: Standing, reason: Reason, groups: list[GroupView], language: Language) -> ProblemView:
    first = next(
        (group for group in groups if any(True for _ in _fixes([group]))), groups[0]
    )  # the fix is the example's
    code, fix = _CODES[reason], next(_fixes([first]), None)
    some = first.key == Reachability.PARTIAL
    return ProblemView(
        standing.value,
        first.mark,
        language.say("Works on some ports only: {why}", why=code.title) if some else language.of(code.title),
        reason.value,
        sum(g.pairs for g in groups),
        first.headline,
        first.id,
        fix,
        "" if fix is not None or code.works else language.of(code.fix),
    )


def _fixes(groups: Iterable[GroupView]) -> Iterator[FixView]:
    for group in groups:
        for path in group.paths:
            yield from path.fixes
