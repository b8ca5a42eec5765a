"""The report for a ticket: Markdown that GitHub and GitLab show alike, under 60,000 characters."""

from __future__ import annotations

import re
from collections.abc import Iterator

from diag.model.analysis import Analysis
from diag.report.view import GroupView, PathView, ReportView, build_view

LIMIT = 60_000
"""Characters; GitHub refuses comments above 65,536."""
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+!|~@&-])")


def render_markdown(analysis: Analysis) -> bytes:
    """The document; groups that do not fit are counted, never cut in the middle."""
    view = build_view(analysis)
    text = "\n".join(_head(view))
    tail = "\n".join(_tail(view))
    room = LIMIT - len(tail[: LIMIT // 4]) - 200
    left = list(view.groups)
    while left:
        block = "\n".join(_group(left[0]))
        if len(text) + len(block) > room:
            pairs = sum(g.pairs for g in left)
            text += f"\n\n{len(left)} more groups ({pairs} pairs) are in the HTML and JSON reports.\n"
            break
        text += "\n" + block
        left.pop(0)
    if len(text) + len(tail) > LIMIT:
        tail = "\nNames and gaps are in the HTML and JSON reports.\n"
    return (text + tail).encode()


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
    yield ""
    yield "## Networks"
    yield ""
    yield "| network | driver | bridge | subnet | members |"
    yield "|-|-|-|-|-|"
    for network in view.networks:
        members = ", ".join(escape(f"{m.name} {m.address}") for m in network.members)
        row = (escape(network.name), escape(network.driver), escape(network.bridge), escape(network.subnets), members)
        yield f"| {' | '.join(row)} |"
    yield ""
    yield "## Pairs"


def _group(group: GroupView) -> Iterator[str]:
    yield ""
    yield f"### {group.mark} {escape(', '.join(group.sources))} → {escape(', '.join(group.destinations))}"
    yield ""
    for path in group.paths:
        yield from _path(path)


def _path(path: PathView) -> Iterator[str]:
    yield escape(path.explanation)
    yield ""
    if path.cited is not None:
        where = f"{path.cited.file}:{path.cited.line}" if path.cited.line else path.cited.file
        yield f"- decided by {code(path.cited.text)} ({code(where)})"
    for fix in path.fixes:
        yield f"- fix: {code(fix.command)}, then {fix.effect}. {escape(fix.note)}".rstrip()
    if path.hops:
        yield ""
        yield "<details><summary>Hop by hop</summary>"
        yield ""
        for hop in (*path.hops, *path.hops_back):
            yield f"1. {escape(hop.text)}"
        yield ""
        yield "</details>"
    yield ""


def _tail(view: ReportView) -> Iterator[str]:
    yield ""
    yield "## The host and the world"
    yield ""
    yield "| from | to | result | allowed |"
    yield "|-|-|-|-|"
    for endpoint in view.endpoints:
        result = f"{endpoint.mark} {endpoint.word}"
        yield f"| {escape(endpoint.sources)} | {escape(endpoint.destinations)} | {result} | {escape(endpoint.allowed)} |"
    yield ""
    yield "## Names"
    yield ""
    yield "| container | resolver | resolves | does not resolve |"
    yield "|-|-|-|-|"
    for scope in view.scopes:
        found = ", ".join(escape(n.name) for n in scope.names)
        missing = ", ".join(escape(n.name) for n in scope.missing)
        yield f"| {escape(scope.container)} | {escape(scope.resolver)} | {found} | {missing} |"
    if view.gaps:
        yield ""
        yield "## Gaps"
        yield ""
        for gap in view.gaps:
            yield f"- {code(gap.where)}: {escape(gap.detail)}"
    yield ""
