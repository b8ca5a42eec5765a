"""The layout: what it admits, and that it is one with the real captures."""

from __future__ import annotations

from pathlib import Path

import pytest

from diag.bundle.layout import FACTS, NAMES, Scope, fact_of, is_layout_path
from diag.bundle.reader import read_bundle

CAPTURES = sorted((Path(__file__).parents[2] / "fixtures" / "captures").glob("*/bundle.tar.gz"))


@pytest.mark.parametrize(
    "path",
    [
        "manifest.json",
        "host/brctl-show.txt",
        "docker/networks.json",
        "containers/0da5e260a4b6/resolv.conf",
        "containers/my_app.web-1/nft-ruleset.txt",
        "netns/ingress_sbox/bridge-fdb.json",
        "netns/1-q3m9/ipset.txt",
    ],
)
def test_admits(path: str) -> None:
    assert is_layout_path(path)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "host",
        "host/",
        "host/networks.json",
        "host/web/hosts",
        "docker/ip-addr.json",
        "containers/hosts",
        "containers/../hosts",
        "containers/a b/hosts",
        "containers/-x/hosts",
        "containers/a/b/hosts",
        "netns/\x1b[31m/ip-addr.json",
        "/host/hosts",
    ],
)
def test_refuses(path: str) -> None:
    assert not is_layout_path(path)


def test_every_fact_is_admitted_where_it_is_captured() -> None:
    tops = {Scope.HOST: "host", Scope.ENGINE: "docker", Scope.CONTAINER: "containers", Scope.DOCKER_NETNS: "netns"}
    for fact in FACTS:
        for scope, top in tops.items():
            assert not fact.scope & scope or set(fact.files) <= NAMES[top]
        assert all(fact_of(f"host/{name}") is fact for name in fact.files)


@pytest.mark.parametrize("archive", CAPTURES, ids=lambda path: path.parent.name)
def test_real_captures_are_read_whole(archive: Path) -> None:
    bundle = read_bundle(str(archive))
    assert bundle.gaps == ()
    assert len(bundle.files) > 20
    assert {"host/ip-addr.json", "host/iptables-save.txt", "docker/containers.json"} <= bundle.files.keys()
