"""The report for a ticket: Markdown that GitHub and GitLab show alike, under 60,000 characters."""

from __future__ import annotations

import re
from collections.abc import Iterator

from msgspec import Struct

from diag.model.analysis import Analysis
from diag.report.language import Language
from diag.report.members_view import MembersView
from diag.report.names_view import CallerView, ScopeView
from diag.report.pairs_view import EndpointView, GroupView, PathView
from diag.report.view import ReportView, build_view

LIMIT = 60_000
"""Characters; GitHub refuses comments above 65,536."""
_SHARE = LIMIT // 8
"""Of each section in a document that does not fit; what is left is first for the pairs."""
_PAIRS = 1
"""The section of the pairs."""
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+!|~@&-])")


def render_markdown(analysis: Analysis, language: Language) -> bytes:
    """The document; what does not fit is counted, never cut in the middle."""
    view = build_view(analysis, language)
    head = "\n".join(_head(view))
    sections = [_networks(view), _pairs(view), _endpoints(view), _names(view), _gaps(view)]
    texts = [section.text() for section in sections]
    if len(head) + sum(map(len, texts)) >= LIMIT:
        sections[_PAIRS] = _pairs(view, hops=False)
        texts = [section.text(_SHARE) for section in sections]
        for position in (_PAIRS, *range(len(sections))):
            left = LIMIT - len(head) - sum(map(len, texts))
            texts[position] = sections[position].text(len(texts[position]) + left)
    return "".join((head, *texts)).encode()


class _Section(Struct, frozen=True):
    """A heading and what can be left out one by one."""

    heading: str
    blocks: tuple[str, ...]
    what: str
    """What the blocks are, for the line that counts those left out."""
    pairs: tuple[int, ...] = ()
    """The ordered pairs in each."""

    def text(self, room: int | None = None) -> str:
        """As many blocks as there is room for."""
        if room is None or sum(map(len, self.blocks)) + len(self.heading) < room:
            return self.heading + "".join(self.blocks)
        kept, size = 0, len(self.heading) + len(self._left_out(0))
        while size + len(self.blocks[kept]) < room:
            size += len(self.blocks[kept])
            kept += 1
        return self.heading + "".join(self.blocks[:kept]) + self._left_out(kept)

    def _left_out(self, kept: int) -> str:
        pairs = f" ({sum(self.pairs[kept:])} ordered pairs)" if self.pairs else ""
        return f"\n{len(self.blocks) - kept} more {self.what}{pairs} are in the HTML and JSON reports.\n"


def escape(text: str) -> str:
    """Text that Markdown and HTML leave as it is."""
    return (
        _SPECIAL.sub(r"\\\1", text.replace("\n", " "))
        .replace("\\<", "&lt;")
        .replace("\\>", "&gt;")
        .replace("\\&", "&amp;")
    )


def code(text: str) -> str:
    """Inline code that no backtick in the text ends."""
    fence = "`" * (max((len(run) for run in re.findall(r"`+", text)), default=0) + 1)
    pad = " " if text.startswith("`") or text.endswith("`") or not text else ""
    return f"{fence}{pad}{text.replace('|', '¦')}{pad}{fence}" if text else ""


def _head(view: ReportView) -> Iterator[str]:
    yield f"# {escape(view.title)}"
    yield ""
    yield " · ".join(f"{label} {escape(value)}" for label, value in view.facts)
    yield ""
    yield f"**{escape(view.headline)}**"
    yield ""
    yield "| | result | pairs |"
    yield "|-|-|-|"
    for count in view.counts:
        yield f"| {count.mark} | {count.word} | {count.pairs} |"
    if any(members.more for group in view.groups for members in (group.sources, group.destinations)):
        yield ""
        yield "Long lists of containers are shortened here; the HTML and JSON reports have them whole."


def _table(title: str, columns: str) -> str:
    return f"\n## {title}\n\n{columns}\n|{'-|' * (columns.count('|') - 1)}\n"


def _networks(view: ReportView) -> _Section:
    rows = []
    for network in view.networks:
        members = ", ".join(escape(f"{m.name} {m.address}") for m in network.members)
        row = (escape(network.name), escape(network.driver), escape(network.bridge), escape(network.subnets), members)
        rows.append(f"| {' | '.join(row)} |\n")
    return _Section(
        "\n" + _table("Networks", "| network | driver | bridge | subnet | members |"), tuple(rows), "networks"
    )


def _pairs(view: ReportView, *, hops: bool = True) -> _Section:
    heading = "\n## Pairs" if hops else "\n## Pairs\n\nThe way hop by hop is in the HTML report."
    blocks = tuple("\n" + "\n".join(_group(group, hops=hops)) for group in view.groups)
    return _Section(heading, blocks, "groups", tuple(group.pairs for group in view.groups))


def _group(group: GroupView, *, hops: bool) -> Iterator[str]:
    yield ""
    yield f"### {group.mark} {_members(group.sources)} → {_members(group.destinations)}"
    yield ""
    for path in group.paths:
        yield from _path(path, hops=hops)


def _members(members: MembersView) -> str:
    return escape(members.short)


def _path(path: PathView, *, hops: bool) -> Iterator[str]:
    yield escape(path.explanation)
    yield ""
    if path.cited is not None:
        where = f"{path.cited.file}:{path.cited.line}" if path.cited.line else path.cited.file
        yield f"- decided by {code(path.cited.text)} ({code(where)})"
    for fix in path.fixes:
        yield f"- fix: {code(fix.command)}, then {fix.effect}. {escape(fix.note)}".rstrip()
    if hops and path.hops:
        yield ""
        yield "<details><summary>Hop by hop</summary>"
        yield ""
        for hop in (*path.hops, *path.hops_back):
            yield f"1. {escape(hop.text)}"
        yield ""
        yield "</details>"
    yield ""


def _endpoints(view: ReportView) -> _Section:
    heading = _table("The host and the world", "| from | to | result | allowed |")
    return _Section(heading, tuple(_endpoint(e) for e in view.endpoints), "rows of the host and the world")


def _endpoint(endpoint: EndpointView) -> str:
    result = f"{endpoint.mark} {endpoint.word}"
    return f"| {_members(endpoint.sources)} | {_members(endpoint.destinations)} | {result} | {escape(endpoint.allowed)} |\n"


def _names(view: ReportView) -> _Section:
    heading = _table("Names", "| container | resolver | resolves | does not resolve |")
    return _Section(heading, tuple(_scope(scope) for scope in view.scopes), "rows of names")


def _scope(scope: ScopeView) -> str:
    found = ", ".join(escape(n.name) for n in scope.names)
    if scope.note:
        found += f". {escape(scope.note)}"
    missing = ", ".join(escape(n.name) for n in scope.missing)
    return f"| {', '.join(_caller(c) for c in scope.callers)} | {escape(scope.resolver)} | {found} | {missing} |\n"


def _caller(caller: CallerView) -> str:
    own = f" (also {', '.join(name.name for name in caller.own)})" if caller.own else ""
    return escape(f"{caller.container}{own}")


def _gaps(view: ReportView) -> _Section:
    heading = "\n## Gaps\n\n" if view.gaps else ""
    return _Section(heading, tuple(f"- {code(gap.where)}: {escape(gap.detail)}\n" for gap in view.gaps), "gaps")
