"""JUnit XML: by Jenkins' schema, read back by another library, and whole whatever the host says."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from junitparser import JUnitXml
from msgspec.structs import replace
from xmlschema import XMLSchema

from diag.findings.registry import CHECKS
from diag.model.health import Expectation, Health
from diag.report.junit import junit_xml
from tests.healths import found, full, health_of, hostile_health
from tests.loading import EACH_CAPTURE

SCHEMA = XMLSchema(Path(__file__).parent.parent / "schemas/junit-10.xsd")


def cases(health: Health) -> dict[str, str]:
    """Name of each test case to `Failure` or `Error`, or nothing where it passed."""
    text = junit_xml(health)
    SCHEMA.validate(text.decode())
    document = JUnitXml.fromstring(text.decode().partition("\n")[2])
    made = {
        case.name: " ".join(type(result).__name__ for result in case.result) for suite in document for case in suite
    }
    assert len(made) == document.tests == sum(suite.tests for suite in document)
    return made


@pytest.mark.parametrize("name", EACH_CAPTURE)
def test_every_check_is_a_case(name: str) -> None:
    health = health_of(name)
    made = cases(health)
    assert [text.partition(":")[0] for text in made] == [check.code for check in CHECKS]
    assert (not any(made.values())) is health.healthy


def test_what_is_wrong_fails() -> None:
    made = cases(full())
    results = {name.partition(":")[0]: result for name, result in made.items()}
    assert {name: result for name, result in results.items() if name not in {check.code for check in CHECKS}} == {
        "reach[0]": "",
        "no way": "Failure",
        "reach[2]": "Error",
        "accepted-code": "",
        "one-code": "Failure",
        "three-code": "",
        "two-code": "Failure",
        "no verdict is another than in the baseline": "Failure",
    }
    text = junit_xml(full()).decode()
    for words in (
        "Title of one-code: web; other",
        "warning (accepted): web: It is so.",
        "fix: docker network connect app web",
        "web to db and 1 more: was reachable (icmp; tcp all), is unreachable (none)",
        "because: A rule drops web.",
        "p.yaml:7",
    ):
        assert words in text


def test_hostile_names_stay_xml() -> None:
    health = hostile_health()
    text = junit_xml(health).decode()
    SCHEMA.validate(text)
    assert "]]&gt;" in text
    assert "‹U+0000›" in text


@given(st.text(st.characters(), max_size=40))
def test_any_text_is_xml(text: str) -> None:
    health = health_of("seed-d20")
    expectation = Expectation(text, text, False, (text, text), 1, text, file=text)
    analysis = replace(health.analysis, findings=(found("a-code", text, text=text),))
    made = junit_xml(replace(health, analysis=analysis, expectations=(expectation,)))
    JUnitXml.fromstring(made.decode().partition("\n")[2])
