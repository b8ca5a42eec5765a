"""The view model: everything a report shows, as plain text and numbers. Templates loop over it and decide nothing.

Every text that came from the host has been through :func:`diag.report.shown.shown`; escaping for the output's own syntax
is the renderer's part.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from diag import __version__
from diag.model.analysis import Analysis
from diag.model.message import Message, clauses, say
from diag.model.reasons import Reachability
from diag.report.classes import Classes
from diag.report.evidence_view import Appendix, EvidenceFile
from diag.report.findings_view import FindingView, finding_views
from diag.report.host_view import (
    ContainerView,
    GapView,
    InterfaceView,
    NetworkView,
    container_views,
    gap_view,
    interface_views,
    network_views,
)
from diag.report.index_view import IndexView, index_view
from diag.report.language import Language
from diag.report.matrix_view import MatrixView, matrix_view
from diag.report.members_view import MembersViews
from diag.report.names_view import ScopeView, scope_views
from diag.report.pairs_view import EndpointView, GroupView, endpoint_view, group_view, pair_count
from diag.report.places_view import FixedView, fixed_views, places_of_evidence
from diag.report.shown import shown
from diag.report.summary_view import SummaryView, summary_view
from diag.report.words import LARGE, MARKS, WORDS


class Count(Struct, frozen=True):
    """How many ordered pairs have one result."""

    key: str
    mark: str
    word: str
    pairs: int


class ReportView(Struct, frozen=True):
    """A whole report."""

    title: str
    version: str
    large: bool
    """Too large for the matrix and for long lists."""
    facts: tuple[tuple[str, str], ...]
    headline: str
    counts: tuple[Count, ...]
    notes: tuple[str, ...]
    networks: tuple[NetworkView, ...]
    containers: tuple[ContainerView, ...]
    grid: MatrixView
    groups: tuple[GroupView, ...]
    """What does not work first."""
    endpoints: tuple[EndpointView, ...]
    """Pairs with the host itself and the world beyond its uplink."""
    scopes: tuple[ScopeView, ...]
    interfaces: tuple[InterfaceView, ...]
    gaps: tuple[GapView, ...]
    evidence: tuple[EvidenceFile, ...]
    summary: SummaryView
    fixes: tuple[FixedView, ...]
    """Every command of all groups once."""
    index: IndexView
    findings: tuple[FindingView, ...]
    """The worst first."""


_TROUBLE_FIRST = (Reachability.UNKNOWN, Reachability.PARTIAL, Reachability.UNREACHABLE, Reachability.REACHABLE)


def build_view(analysis: Analysis, language: Language) -> ReportView:
    """Everything a report shows of an analysis, in one language."""
    ordered = sorted(analysis.groups, key=lambda g: (_TROUBLE_FIRST.index(g.reachability), -pair_count(g)))
    counts = dict.fromkeys(Reachability, 0)
    for group in ordered:
        counts[group.reachability] += pair_count(group)
    snapshot = analysis.snapshot
    appendix, members = Appendix(analysis, language), MembersViews(snapshot, language)
    classes = Classes(snapshot, ordered)
    groups = tuple(group_view(number, group, appendix, members, language) for number, group in enumerate(ordered, 1))
    large = len(snapshot.containers) > LARGE
    return ReportView(
        title=language.say("Docker networking on {host}", host=shown(snapshot.host) or say("a host without a name")),
        version=__version__,
        large=large,
        facts=tuple(_facts(analysis, language)),
        headline=language.of(_headline(analysis, counts)),
        counts=tuple(Count(r.value, MARKS[r], language.of(WORDS[r]), n) for r, n in counts.items()),
        notes=tuple(shown(language.of(note), 2000) for note in analysis.notes),
        networks=tuple(network_views(analysis, language)),
        containers=tuple(container_views(analysis, language)),
        grid=matrix_view(ordered, classes, members, language),
        groups=groups,
        endpoints=tuple(endpoint_view(group, members, language) for group in analysis.endpoints),
        scopes=tuple(scope_views(analysis, language)),
        interfaces=tuple(interface_views(analysis, language)),
        gaps=tuple(gap_view(gap, language) for gap in analysis.gaps),
        evidence=tuple(appendix.files(places_of_evidence(groups))),
        summary=summary_view(analysis, ordered, groups, language),
        fixes=tuple(fixed_views(groups)),
        index=index_view(snapshot, ordered, classes),
        findings=tuple(finding_views(analysis.findings, appendix, language)),
    )


def _facts(analysis: Analysis, language: Language) -> Iterator[tuple[str, str]]:
    snapshot, engine = analysis.snapshot, analysis.snapshot.engine
    for label, value in (
        (say("Docker"), engine.version),
        (say("Firewall backend"), engine.firewall_backend),
        (say("Kernel"), engine.kernel),
        (say("System"), engine.os),
        (say("Captured"), snapshot.captured_at),
    ):
        if value:
            yield language.of(label), shown(value)
    running = sum(c.running for c in snapshot.containers)
    count = language.say("{n}, {running} running", n=len(snapshot.containers), running=running)
    yield language.say("Containers"), count
    yield language.say("Networks"), str(len(snapshot.networks))


def _headline(analysis: Analysis, counts: dict[Reachability, int]) -> Message:
    total = sum(counts.values())
    if not analysis.snapshot.containers:
        return say("The capture shows no containers.")
    if total == 0:
        return say("One container: there is no pair to judge.")
    blocked, unknown = counts[Reachability.UNREACHABLE], counts[Reachability.UNKNOWN]
    partial = counts[Reachability.PARTIAL]
    works = counts[Reachability.REACHABLE]
    if works == total:
        return say("All {total} ordered pairs of containers reach each other.", total=total)
    parts = [say("{works} of {total} ordered pairs of containers reach each other", works=works, total=total)]
    if partial:
        some = say("{n} does so on some ports only", n=1)
        parts.append(some if partial == 1 else say("{n} do so on some ports only", n=partial))
    if blocked:
        parts.append(say("{n} does not", n=1) if blocked == 1 else say("{n} do not", n=blocked))
    if unknown:
        parts.append(say("{n} cannot be told", n=unknown))
    return say("{parts}.", parts=clauses(parts))
