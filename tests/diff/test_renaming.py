"""A restart of everything is no change, whatever the new ids, veths and addresses are."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from diag.bundle.reader import read_bundle
from diag.diff.compare import compare
from diag.diff.matching import match
from diag.diff.renaming import Renaming
from diag.model.docker import Container
from diag.model.snapshot import Snapshot
from diag.parse.snapshot import build_snapshot
from diag.reach.analysis import analyse
from tests.diff.scrambled import scrambled
from tests.hosts import Host
from tests.loading import analysis_of, bundle_path, snapshot_of

CAPTURES = ("seed_connected-d20", "ipv6-d20", "published-d29nft", "internal_icc-d29", "stopped-d28", "macvlan-d29")


def restarted(name: str, seed: int) -> Snapshot:
    """A capture after a restart of all containers."""
    return build_snapshot(scrambled(read_bundle(str(bundle_path(name))), Random(seed)))  # noqa: S311  no secret


@pytest.mark.apart
@pytest.mark.parametrize("name", CAPTURES)
@given(seed=st.integers(0, 1 << 32))
@settings(max_examples=2, deadline=None, derandomize=True, phases=(Phase.generate,))
def test_other_names_are_no_change(name: str, seed: int) -> None:
    found = compare(analysis_of(name), analyse(restarted(name, seed)))
    assert [(c.subject, c.text) for c in found.changes] == []
    assert found.flips == ()
    assert found.names == ()
    assert found.restarted


def test_an_aligned_snapshot_has_the_old_names() -> None:
    old = snapshot_of("seed_connected-d20")
    new = restarted("seed_connected-d20", 1)
    assert set(new.netns) != set(old.netns)
    aligned = Renaming(old, new, match(old, new)).aligned()
    assert set(aligned.netns) == set(old.netns)
    for name, netns in old.netns_of.items():
        assert aligned.netns_of[name] == netns
    links = {link.name: (link.index, link.peer_index) for link in old.netns["host"].links or ()}
    assert {link.name: (link.index, link.peer_index) for link in aligned.netns["host"].links or ()} == links


def compose(container: Container, name: str, service: str) -> Container:
    return replace(container, id=f"{name}-id", name=name, compose_project="shop", compose_service=service)


def test_a_container_of_compose_keeps_its_place_under_another_name() -> None:
    snapshot = Host().network("a", "10.1.0.0/24").container("x", "a").container("y", "a").snapshot()
    x, y = snapshot.containers
    old = replace(snapshot, containers=(compose(x, "shop_web_1", "web"), compose(y, "shop_web_2", "web")))
    new = replace(snapshot, containers=(compose(x, "shop-web-1", "web"), compose(y, "shop-web-2", "web")))
    pairs = {(a.name, b.name) for a, b in match(old, new).containers}
    assert pairs == {("shop_web_1", "shop-web-1"), ("shop_web_2", "shop-web-2")}
