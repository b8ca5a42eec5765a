"""What `diag diff` says: 80 columns, short enough for a mail that is read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from diag.diff.verdicts import without
from diag.model.analysis import Allowed
from diag.model.difference import Change, ChangeKind, Difference, Flip, NameChange
from diag.model.finding import Finding
from diag.model.message import Message, say
from diag.model.reasons import Reachability
from diag.report.columns import wrapped
from diag.report.language import Language
from diag.report.shown import shown
from diag.report.some_of import some_of
from diag.report.words import WORDS

_CHANGES = 20
_FLIPS = 8
"""Verdicts that changed alike, and for one reason."""
_PLACES = 3
"""Groups of pairs for each of them."""
_NAMES = 8
_LISTED = 6
"""Names in a row."""
_MARKS = {ChangeKind.ADDED: "+", ChangeKind.REMOVED: "-", ChangeKind.CHANGED: "~"}
_CAUSES = 2
_LONGEST = 600
"""Characters of a sentence with what a host says in it."""


def diff_text(difference: Difference, language: Language) -> str:
    """Changes, verdicts with their causes, names, findings; restarts in one line."""
    return "\n".join(difference_lines(difference, language))


def difference_lines(difference: Difference, language: Language) -> Iterator[str]:
    """The same, line by line."""
    return _Text(language).lines(difference)


class _Text:
    """Writes lines in one language."""

    def __init__(self, language: Language) -> None:
        self.language = language

    def lines(self, found: Difference) -> Iterator[str]:
        yield from wrapped(self._head(found))
        if found.before and found.after:
            yield from wrapped(f"{shown(found.before)} → {shown(found.after)}", "  ")
        if found.changes:
            yield from self._section(say("What changed"))
            for change in found.changes[:_CHANGES]:
                yield from self._change(change)
            yield from self._more(len(found.changes) - _CHANGES)
        if found.flips:
            yield from self._section(say("Verdicts that changed"))
            alike = _alike(found.flips)
            for flips in alike[:_FLIPS]:
                yield from self._flips(flips)
            yield from self._more(len(alike) - _FLIPS)
        yield from self._names(found.names)
        yield from self._findings(say("New findings"), found.appeared)
        yield from self._findings(say("Findings that are gone"), found.gone)
        if found.restarted:
            yield ""
            names = some_of(map(shown, found.restarted), _LISTED, self.language)
            yield from wrapped(self.language.say("Started anew, which is no change: {names}.", names=names), "  ")

    def _head(self, found: Difference) -> str:
        if found.nothing:
            return self.language.say("Nothing changed.")
        changes, pairs = len(found.changes), sum(flip.pairs for flip in found.flips)
        parts = [
            self.language.plural("{n} change.", "{n} changes.", changes) if changes else "",
            self.language.plural(
                "{n} ordered pair has another verdict.", "{n} ordered pairs have another verdict.", pairs
            )
            if pairs
            else self.language.say("No verdict changed."),
        ]
        return " ".join(filter(None, parts))

    def _section(self, title: Message) -> Iterator[str]:
        yield ""
        yield from wrapped(f"{self.language.of(title)}:")

    def _more(self, number: int) -> Iterator[str]:
        if number > 0:
            yield from wrapped(self.language.plural("… and {n} more.", "… and {n} more.", number), "  ", "  ")

    def _said(self, text: str) -> str:
        return shown(self.language.of(text), _LONGEST)

    def _change(self, change: Change) -> Iterator[str]:
        yield from wrapped(
            f"{self._said(change.subject)}: {self._said(change.text)}", "    ", f"{_MARKS[change.kind]} "
        )
        evidence = change.after or change.before
        if evidence is not None:
            yield from wrapped(shown(str(evidence), 200), "      ", "    ")

    def _flips(self, flips: list[Flip]) -> Iterator[str]:
        first = flips[0]
        pairs = self.language.plural("{n} ordered pair", "{n} ordered pairs", sum(flip.pairs for flip in flips))
        head = self.language.say("{pairs}: {verdict}", pairs=pairs, verdict=self._verdict(first))
        yield from wrapped(head, "    ", f"{'+' if _better(first) else '-'} ")
        for flip in flips[:_PLACES]:
            sources = some_of(map(shown, flip.sources), _LISTED, self.language)
            yield from wrapped(
                f"{sources} → {some_of(map(shown, flip.destinations), _LISTED, self.language)}", "      ", "    "
            )
        more = len(flips) - _PLACES
        if more > 0:
            yield from wrapped(self.language.plural("… and {n} more.", "… and {n} more.", more), "    ", "    ")
        yield from wrapped(self._said(first.explanation), "    ", "    ")
        yield from wrapped(self._because(first), "    ", "    ")

    def _verdict(self, flip: Flip) -> str:
        if flip.before is not flip.after:
            now, then = self.language.of(WORDS[flip.after]), self.language.of(WORDS[flip.before])
            told = self.language.say("{now}, before {then}", now=now, then=then)
            if flip.after is Reachability.PARTIAL:
                allowed = self.language.of(flip.allowed_after.words)
                told = self.language.say("{verdict} ({allowed} now)", verdict=told, allowed=allowed)
        else:
            gone, more = _less(flip.allowed_before, flip.allowed_after), _less(flip.allowed_after, flip.allowed_before)
            parts = [self.language.say("no more: {flows}", flows=self.language.of(gone.words))] * (not gone.nothing)
            parts += [self.language.say("now also: {flows}", flows=self.language.of(more.words))] * (not more.nothing)
            told = "; ".join(parts) or self.language.of(WORDS[flip.after])
        return f"{flip.family}: {told}" if flip.family else told

    def _because(self, flip: Flip) -> str:
        if flip.because:
            return self.language.say("Because: {changes}", changes=self._causes(flip.because))
        if flip.together:
            return self.language.say("Because, all together: {changes}", changes=self._causes(flip.together))
        return self.language.say("No captured fact explains it by itself.")

    def _causes(self, changes: Iterable[Change]) -> str:
        told = (f"{self._said(change.subject)}: {self._said(change.text)}" for change in changes)
        return some_of(told, _CAUSES, self.language)

    def _names(self, names: tuple[NameChange, ...]) -> Iterator[str]:
        if not names:
            return
        yield from self._section(say("Names"))
        alike: dict[tuple[str, tuple[str, ...], tuple[str, ...]], list[str]] = {}
        for change in names:
            alike.setdefault((change.name, change.before, change.after), []).append(change.container)
        for (name, before, after), containers in list(alike.items())[:_NAMES]:
            text = self.language.say(
                "{name} in {containers}: {after}, before {before}.",
                name=shown(name),
                after=self._targets(after),
                containers=some_of(map(shown, containers), _LISTED, self.language),
                before=self._targets(before),
            )
            yield from wrapped(text, "    ", "~ ")
        yield from self._more(len(alike) - _NAMES)

    def _targets(self, targets: tuple[str, ...]) -> str:
        found = some_of(map(shown, targets), _LISTED, self.language)
        return found or self.language.say("not found")

    def _findings(self, title: Message, findings: tuple[Finding, ...]) -> Iterator[str]:
        if not findings:
            return
        yield from self._section(title)
        for finding in findings[:_CHANGES]:
            head = f"{self.language.of(finding.title)}: {shown(self.language.of(finding.subject))} [{finding.code}]"
            yield from wrapped(head, "    ", "* ")
        yield from self._more(len(findings) - _CHANGES)


def _alike(flips: Iterable[Flip]) -> list[list[Flip]]:
    """Flips with the same verdicts and causes; those of most pairs first."""
    found: dict[tuple[object, ...], list[Flip]] = {}
    for flip in flips:
        key = (
            flip.before,
            flip.after,
            flip.allowed_before,
            flip.allowed_after,
            flip.family,
            flip.because,
            flip.together,
        )
        found.setdefault(key, []).append(flip)
    return sorted(found.values(), key=lambda same: -sum(flip.pairs for flip in same))


_ORDER = (Reachability.UNREACHABLE, Reachability.UNKNOWN, Reachability.PARTIAL, Reachability.REACHABLE)


def _better(flip: Flip) -> bool:
    """Whether more gets there than before, as far as one word tells."""
    if flip.before is not flip.after:
        return _ORDER.index(flip.after) > _ORDER.index(flip.before)
    return _ports(flip.allowed_after) >= _ports(flip.allowed_before)


def _less(allowed: Allowed, taken: Allowed) -> Allowed:
    """What one allows and the other does not."""
    return Allowed(
        bool(allowed.icmp and not taken.icmp),
        without(allowed.tcp, taken.tcp.ranges),
        without(allowed.udp, taken.udp.ranges),
    )


def _ports(allowed: Allowed) -> int:
    ranges = (*allowed.tcp.ranges, *allowed.udp.ranges)
    return sum(high - low + 1 for low, high in ranges)
