"""Sets of containers as few selectors."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from diag.policy.cover import Cover
from diag.policy.model import Selector
from diag.policy.select import Members
from tests.hosts import Host

NAMES = ("a", "b", "c", "d", "e", "f")
SERVICES = {"a": ("p", "x"), "b": ("p", "x"), "c": ("p", "y"), "d": ("q", "x")}
NETWORKS = {"a": ("m",), "b": ("m", "n"), "c": ("n",), "d": ("n",), "e": ("m",)}


def members() -> Members:
    host = Host().network("m", "10.1.0.0/24").network("n", "10.2.0.0/24")
    for name in NAMES:
        host = host.container(name, *NETWORKS.get(name, ()), mode="" if name in NETWORKS else "none")
    snapshot = host.snapshot()
    return Members(
        replace(
            snapshot,
            containers=tuple(
                replace(
                    c,
                    compose_project=SERVICES.get(c.name, ("", ""))[0],
                    compose_service=SERVICES.get(c.name, ("", ""))[1],
                )
                for c in snapshot.containers
            ),
        )
    )


MEMBERS = members()
COVER = Cover(MEMBERS)


@given(st.integers(0, (1 << len(MEMBERS.names)) - 1))
def test_they_fit_exactly_these(mask: int) -> None:
    selectors = COVER.of(mask)
    assert MEMBERS.any_of(selectors) == mask
    assert len(selectors) <= mask.bit_count()


def of(*names: str) -> tuple[Selector, ...]:
    return COVER.of(MEMBERS.of(names))


def test_what_stands_for_others() -> None:
    assert of(*NAMES) == (Selector("*"),)
    assert of("a", "b", "c") == (Selector(project="p"),)
    assert of("a", "b") == (Selector(project="p", service="x"),)
    assert of("b", "c", "d") == (Selector(network="n"),)
    assert of("c") == (Selector(project="p", service="y"),)
    assert of("e", "@world") == (Selector("@world"), Selector("e"))
    assert of("a", "e", "b", "d") == (Selector(network="m"), Selector(project="q", service="x"))


def test_cliques() -> None:
    bit = {name: position for position, name in enumerate(MEMBERS.names)}
    everyone = {bit[name]: MEMBERS.containers & ~(1 << bit[name]) for name in NAMES}
    assert list(COVER.cliques(everyone)) == ["m", "n"]
    everyone[bit["b"]] &= ~(1 << bit["c"])
    assert list(COVER.cliques(everyone)) == ["m"]
