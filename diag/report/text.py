"""The report as text: 80 columns, for a terminal or a mail."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from diag.model.analysis import Analysis
from diag.report.evidence_view import Cited
from diag.report.language import Language
from diag.report.names_view import ScopeView
from diag.report.pairs_view import GroupView, PathView
from diag.report.view import ReportView, build_view

COLUMNS = 80
SUMMARY_GROUPS = 12
"""Groups that the summary on a terminal lists."""


def render_text(analysis: Analysis, language: Language) -> bytes:
    """Everything, in words."""
    return ("\n".join(_lines(build_view(analysis, language))) + "\n").encode()


def render_summary(analysis: Analysis, language: Language) -> str:
    """What a terminal shows when no output was asked for."""
    view = build_view(analysis, language)
    lines = list(_head(view))
    trouble = [g for g in view.groups if g.key != "reachable"]
    for group in trouble[:SUMMARY_GROUPS]:
        lines += ["", *_wrap(f"{group.mark} {group.headline}", "  ")]
        for fix in group.paths[0].fixes[:1]:
            lines.append(f"  Fix: {fix.command}")
    if len(trouble) > SUMMARY_GROUPS:
        lines += ["", f"… and {len(trouble) - SUMMARY_GROUPS} more groups of pairs: see diag report -o report.html"]
    if view.gaps:
        lines += ["", *_wrap(f"{len(view.gaps)} gaps in the capture; the first: {view.gaps[0].detail}", "  ")]
    return "\n".join(lines)


def _wrap(text: str, indent: str = "", first: str = "") -> list[str]:
    return textwrap.wrap(
        text, COLUMNS, initial_indent=first, subsequent_indent=indent, break_long_words=True, break_on_hyphens=False
    )


def _section(title: str) -> list[str]:
    return ["", title, "=" * min(len(title), COLUMNS), ""]


def _head(view: ReportView) -> Iterator[str]:
    yield from _wrap(view.title)
    yield "=" * min(len(view.title), COLUMNS)
    yield ""
    yield from _wrap("; ".join(f"{label}: {value}" for label, value in view.facts))
    yield ""
    yield from _wrap(view.headline)
    for count in view.counts:
        yield f"  {count.mark} {count.word}: {count.pairs}"


def _lines(view: ReportView) -> Iterator[str]:
    yield from _head(view)
    for note in view.notes:
        yield from _wrap(note, "  ", "* ")
    yield from _section("Networks")
    for network in view.networks:
        bridge = f", bridge {network.bridge}" if network.bridge else ""
        subnets = f", {network.subnets}" if network.subnets else ""
        traits = f", {network.traits}" if network.traits else ""
        yield from _wrap(f"{network.name} ({network.driver}{bridge}{subnets}{traits})", "  ")
        for member in network.members:
            yield from _wrap(f"{member.name} {member.address} {member.note}".rstrip(), "      ", "    ")
    yield from _section("Containers")
    for container in view.containers:
        yield from _wrap(f"{container.name} {container.role}.", "  ")
        if container.ports:
            yield from _wrap(f"published: {container.ports}", "      ", "    ")
    yield from _section("Pairs")
    for group in view.groups:
        yield from _group_lines(group)
    yield from _endpoint_lines(view)
    yield from _section("Names")
    for scope in view.scopes:
        yield from _scope_lines(scope)
    yield from _section("Interfaces of the host")
    for interface in view.interfaces:
        yield from _wrap(f"{interface.name} ({interface.state}) {interface.addresses}: {interface.role}", "    ", "  ")
    if view.gaps:
        yield from _section("Gaps")
        for gap in view.gaps:
            affects = f" This touches {gap.affects}." if gap.affects else ""
            yield from _wrap(f"{gap.where}: {gap.detail}.{affects}", "    ", "  ")


def _scope_lines(scope: ScopeView) -> Iterator[str]:
    yield from _wrap(f"{scope.containers} (resolver: {scope.resolver})", "  ")
    if scope.note:
        yield from _wrap(scope.note, "    ", "    ")
    for name in scope.names:
        yield from _wrap(f"{name.name} = {name.addresses} ({name.via})", "      ", "    ")
    for caller in scope.callers:
        for name in caller.own:
            yield from _wrap(f"in {caller.container} {name.name} = {name.addresses} ({name.via})", "      ", "    ")
    for name in scope.missing:
        yield from _wrap(f"{name.name}: not found, {name.explanation}", "      ", "    ")


def _endpoint_lines(view: ReportView) -> Iterator[str]:
    yield from _section("The host and the world")
    for endpoint in view.endpoints:
        yield from _wrap(
            f"{endpoint.mark} {endpoint.sources.full} → {endpoint.destinations.full}: {endpoint.allowed}",
            "      ",
            "  ",
        )
        for explanation in endpoint.explanations:
            yield from _wrap(explanation, "    ", "    ")


def _group_lines(group: GroupView) -> Iterator[str]:
    yield from _wrap(f"{group.mark} {group.sources.full} → {group.destinations.full}: {group.word}", "  ")
    for path in group.paths:
        yield from _path_lines(path)
    yield ""


def _path_lines(path: PathView) -> Iterator[str]:
    yield from _wrap(f"{path.explanation} [{path.reason}]", "    ", "    ")
    if path.cited is not None:
        yield from _wrap(f"decided by {_where(path.cited)}", "      ", "    ")
    for fix in path.fixes:
        yield from _wrap(f"fix: {fix.command}  ({fix.effect}; {fix.note})".replace("; )", ")"), "      ", "    ")


def _where(cited: Cited) -> str:
    return f"{cited.file}:{cited.line}: {cited.text}" if cited.line else f"{cited.file}: {cited.text}"
