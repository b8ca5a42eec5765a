"""What a cron mail says of a difference: it fits 80 columns, and is short however much changed."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace

from diag.diff.compare import compare
from diag.model.difference import Difference
from diag.report.columns import COLUMNS, width
from diag.report.diff_json import diff_json
from diag.report.diff_text import diff_text
from diag.report.language import Language
from tests.hostile import hostile
from tests.loading import analysis_of


def seed() -> Difference:
    return compare(analysis_of("seed-d20"), analysis_of("seed_connected-d20"))


def everything_gone() -> Difference:
    """Of a host whose names are meant to harm."""
    found = hostile()
    return compare(found, replace(found, snapshot=replace(found.snapshot, containers=(), networks=()), groups=()))


@pytest.mark.parametrize("language", [Language(), Language("zh")], ids=["en", "zh"])
def test_it_fits_a_terminal_and_a_mail(language: Language) -> None:
    for found in (seed(), everything_gone(), Difference("", "")):
        lines = diff_text(found, language).splitlines()
        assert len(lines) < 150
        for line in lines:
            assert width(line) <= COLUMNS, line
            assert line.isprintable(), line


def test_it_opens_with_how_much_changed() -> None:
    written = diff_text(seed(), Language())
    assert written.startswith("4 changes. 16 ordered pairs have another verdict.\n")
    assert "+ container tomcat2: tomcat2 is new (running). It is on myBridge.\n" in written
    assert "- 12 ordered pairs: no more: tcp 8081\n" in written
    assert "    Because: container tomcat2: tomcat2 is new (running). It is on myBridge.\n" in written
    assert diff_text(Difference("", ""), Language()) == "Nothing changed."


def test_the_json_holds_all_of_it() -> None:
    found = seed()
    document = json.loads(diff_json(found))
    assert [change["text"] for change in document["changes"]] == [change.text for change in found.changes]
    assert sum(flip["pairs"] for flip in document["flips"]) == 16
    assert all(cause in document["changes"] for flip in document["flips"] for cause in flip["because"])
    assert document["nothing"] is False
    assert json.loads(diff_json(Difference("", "")))["nothing"] is True
