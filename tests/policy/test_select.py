"""Selectors: which containers they fit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from diag.policy.model import Selector
from diag.policy.select import Members, exactly, fits
from tests.hosts import Host
from tests.loading import snapshot_of

HOST = (
    Host()
    .network("app", "10.1.0.0/24")
    .network("db", "10.2.0.0/24")
    .container("web-1", "app")
    .container("web-2", "app", "db")
    .container("pg", "db")
    .container("alone", mode="none")
    .container("agent", mode="host")
)
HOST = HOST.container("side", mode="container:web-1")
LABELS = {
    "web-1": ("shop", "web", {"tier": "front"}),
    "web-2": ("shop", "web", {"tier": "front", "x": ""}),
    "pg": ("shop", "db", {"tier": "data"}),
    "agent": ("ops", "agent", {}),
}


def members(*, labels: bool = True) -> Members:
    snapshot = HOST.snapshot()
    containers = tuple(
        replace(
            c,
            compose_project=LABELS[c.name][0],
            compose_service=LABELS[c.name][1],
            labels=tuple(LABELS[c.name][2].items()) if labels else (("com.docker.compose.project", "x"),),
        )
        if c.name in LABELS
        else c
        for c in snapshot.containers
    )
    return Members(replace(snapshot, containers=containers))


SELECTED = {
    Selector("web-1"): {"web-1"},
    Selector("nothing"): set(),
    Selector("web-*"): {"web-1", "web-2"},
    Selector("web-[2-9]"): {"web-2"},
    Selector("WEB-1"): set(),
    Selector("*"): {"web-1", "web-2", "pg", "alone", "agent", "side"},
    Selector("@host"): {"@host"},
    Selector("@world"): {"@world"},
    Selector(project="shop"): {"web-1", "web-2", "pg"},
    Selector(project="shop", service="web"): {"web-1", "web-2"},
    Selector(project="*", service="a*"): {"agent"},
    Selector(network="app"): {"web-1", "web-2", "side"},
    Selector(network="[ad]*"): {"web-1", "web-2", "pg", "side"},
    Selector(network="host"): {"agent"},
    Selector(network="none"): {"alone"},
    Selector(network="db", project="shop", service="web"): {"web-2"},
    Selector(label="tier"): {"web-1", "web-2", "pg"},
    Selector(label="tier=front"): {"web-1", "web-2"},
    Selector(label="tier=f*"): {"web-1", "web-2"},
    Selector(label="tier="): set(),
    Selector(label="x="): {"web-2"},
    Selector("web-*", label="x"): {"web-2"},
}


@pytest.mark.parametrize("selector", SELECTED, ids=lambda s: s.words)
def test_what_a_selector_fits(selector: Selector) -> None:
    found = members()
    assert set(found.listed(found.one(selector))) == SELECTED[selector]


def test_several_join() -> None:
    found = members()
    assert found.listed(found.any_of([Selector("pg"), Selector("@world"), Selector("web-1")])) == (
        "pg",
        "web-1",
        "@world",
    )
    assert found.any_of([]) == 0


def test_what_fits_too_few() -> None:
    found = members()
    assert found.missing([Selector("pg"), Selector("web-*", min=2)]) == ""
    assert found.missing([Selector("web-*", min=3)]) == "web-* fits 2 of at least 3 containers"
    assert found.missing([Selector("pg"), Selector("x*")]) == "no container fits x*"
    assert found.missing([Selector(label="y", network="app")]) == "no container fits label y network app"
    assert "diag capture --label KEY" in members(labels=False).missing([Selector(label="tier")])


def test_a_stopped_container_is_on_its_network() -> None:
    found = Members(snapshot_of("stopped-d28"))
    stopped = [c.name for c in snapshot_of("stopped-d28").containers if not c.running and c.endpoints]
    assert stopped
    assert all(found.bit[name] & found.one(Selector(network="na")) for name in stopped)


@given(st.text(min_size=1), st.text())
def test_exactly_fits_that_text_only(text: str, other: str) -> None:
    assert fits(exactly(text), text)
    assert fits(exactly(text), other) == (text == other)
    assert not exactly(text).startswith("@")
