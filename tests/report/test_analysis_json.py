"""Names as the JSON has them: for each container all of them, or beside those that many share."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

import jsonschema
import pytest

from diag.model.analysis import Analysis
from diag.names.resolver import Resolver
from diag.report import analysis_json
from diag.report.render import ReportFormat, render
from tests.hosts import Host
from tests.loading import EACH_CAPTURE, analysis_of
from tests.report.test_large import large


def document(analysis: Analysis) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(render(analysis, ReportFormat.JSON))
    return found


def resolved(scope: dict[str, Any], tables: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All that a container resolves, as the schema says."""
    found: dict[str, dict[str, Any]] = {name["name"]: name for name in scope["names"]}
    for place in scope["shared"]:
        for name in tables[place]["names"]:
            if name["name"] not in scope["without"]:
                found.setdefault(name["name"], name)
    return [found[name] for name in sorted(found)]


@pytest.mark.parametrize("name", ["large", *EACH_CAPTURE])
def test_shared_names_are_the_same_names(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    analysis = large() if name == "large" else analysis_of(name)
    whole = document(analysis)
    assert "shared_names" not in whole
    monkeypatch.setattr(analysis_json, "MOST_NAMES", -1)
    short = document(analysis)
    schema = json.loads(resources.files("diag.report").joinpath("schema/analysis.schema.json").read_text())
    jsonschema.validate(short, schema)
    assert [s["container"] for s in short["names"]] == [s["container"] for s in whole["names"]]
    for scope, expected in zip(short["names"], whole["names"], strict=True):
        assert resolved(scope, short["shared_names"]) == sorted(expected["names"], key=lambda found: found["name"])
        assert scope["missing"] == expected["missing"]


def test_containers_on_two_networks_share_what_is_on_each() -> None:
    host = Host().network("a", "10.1.0.0/24").network("b", "10.2.0.0/24")
    for number in range(4):
        host = host.container(f"a{number}", "a").container(f"b{number}", "b").container(f"both{number}", "a", "b")
    resolver = Resolver(host.snapshot())
    both, one, other = (resolver.scope(name) for name in ("both1", "a1", "b1"))
    assert [id(table) for table in both.shared] == [id(one.shared[0]), id(other.shared[0])]
    assert {name.name for name in both.names} >= {"a0", "a1", "b0", "b1", "both0", "both2"}
