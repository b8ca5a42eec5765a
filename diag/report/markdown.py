"""The report for a ticket: Markdown that GitHub, GitLab and Jira show alike, under 60,000 characters.

The verdict and what is wrong stand first; everything else is folded (`<details>`). Names come from the host and may be
hostile: none makes a link, mentions anybody or refers to another ticket.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain

from msgspec import Struct

from diag.model.analysis import Analysis
from diag.report.endpoint_rows import EndpointRow, endpoint_rows
from diag.report.evidence_view import Cited
from diag.report.findings_view import FindingView
from diag.report.host_view import NetworkView
from diag.report.language import Language
from diag.report.members_view import MembersView
from diag.report.names_view import CallerView, ScopeView
from diag.report.pairs_view import GroupView, PathView
from diag.report.some_of import some_of
from diag.report.summary_view import ProblemView
from diag.report.view import ReportView, build_view

LIMIT = 60_000
"""Characters; GitHub refuses comments above 65,536."""
TROUBLES, EXPLANATIONS, SIDES = 10, 3, 12
"""Reasons before the fold; explanations and groups of containers in a row of the host and the world."""
LISTED, LISTED_LARGE = 250, 60
"""Names in a list; on a large host."""
_SHARE = LIMIT // 8
"""Of each section in a document that does not fit; what is left is first for the pairs."""
_PAIRS = 1
"""The section of the pairs."""
_SPECIAL = re.compile(r"[\\`*{}\[\]<>|~&]|(?<![^\W_])_|_(?![^\W_])")
_START = re.compile(r"^(?:[-+=]|\d+(?=[.)]))")
_WORD = re.compile(r"([(\[]*)(.*?)([,;:.)\]]*)", re.DOTALL)
"""Brackets and stops around a word."""
_RISKY = re.compile(r"[@#!$%~^&]|://|www\.|:[\w+-]+:|^\W*[0-9a-f]{7,40}\W*$", re.IGNORECASE)
"""Mentions, references to tickets, requests, labels, milestones and snippets, links, emoji, commits: GitHub and GitLab look
for them in what Markdown made of the text, where no backslash is left. In code they look for nothing."""
_ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}


def render_markdown(analysis: Analysis, language: Language) -> bytes:
    """The document; what does not fit is counted, never cut in the middle."""
    view = build_view(analysis, language)
    return _Document(view, language).text().encode()


def escape(text: str) -> str:
    """Text that Markdown and HTML leave as it is, word by word: those that would be more than text are code.

    >>> print(escape("@web reaches my_app__ at 10.0.0.1 <b>, see #12"))
    `@web` reaches my_app\\_\\_ at 10.0.0.1 &lt;b&gt;, see `#12`
    """
    return _START.sub(_slashed, " ".join(map(_word, text.split())))


def _word(word: str) -> str:
    parts = _WORD.fullmatch(word)
    assert parts is not None
    before, inside, after = parts.groups()
    if _RISKY.search(inside):
        return f"{_plain(before)}{code(inside)}{_plain(after)}"
    return code(word) if _RISKY.search(word) else _plain(word)


def _plain(word: str) -> str:
    return _SPECIAL.sub(lambda found: _ENTITIES.get(found[0]) or _slashed(found), word)


def _slashed(found: re.Match[str]) -> str:
    return f"{found[0]}\\" if found[0].isdigit() else f"\\{found[0]}"


def code(text: str) -> str:
    """Inline code that no backtick in the text ends."""
    fence = _fence(text, 1)
    pad = " " if text.startswith("`") or text.endswith("`") or not text else ""
    return f"{fence}{pad}{text}{pad}{fence}" if text else ""


def block(command: str) -> str:
    """A block of code, to copy."""
    fence = _fence(command, 3)
    return f"{fence}sh\n{command}\n{fence}\n"


def _fence(text: str, least: int) -> str:
    return "`" * max(least, *(len(run) + 1 for run in re.findall(r"`+", text)), 0)


class _Section(Struct, frozen=True):
    """What is folded: a summary, and blocks that can be left out one by one."""

    summary: str
    blocks: tuple[str, ...]
    left_out: tuple[str, ...]
    """The sentence for each number of blocks that are kept."""

    def text(self, room: int | None = None) -> str:
        """As many blocks as there is room for; nothing for a section without any."""
        if not self.blocks:
            return ""
        head, foot = f"\n<details><summary>{self.summary}</summary>\n\n", "\n</details>\n"
        sizes = [0, *accumulate(map(len, self.blocks))]
        if room is None or len(head) + sizes[-1] + len(foot) <= room:
            return f"{head}{''.join(self.blocks)}{foot}"
        longest = len(head) + max(map(len, self.left_out)) + len(foot) + 2
        kept = max((n for n, size in enumerate(sizes[:-1]) if longest + size <= room), default=0)
        return f"{head}{''.join(self.blocks[:kept])}\n{self.left_out[kept]}\n{foot}"


class _Document:
    """One view as Markdown, in one language."""

    def __init__(self, view: ReportView, language: Language) -> None:
        self.view = view
        self.language = language
        self.listed = LISTED_LARGE if view.large else LISTED

    def _some(self, texts: Iterable[str]) -> str:
        return some_of(texts, self.listed, self.language)

    def text(self) -> str:
        head = "\n".join(self._head())
        sections = [self._networks(), self._pairs(hops=True), self._endpoints(), self._names(), self._gaps()]
        texts = [section.text() for section in sections]
        if len(head) + sum(map(len, texts)) >= LIMIT:
            sections[_PAIRS] = self._pairs(hops=False)
            texts = [section.text(_SHARE) for section in sections]
            for position in (_PAIRS, *range(len(sections))):
                left = LIMIT - 1 - len(head) - sum(map(len, texts))
                texts[position] = sections[position].text(len(texts[position]) + left)
        return "".join((head, *texts))

    def _head(self) -> Iterator[str]:
        view, language = self.view, self.language
        yield f"# {escape(view.title)}\n"
        yield (
            f"**{view.summary.mark} {escape(view.summary.verdict)}** {escape(view.headline)} {escape(view.summary.gaps)}".rstrip()
            + "\n"
        )
        result, pairs = language.say("Result"), language.say("Ordered pairs")
        yield f"| | {result} | {pairs} |"
        yield "|-|-|-:|"
        for count in view.counts:
            yield f"| {count.mark} | {count.word} | {count.pairs} |"
        yield "\n" + " · ".join(f"{label} {escape(value)}" for label, value in view.facts) + "\n"
        reasons, findings = self._reasons(), self._findings()
        yield from chain(reasons, findings) if view.summary.problems else chain(findings, reasons)
        if view.large:
            yield language.say(
                "Long lists of containers are shortened here; the HTML and JSON reports have them whole."
            )

    def _reasons(self) -> Iterator[str]:
        view, language = self.view, self.language
        if view.summary.every:
            title = (
                language.say("What is apart, and why")
                if not view.summary.problems
                else language.say("What is wrong first")
            )
            yield f"## {title}\n"
        for trouble in view.summary.every[:TROUBLES]:
            yield from self._trouble(trouble)
        more = len(view.summary.every) - TROUBLES
        if more > 0:
            yield (
                language.plural("{n} more reason is with the pairs.", "{n} more reasons are with the pairs.", more)
                + "\n"
            )

    def _findings(self) -> Iterator[str]:
        view, language = self.view, self.language
        if view.findings:
            title = language.say("What the checks found")
            yield f"## {title}\n"
        for finding in view.findings[:TROUBLES]:
            yield from self._finding(finding)
        more = len(view.findings) - TROUBLES
        if more > 0:
            yield language.plural("{n} more check found something.", "{n} more checks found something.", more) + "\n"

    def _trouble(self, trouble: ProblemView) -> Iterator[str]:
        pairs = self.language.plural("{n} ordered pair", "{n} ordered pairs", trouble.pairs)
        yield f"**{trouble.mark} {escape(trouble.title)}**, {pairs}: {escape(trouble.example)}\n"
        if trouble.fix is not None:
            yield block(trouble.fix.command)

    def _finding(self, finding: FindingView) -> Iterator[str]:
        yield f"**{finding.mark} {escape(finding.title)}** ({finding.word}, {code(finding.code)})\n"
        for hit in finding.first:
            cited = "; ".join(f"{code(_where(one))} {code(one.text)}" for one in hit.cited)
            yield f"- {escape(hit.text)} {cited}".rstrip() + "\n"
            if hit.command:
                yield block(hit.command)
        if finding.others:
            yield (
                self.language.plural(
                    "{n} more like these is in the JSON report.",
                    "{n} more like these are in the JSON report.",
                    finding.others,
                )
                + "\n"
            )
        yield f"{escape(finding.advice)}\n"

    def _section(self, title: str, blocks: Sequence[str]) -> _Section:
        return _Section(f"{title} ({len(blocks)})", tuple(blocks), tuple(map(self._more, range(len(blocks), 0, -1))))

    def _more(self, number: int) -> str:
        return self.language.plural(
            "{n} more entry is in the HTML and JSON reports.",
            "{n} more entries are in the HTML and JSON reports.",
            number,
        )

    def _networks(self) -> _Section:
        return self._section(self.language.say("Networks"), [self._network(n) for n in self.view.networks])

    def _network(self, network: NetworkView) -> str:
        traits = ", ".join(filter(None, (network.driver, network.bridge, network.subnets, network.traits)))
        members = self._some(f"{m.name} {m.address}" for m in network.members)
        return f"- {code(network.name)}: {escape(traits)}" + (f"\n  {escape(members)}\n" if members else "\n")

    def _pairs(self, *, hops: bool) -> _Section:
        groups = self.view.groups
        blocks = tuple("\n".join(self._group(group, hops=hops)) + "\n" for group in groups)
        rest = [0, *accumulate(group.pairs for group in reversed(groups))][:0:-1]
        left_out = tuple(self._groups_left(len(groups) - n, pairs) for n, pairs in enumerate(rest))
        title = self.language.plural("Pairs, in {n} group", "Pairs, in {n} groups", len(groups))
        if not hops:
            title += self.language.say("; the way hop by hop is in the HTML and JSON reports")
        return _Section(title, blocks, left_out)

    def _groups_left(self, number: int, pairs: int) -> str:
        return self.language.plural(
            "{n} more group of pairs ({pairs} ordered pairs in all) is in the HTML and JSON reports.",
            "{n} more groups of pairs ({pairs} ordered pairs in all) are in the HTML and JSON reports.",
            number,
            pairs=pairs,
        )

    def _group(self, group: GroupView, *, hops: bool) -> Iterator[str]:
        yield f"#### {group.mark} {escape(group.sources.short)} → {escape(group.destinations.short)}\n"
        pairs = self.language.plural("{n} ordered pair", "{n} ordered pairs", group.pairs)
        yield f"{pairs} · {group.word} · {code(group.reason)}\n"
        for path in group.paths:
            yield from self._path(path, hops=hops)

    def _path(self, path: PathView, *, hops: bool) -> Iterator[str]:
        say = self.language.say
        yield f"{escape(path.explanation)}\n"
        if path.cited is not None:
            decided = say("Decided by {where}:", where=code(_where(path.cited)))
            yield f"{decided} {code(path.cited.text)}\n"
        for fix in path.fixes:
            yield block(fix.command)
            then = escape(say("Then {effect}.", effect=fix.effect))
            yield f"{then} {escape(fix.note)}\n".replace(" \n", "\n")
        if hops and path.hops:
            title = say("Hop by hop")
            yield f"<details><summary>{title}</summary>\n"
            for number, hop in enumerate((*path.hops, *path.hops_back), 1):
                yield f"{number}. {escape(hop.text)}"
            yield "\n</details>\n"

    def _endpoints(self) -> _Section:
        title = self.language.say("The host and the world")
        return self._section(title, [self._endpoint(row) for row in endpoint_rows(self.view.endpoints)])

    def _endpoint(self, row: EndpointRow) -> str:
        sides = ("; ".join(self._sides(side)) for side in (row.sources, row.destinations))
        more = len(row.explanations) - EXPLANATIONS
        texts = [f"{row.mark} {' → '.join(sides)}: {row.allowed}.", *row.explanations[:EXPLANATIONS]]
        if more > 0:
            texts.append(self.language.plural("{n} more address.", "{n} more addresses.", more))
        return f"- {escape(' '.join(texts))}\n"

    def _sides(self, sides: Sequence[MembersView]) -> Iterator[str]:
        yield from (side.short for side in sides[:SIDES])
        more = len(sides) - SIDES
        if more > 0:
            yield self.language.plural("{n} more group of containers", "{n} more groups of containers", more)

    def _names(self) -> _Section:
        return self._section(self.language.say("Names"), [self._scope(scope) for scope in self.view.scopes])

    def _scope(self, scope: ScopeView) -> str:
        say = self.language.say
        callers = self._some(map(self._caller, scope.callers))
        names = self._some(f"{name.name} = {name.addresses} ({name.via})" for name in scope.names)
        resolver = say("Resolver: {resolver}.", resolver=scope.resolver)
        lines = [f"- {escape(callers)}: {escape(resolver)}"]
        lines += [escape(text) for text in (scope.note, names) if text]
        lines += [
            escape(say("Not found: {names}; {why}.", names=name.name, why=name.explanation)) for name in scope.missing
        ]
        return "\n  ".join(lines) + "\n"

    def _caller(self, caller: CallerView) -> str:
        own = ", ".join(name.name for name in caller.own)
        return self.language.say("{name} (also {own})", name=caller.container, own=own) if own else caller.container

    def _gaps(self) -> _Section:
        title = self.language.say("What is not known")
        gaps = (f"- {code(gap.where)}: {escape(gap.detail)}\n" for gap in self.view.gaps)
        return self._section(title, tuple(gaps))


def _where(cited: Cited) -> str:
    return f"{cited.file}:{cited.line}" if cited.line else cited.file
