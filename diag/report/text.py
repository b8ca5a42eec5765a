"""The report as text: 80 columns, for a terminal or a mail, and a few hundred lines even for a large host."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from diag.model.analysis import Analysis
from diag.report.columns import command_lines, width, wrapped
from diag.report.evidence_view import Cited
from diag.report.findings_view import FindingView
from diag.report.host_view import ContainerView, GapView, InterfaceView
from diag.report.language import Language
from diag.report.print_view import (
    TEXT_LIMITS,
    PrintEndpoint,
    PrintGroup,
    PrintNetwork,
    PrintPath,
    PrintScope,
    PrintView,
    print_view,
)
from diag.report.summary_view import ProblemView
from diag.report.view import ReportView, build_view

SUMMARY = 8
"""Reasons that the summary on a terminal lists."""


def render_text(analysis: Analysis, language: Language) -> bytes:
    """What can be said in words; of a large host the beginnings of its lists."""
    view = print_view(build_view(analysis, language), language, analysis.snapshot.captured_at, TEXT_LIMITS)
    return ("\n".join(_Text(language).lines(view)) + "\n").encode()


def render_summary(analysis: Analysis, language: Language) -> str:
    """What a terminal shows when no output was asked for."""
    view = build_view(analysis, language)
    return "\n".join(_Text(language).summary(view))


class _Text:
    """Writes lines in one language."""

    def __init__(self, language: Language) -> None:
        self.language = language

    def summary(self, view: ReportView) -> Iterator[str]:
        say = self.language.say
        yield from self._head(view)
        yield from self._wrong(view, view.summary.every[:SUMMARY])
        more = len(view.summary.every) - SUMMARY
        if more > 0:
            yield ""
            yield from wrapped(self.language.plural("… and {n} more reason.", "… and {n} more reasons.", more))
        if view.gaps:
            yield ""
            yield from wrapped(say("The first gap in the capture: {detail}.", detail=view.gaps[0].detail.rstrip(".")))
        yield ""
        yield from wrapped(say("Every pair, and why: diag report -o report.html"))

    def _head(self, view: ReportView) -> Iterator[str]:
        title = wrapped(view.title)
        yield from title
        yield "=" * max(width(line) for line in title)
        yield ""
        yield from wrapped(f"{view.summary.mark} {view.summary.verdict}")
        yield ""
        yield from wrapped(f"{view.headline} {view.summary.gaps}".rstrip())
        for count in view.counts:
            yield f"  {count.mark} {count.word}: {count.pairs}"
        yield ""
        yield from wrapped("; ".join(f"{label}: {value}" for label, value in view.facts))

    def _wrong(self, view: ReportView, troubles: Iterable[ProblemView]) -> Iterator[str]:
        """Findings stand before pairs that are only apart."""
        reasons, findings = map(self._trouble, troubles), map(self.finding, view.findings)
        for one in chain(reasons, findings) if view.summary.problems else chain(findings, reasons):
            yield ""
            yield from one

    def _trouble(self, trouble: ProblemView) -> Iterator[str]:
        pairs = self.language.plural("{n} ordered pair", "{n} ordered pairs", trouble.pairs)
        yield from wrapped(f"{trouble.title}, {pairs}", "  ", f"{trouble.mark} ")
        yield from wrapped(trouble.example, "  ", "  ")
        if trouble.fix is not None:
            yield from self._command(trouble.fix.command, "  ")

    def finding(self, finding: FindingView) -> Iterator[str]:
        title = self.language.say("{severity}: {title}", severity=finding.word, title=finding.title)
        yield from wrapped(f"{title} [{finding.code}]", "  ", f"{finding.mark} ")
        for hit in finding.first:
            yield from wrapped(hit.text, "  ", "  ")
            for cited in hit.cited:
                yield from wrapped(_where(cited), "      ", "    ")
            if hit.command:
                yield from self._command(hit.command, "  ")
        if finding.others:
            yield from wrapped(
                self.language.plural(
                    "{n} more like these is in the JSON report.",
                    "{n} more like these are in the JSON report.",
                    finding.others,
                ),
                "  ",
                "  ",
            )
        yield from wrapped(finding.advice, "  ", "  ")

    def _command(self, command: str, indent: str) -> Iterator[str]:
        fix = self.language.say("Fix:")
        yield f"{indent}{fix}"
        yield from command_lines(command, f"{indent}  ")

    def lines(self, view: PrintView) -> Iterator[str]:
        say = self.language.say
        yield from self._head(view.report)
        yield from self._wrong(view.report, view.troubles.items)
        yield ""
        for note in (*view.report.notes, view.shortened):
            yield from wrapped(note, "  ", "* ")
        yield from _section(say("Networks"))
        for network in view.networks.items:
            yield from self._network(network)
        yield from _left_out(view.networks.left_out)
        yield from _section(say("Containers"))
        for container in view.containers.items:
            yield from self._container(container)
        yield from _left_out(view.containers.left_out)
        yield from _section(say("Pairs, and why"))
        for group in view.groups.items:
            yield from self._group(group)
        yield from _left_out(view.groups.left_out)
        yield from _section(say("The host and the world"))
        for endpoint in view.endpoints.items:
            yield from _endpoint(endpoint)
        yield from _left_out(view.endpoints.left_out)
        yield from _section(say("Names"))
        for scope in view.scopes.items:
            yield from self._scope(scope)
        yield from _left_out(view.scopes.left_out)
        yield from _section(say("Interfaces of the host"))
        for interface in view.interfaces.items:
            yield from _interface(interface)
        yield from _left_out(view.interfaces.left_out)
        if view.gaps.items:
            yield from _section(say("What is not known"))
            for gap in view.gaps.items:
                yield from self._gap(gap)
            yield from _left_out(view.gaps.left_out)

    def _network(self, row: PrintNetwork) -> Iterator[str]:
        network = row.network
        bridge = self.language.say("bridge {name}", name=network.bridge) if network.bridge else ""
        traits = (network.driver, bridge, network.subnets, network.traits)
        yield from wrapped(f"{network.name} ({', '.join(filter(None, traits))})", "    ", "  ")
        yield from wrapped(row.members, "    ", "    ")

    def _container(self, container: ContainerView) -> Iterator[str]:
        yield from wrapped(f"{container.name} {container.role}.", "    ", "  ")
        if container.ports:
            published = self.language.say("published: {ports}", ports=container.ports)
            yield from wrapped(published, "      ", "    ")

    def _group(self, group: PrintGroup) -> Iterator[str]:
        sides = f"{group.group.sources.short} → {group.group.destinations.short}"
        yield from wrapped(f"{sides}: {group.result}", "    ", f"  {group.group.mark} ")
        for path in group.paths:
            yield from self._path(path)
        yield ""

    def _path(self, path: PrintPath) -> Iterator[str]:
        yield from wrapped(path.explanation, "    ", "    ")
        if path.cited is not None:
            cited = self.language.say("decided by {line}", line=_where(path.cited))
            yield from wrapped(cited, "      ", "    ")
        for fix in path.fixes:
            yield from self._command(fix.command, "    ")
            then = self.language.say("Then {effect}.", effect=fix.effect)
            yield from wrapped(f"{then} {fix.note}", "      ", "      ")

    def _scope(self, scope: PrintScope) -> Iterator[str]:
        resolver = self.language.say("Resolver: {resolver}.", resolver=scope.resolver)
        yield from wrapped(f"{scope.callers}: {resolver}", "    ", "  ")
        yield from wrapped(f"{scope.note} {scope.names}", "      ", "    ")
        for name in scope.missing:
            missing = self.language.say("Not found: {names}; {why}.", names=name.name, why=name.explanation)
            yield from wrapped(missing, "      ", "    ")

    def _gap(self, gap: GapView) -> Iterator[str]:
        affects = self.language.say("This touches {what}.", what=gap.affects) if gap.affects else ""
        yield from wrapped(f"{gap.where}: {gap.detail}. {affects}", "    ", "  ")


def _section(title: str) -> Iterator[str]:
    yield from ("", title, "=" * width(title), "")


def _left_out(sentence: str) -> Iterator[str]:
    yield from wrapped(sentence, "  ", "  ")


def _endpoint(row: PrintEndpoint) -> Iterator[str]:
    yield from wrapped(f"{row.sources} → {row.destinations}: {row.allowed}", "    ", f"  {row.mark} ")
    yield from wrapped(row.why, "    ", "    ")


def _interface(interface: InterfaceView) -> Iterator[str]:
    yield from wrapped(f"{interface.name} ({interface.state}) {interface.addresses}: {interface.role}", "    ", "  ")


def _where(cited: Cited) -> str:
    return f"{cited.file}:{cited.line}: {cited.text}" if cited.line else f"{cited.file}: {cited.text}"
