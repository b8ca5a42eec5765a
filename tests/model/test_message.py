"""Messages: plain texts to everybody, with their parts for those who translate."""

from __future__ import annotations

import json

from diag.model.message import SEMICOLON, Listing, Message, clauses, listed, said, say, sentences, templates
from diag.report.json_text import on_lines, on_one_line


def test_a_message_is_its_english_text() -> None:
    why = say("rule {number} of {chain} drops it", number=3, chain="DOCKER-USER")
    assert why == "rule 3 of DOCKER-USER drops it"
    assert why in {"rule 3 of DOCKER-USER drops it"}
    assert (why.template, why.parts) == ("rule {number} of {chain} drops it", {"number": 3, "chain": "DOCKER-USER"})


def test_braces_of_a_template_without_parts_stand_for_themselves() -> None:
    assert say("{{json .}}") == "{{json .}}"


def test_parts_are_never_templates() -> None:
    name = "{b.__class__} {0} {a}"
    inner = say("{a} is down", a=name)
    assert inner == f"{name} is down"
    assert say("{why}: {a}", why=inner, a=name) == f"{name} is down: {name}"


def test_rows_keep_their_texts() -> None:
    row = listed((say("one"), "two"), SEMICOLON)
    assert (row, row.separator, row.texts) == ("one; two", "; ", ("one", "two"))
    assert listed(()) == ""
    assert clauses((say("one"), say("two"), say("three"))) == "one, two, three"
    assert sentences((say("One."), "", say("Two."))) == "One. Two."
    assert sentences(()) == ""
    assert isinstance(sentences((say("One."),)), Message)


def test_what_an_error_says_stays_a_message() -> None:
    assert isinstance(said(ValueError(say("{option} has no value", option="-s"))), Message)
    assert said(ValueError("plain")) == "plain"
    assert said(KeyError("x")) == "'x'"
    assert said(ValueError()) == ""


def test_json_has_their_text() -> None:
    found = {"a": say("one"), "b": [listed(("x", "y"))], "c": Listing("z")}
    wanted = {"a": "one", "b": ["x, y"], "c": "z"}
    assert json.loads(json.dumps(found)) == json.loads(on_lines(found)) == json.loads(on_one_line(found)) == wanted


def test_templates_are_without_what_the_host_says() -> None:
    inner = say("{name} is down", name="eth0 was not captured")
    assert list(templates(listed([say("{a}: {b}", a="x", b=inner), "plain"]))) == ["{a}: {b}", "{name} is down"]
