"""What containers can call each other, as a report shows it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, compress
from operator import attrgetter

from msgspec import Struct

from diag.model.analysis import Analysis, MissingNames, NameAnswer, NameScope
from diag.model.message import Message, say
from diag.model.snapshot import Snapshot
from diag.report.distinct_answers import distinct_answers
from diag.report.language import Language
from diag.report.shown import shown
from diag.report.words import LARGE

SHARED = say("Each resolves these names, except those that are its alone.")


class NameRow(Struct, frozen=True):
    """A name and what it gives."""

    name: str
    addresses: str
    via: str
    explanation: str


class CallerView(Struct, frozen=True):
    """A container, and the names that it resolves beside those of its row."""

    container: str
    own: tuple[NameRow, ...]


class ScopeView(Struct, frozen=True):
    """What one container can call others, or several on the same networks."""

    callers: tuple[CallerView, ...]
    resolver: str
    note: str
    """How several callers share the names; empty for one."""
    names: tuple[NameRow, ...]
    missing: tuple[NameRow, ...]

    @property
    def containers(self) -> str:
        return ", ".join(caller.container for caller in self.callers)


def scope_views(analysis: Analysis, language: Language) -> Iterator[ScopeView]:
    """One for each container; on a large host those on the same networks share one."""
    if len(analysis.snapshot.containers) <= LARGE:
        yield from (_single(scope, language) for scope in analysis.names)
        return
    alike: dict[tuple[object, ...], list[_Scope]] = {}
    kinds = _kinds(distinct_answers(analysis.names))
    networks = {c.name: frozenset(e.network for e in c.endpoints) for c in analysis.snapshot.containers}
    for scope in analysis.names:
        missing = tuple((m.names, m.count, _explained(m, scope, say("it"))) for m in scope.missing)
        key = (networks.get(scope.container), scope.resolver, missing)
        alike.setdefault(key, []).append(_Scope(scope, _by_kind(scope, kinds)))
    for scopes in alike.values():
        yield from _shared(scopes, analysis.snapshot, language)


class _Scope(Struct, frozen=True):
    scope: NameScope
    answers: dict[int, NameAnswer]
    """By their kinds."""


def _kinds(answers: dict[int, NameAnswer]) -> dict[int, int]:
    """A number for each answer, the same for those that a report does not tell apart."""
    numbers: dict[tuple[object, ...], int] = {}
    return {
        key: numbers.setdefault((answer.name, answer.addresses, answer.via, answer.target), len(numbers))
        for key, answer in answers.items()
    }


def _by_kind(scope: NameScope, kinds: dict[int, int]) -> dict[int, NameAnswer]:
    return dict(zip(map(kinds.__getitem__, map(id, scope.names)), scope.names, strict=True))


def _shared(scopes: list[_Scope], snapshot: Snapshot, language: Language) -> Iterator[ScopeView]:
    """One view of those that :data:`SHARED` is true of, and one of each other."""
    if len(scopes) == 1:
        yield _single(scopes[0].scope, language)
        return
    times = Counter(chain.from_iterable(some.answers for some in scopes))
    answers: dict[int, NameAnswer] = {}
    for some in scopes:
        answers.update(some.answers)
    shared = {kind: answer for kind, answer in answers.items() if times[kind] > 1}
    of_target: dict[str, list[int]] = {}
    for kind, answer in shared.items():
        of_target.setdefault(answer.target, []).append(kind)
    fits = [_lacks_its_own_only(some, shared, of_target.get(some.scope.container, []), snapshot) for some in scopes]
    if all(fits):
        yield _folded(scopes, shared, language)
        return
    yield from (_single(some.scope, language) for some in compress(scopes, (not fit for fit in fits)))
    if any(fits):
        yield from _shared(list(compress(scopes, fits)), snapshot, language)


def _lacks_its_own_only(some: _Scope, shared: dict[int, NameAnswer], own: list[int], snapshot: Snapshot) -> bool:
    """`own` are the shared answers that lead to the container itself."""
    container = snapshot.container(some.scope.container)
    ips = {str(ip) for e in (container.endpoints if container else ()) for ip in (e.ip, e.ip6)}
    alone = {kind for kind in own if ips.issuperset(shared[kind].addresses)}
    return shared.keys() - some.answers.keys() == alone


def _folded(scopes: list[_Scope], shared: dict[int, NameAnswer], language: Language) -> ScopeView:
    first = scopes[0].scope
    callers = tuple(
        CallerView(
            shown(some.scope.container),
            _sorted_rows((some.answers[kind] for kind in some.answers.keys() - shared), language),
        )
        for some in scopes
    )
    names = _sorted_rows(shared.values(), language)
    missing = tuple(_missing(m, _explained(m, first, say("each of them")), language) for m in first.missing)
    return ScopeView(callers, shown(first.resolver), language.of(SHARED) if names else "", names, missing)


def _single(scope: NameScope, language: Language) -> ScopeView:
    callers = (CallerView(shown(scope.container), ()),)
    missing = tuple(_missing(m, m.explanation, language) for m in scope.missing)
    return ScopeView(callers, shown(scope.resolver), "", _rows(scope.names, language), missing)


def _explained(missing: MissingNames, scope: NameScope, subject: str) -> str:
    """The explanation, with `subject` for the container's name where it speaks of that."""
    text = missing.explanation
    if isinstance(text, Message) and text.parts.get("caller") == scope.container:
        return say(text.template, **{**text.parts, "caller": subject})
    return text


def _missing(missing: MissingNames, explanation: str, language: Language) -> NameRow:
    """Names that are not found for the same reason share a row."""
    more = missing.count - len(missing.names)
    names = ", ".join(missing.names)
    if more:
        names = language.say("{names} and {n} more", names=names, n=more)
    reason = missing.reason.value if missing.reason else ""
    return NameRow(shown(names, 2000), "", reason, shown(language.of(explanation)))


def _rows(answers: Iterable[NameAnswer], language: Language) -> tuple[NameRow, ...]:
    return tuple(_row(answer, language) for answer in answers)


def _sorted_rows(answers: Iterable[NameAnswer], language: Language) -> tuple[NameRow, ...]:
    return _rows(sorted(answers, key=attrgetter("name")), language)


def _row(answer: NameAnswer, language: Language) -> NameRow:
    via = answer.via.value if answer.via else answer.reason.value if answer.reason else ""
    return NameRow(shown(answer.name), ", ".join(answer.addresses), via, shown(language.of(answer.explanation)))
