"""What `diag history` and `diag baseline` say on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from rich.cells import cell_len

from diag.model.finding import Severity
from diag.model.history import Baseline, Kept
from diag.model.message import Message, say
from diag.model.reasons import Reachability
from diag.report.findings_view import SEVERITIES
from diag.report.history_json import severities, written
from diag.report.language import Language
from diag.report.shown import shown

_VERDICTS: dict[Reachability, Message] = {
    Reachability.REACHABLE: say("reachable"),
    Reachability.PARTIAL: say("partial"),
    Reachability.UNREACHABLE: say("unreachable"),
    Reachability.UNKNOWN: say("unknown"),
}
_COUNTS = (*_VERDICTS.values(), say("errors"), say("warnings"), say("notes"))
_WORDS = (1, 2)
"""Columns of words; the last is another one, the others are of numbers."""


def list_text(entries: Sequence[Kept], baseline: Baseline | None, language: Language) -> str:
    """A line for each snapshot, the oldest first."""
    if not entries:
        return language.say("There is no snapshot yet.")
    heads = (say("id"), say("captured"), say("host"), *_COUNTS, say("KiB"), say("state"))
    rows = [
        (
            str(entry.id),
            _time(entry),
            shown(entry.record.host, 24),
            *_counts(entry),
            f"{entry.size / 1024:.1f}",
            ", ".join(_state(entry, baseline, language)),
        )
        for entry in entries
    ]
    return "\n".join(_table([tuple(map(language.of, heads)), *rows]))


def show_text(entry: Kept, baseline: Baseline | None, language: Language) -> str:
    """One snapshot: its counts, its findings, and the expectations that failed."""
    return "\n".join(_shown(entry, baseline, language))


def trend_text(entries: Sequence[Kept], language: Language) -> str:
    """The counts of each snapshot, and below it the findings that came (+) and went (-) since the one before."""
    if not entries:
        return language.say("There is no snapshot yet.")
    rows = [(str(entry.id), _time(entry), shown(entry.record.host, 24), *_counts(entry)) for entry in entries]
    heads = tuple(map(language.of, (say("id"), say("captured"), say("host"), *_COUNTS)))
    head, *lines = _table([heads, *rows])
    texts = [head]
    before: set[tuple[str, str]] | None = None
    for entry, line in zip(entries, lines, strict=True):
        texts.append(line)
        keys = {note.key for note in entry.record.findings}
        if before is not None:
            texts += [f"    + {_finding(key)}" for key in sorted(keys - before)]
            texts += [f"    - {_finding(key)}" for key in sorted(before - keys)]
        before = keys
    return "\n".join(texts)


def baseline_text(baseline: Baseline, entry: Kept, language: Language) -> str:
    """Which snapshot it is, and what was accepted with it."""
    parts = {"id": entry.id, "time": _time(entry), "host": shown(entry.record.host)}
    lines = [language.say("The baseline is snapshot {id} of {host}, captured {time}.", **parts)]
    if not baseline.by_hand:
        lines.append(language.say("Nobody chose it: it is the oldest one."))
    number = len(baseline.accepted)
    if number:
        lines.append(language.plural("{n} finding was accepted:", "{n} findings were accepted:", number))
    else:
        lines.append(language.say("No finding was accepted."))
    return "\n".join([*lines, *(f"  {_finding(key)}" for key in sorted(baseline.accepted))])


def _shown(entry: Kept, baseline: Baseline | None, language: Language) -> Iterator[str]:
    record = entry.record
    parts = {"id": entry.id, "time": _time(entry), "host": shown(record.host)}
    yield language.say("Snapshot {id} of {host}, captured {time}.", **parts)
    for state in _state(entry, baseline, language):
        yield f"  {state}"
    for reachability, word in _VERDICTS.items():
        yield f"  {language.of(word)}: {record.verdicts.get(reachability, 0)}"
    for note in record.findings:
        yield f"  {language.of(SEVERITIES[note.severity][2])}: {_finding(note.key)}"
    if not record.findings:
        none = language.say("no findings")
        yield f"  {none}"
    for expectation in record.failed:
        failed = language.say("failed: {expectation}", expectation=shown(expectation))
        yield f"  {failed}"
    if entry.damage:
        damaged = language.say("damaged: {why}", why=shown(entry.damage))
        yield f"  {damaged}"


def _finding(key: tuple[str, str]) -> str:
    code, subject = key
    return f"{shown(code, 80)} {shown(subject, 200)}"


def _state(entry: Kept, baseline: Baseline | None, language: Language) -> Iterator[str]:
    if entry.damage:
        yield language.say("damaged")
    else:
        yield language.say("healthy") if entry.record.healthy else language.say("not healthy")
    if baseline is not None and baseline.id == entry.id:
        yield language.say("baseline")


def _counts(entry: Kept) -> tuple[str, ...]:
    verdicts = (str(entry.record.verdicts.get(reachability, 0)) for reachability in _VERDICTS)
    found = severities(entry)
    assert list(found) == [Severity.ERROR, Severity.WARNING, Severity.INFO]
    return (*verdicts, *map(str, found.values()))


def _time(entry: Kept) -> str:
    """When it was captured, in UTC as the bundle says it; else when it was stored."""
    text = entry.record.captured_at or written(entry.record.written_at)
    try:
        return datetime.fromisoformat(text).strftime("%Y-%m-%d %H:%M:%S")
    except ValueError:
        return shown(text, 24)


def _table(rows: Iterable[tuple[str, ...]]) -> list[str]:
    """Columns as wide as their content."""
    cells = list(rows)
    widths = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]
    last = len(widths) - 1
    return [
        "  ".join(
            text + blank if number in (*_WORDS, last) else blank + text
            for number, text in enumerate(row)
            for blank in [" " * (widths[number] - cell_len(text))]
        ).rstrip()
        for row in cells
    ]
