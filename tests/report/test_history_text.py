"""What `diag history` and `diag baseline` say."""

from __future__ import annotations

from diag.model.finding import Severity
from diag.model.history import Baseline, FindingNote, Kept, Record
from diag.model.reasons import Reachability
from diag.report.history_text import baseline_text, list_text, show_text, trend_text
from diag.report.language import ENGLISH

DOWN = FindingNote("forwarding-disabled", Severity.ERROR, "net.ipv4.ip_forward")
ODD = FindingNote("name-scope", Severity.INFO, "w\u202eeb")
VERDICTS = {Reachability.REACHABLE: 546, Reachability.UNREACHABLE: 9000}
FINE = Kept(9, 120_000, Record("web-1", "2026-11-24T04:00:00Z", VERDICTS, (), (), True, 1.8e9))
BAD = Kept(10, 40_000, Record("web-1", "2026-11-24T05:00:00Z", {}, (DOWN, ODD), ("reach[2]",), False, 1.8e9))
BROKEN = Kept(11, 3, Record("", ""), damage="its beginning is missing")
BASELINE = Baseline(9, frozenset({DOWN.key}), 1.8e9, by_hand=True)


def test_the_list() -> None:
    heads, *rows = list_text((FINE, BAD, BROKEN), BASELINE, ENGLISH).splitlines()
    assert heads.split() == [
        *("id", "captured", "host", "reachable", "partial", "unreachable", "unknown"),
        *("errors", "warnings", "notes", "KiB", "state"),
    ]
    assert rows[0].endswith("   0      0  117.2  healthy, baseline")
    assert [row.split()[:4] for row in rows[:2]] == [
        ["9", "2026-11-24", "04:00:00", "web-1"],
        ["10", "2026-11-24", "05:00:00", "web-1"],
    ]
    assert [row[heads.index("host") :].split()[1:] for row in rows[:2]] == [
        ["546", "0", "9000", "0", "0", "0", "0", "117.2", "healthy,", "baseline"],
        ["0", "0", "0", "0", "1", "0", "1", "39.1", "not", "healthy"],
    ]
    assert rows[2].startswith("11  1970-01-01 00:00:00")
    assert rows[2].endswith("damaged")


def test_one_snapshot() -> None:
    lines = show_text(BAD, None, ENGLISH).splitlines()
    assert lines[:2] == ["Snapshot 10 of web-1, captured 2026-11-24 05:00:00.", "  not healthy"]
    assert lines[-3:] == [
        "  error: forwarding-disabled net.ipv4.ip_forward",
        "  note: name-scope w‹U+202E›eb",
        "  failed: reach[2]",
    ]
    assert show_text(BROKEN, None, ENGLISH).endswith("damaged: its beginning is missing")


def test_the_trend_says_what_came_and_went() -> None:
    lines = trend_text((FINE, BAD, FINE), ENGLISH).splitlines()
    assert [line.strip() for line in lines if line.startswith("   ")] == [
        "+ forwarding-disabled net.ipv4.ip_forward",
        "+ name-scope w‹U+202E›eb",
        "- forwarding-disabled net.ipv4.ip_forward",
        "- name-scope w‹U+202E›eb",
    ]
    assert len(lines) == 8


def test_the_baseline() -> None:
    assert baseline_text(BASELINE, FINE, ENGLISH).splitlines() == [
        "The baseline is snapshot 9 of web-1, captured 2026-11-24 04:00:00.",
        "1 finding was accepted:",
        "  forwarding-disabled net.ipv4.ip_forward",
    ]
    assert baseline_text(Baseline(9), FINE, ENGLISH).splitlines()[1:] == [
        "Nobody chose it: it is the oldest one.",
        "No finding was accepted.",
    ]


def test_an_empty_folder() -> None:
    assert list_text((), None, ENGLISH) == trend_text((), ENGLISH) == "There is no snapshot yet."


def test_what_is_no_time_is_shown_as_it_is() -> None:
    odd = Kept(1, 1, Record("h", "a\x1b[31m"))
    assert "a‹U+001B›[31m" in list_text((odd,), None, ENGLISH)
