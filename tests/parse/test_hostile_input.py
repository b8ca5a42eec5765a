"""No parser raises, whatever the bytes; a cut file gives a gap or the same facts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diag.bundle.reader import read_bundle
from diag.model.address import Family
from diag.model.bundle import Bundle
from diag.model.netfilter import Origin, TableFamily
from diag.parse.bridge_ports import parse_bridge_json, parse_bridge_text
from diag.parse.docker_objects import parse_containers, parse_engine, parse_networks
from diag.parse.ipset import parse_ipset
from diag.parse.iptables_save import parse_iptables_save
from diag.parse.links import parse_links_json, parse_links_text
from diag.parse.neighbours import parse_neighbours
from diag.parse.nft_json import parse_nft_json
from diag.parse.resolver_files import parse_hosts, parse_resolv_conf
from diag.parse.result import Parsed
from diag.parse.routes import parse_routes_json, parse_routes_text
from diag.parse.rules import parse_rules_json, parse_rules_text
from diag.parse.snapshot import build_snapshot
from diag.parse.sockets import parse_sockets
from diag.parse.sysctl import parse_sysctl
from tests.loading import bundle_path

PARSERS: dict[str, Callable[[bytes], Parsed[Any]]] = {
    "ip-addr.json": lambda d: parse_links_json(d, "host/ip-addr.json"),
    "ip-addr.txt": lambda d: parse_links_text(d, "host/ip-addr.txt"),
    "ip-route.json": lambda d: parse_routes_json(d, "host/ip-route.json", Family.IPV4),
    "ip-route.txt": lambda d: parse_routes_text(d, "host/ip-route.txt", Family.IPV4),
    "ip-rule.json": lambda d: parse_rules_json(d, "host/ip-rule.json", Family.IPV4),
    "ip-rule.txt": lambda d: parse_rules_text(d, "host/ip-rule.txt", Family.IPV4),
    "ip-neigh.json": lambda d: parse_neighbours(d, "host/ip-neigh.json"),
    "ip-neigh.txt": lambda d: parse_neighbours(d, "host/ip-neigh.txt"),
    "bridge-link.json": lambda d: parse_bridge_json(d, "host/bridge-link.json"),
    "brctl-show.txt": lambda d: parse_bridge_text(d, "host/brctl-show.txt"),
    "iptables-save.txt": lambda d: parse_iptables_save(
        d, "host/iptables-save.txt", TableFamily.IP, Origin.IPTABLES_NFT
    ),
    "nft-ruleset.json": lambda d: parse_nft_json(d, "host/nft-ruleset.json"),
    "ipset.txt": lambda d: parse_ipset(d, "host/ipset.txt"),
    "sysctl.txt": lambda d: parse_sysctl(d, "host/sysctl.txt"),
    "proc-net-tcp.txt": lambda d: parse_sockets(d, "host/proc-net-tcp.txt", "tcp"),
    "hosts": lambda d: parse_hosts(d, "host/hosts"),
    "resolv.conf": lambda d: parse_resolv_conf(d, "host/resolv.conf"),
    "networks.json": lambda d: parse_networks(d, "docker/networks.json"),
    "containers.json": lambda d: parse_containers(d, "docker/containers.json"),
}

KEYS = (
    *("ifname", "dst", "addr_info", "local", "priority", "src", "Name", "Id", "IPAM", "Config", "State", "rule"),
    *("NetworkSettings", "Networks", "Ports", "HostConfig", "nftables", "chain", "expr", "match", "family"),
    *("table", "name", "hook", "linkinfo", "flags", "nexthops", "dev", "gateway", "metainfo", "set", "elem"),
)

SEED = read_bundle(str(bundle_path("seed-d20")))
NFT = read_bundle(str(bundle_path("user_rules-d29nft")))


def samples(name: str) -> list[bytes]:
    return [data for bundle in (SEED, NFT) for path, data in bundle.files.items() if path.rpartition("/")[2] == name]


@pytest.mark.parametrize("name", PARSERS)
@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=300))
def test_any_bytes(name: str, data: bytes) -> None:
    PARSERS[name](data)


@pytest.mark.parametrize("name", [n for n in PARSERS if n.endswith(".json")])
@settings(max_examples=60, deadline=None)
@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(KEYS),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_any_json(name: str, value: object) -> None:
    import json

    PARSERS[name](json.dumps([value]).encode())
    PARSERS[name](json.dumps({"nftables": [value, {"rule": value}, {"chain": value}, {"set": value}]}).encode())


@pytest.mark.parametrize(
    "name", ["ip-addr.json", "ip-route.json", "iptables-save.txt", "nft-ruleset.json", "containers.json"]
)
def test_a_cut_file_says_so(name: str) -> None:
    data = max(samples(name), key=len)
    whole = PARSERS[name](data)
    for position in range(1, len(data), max(1, len(data) // 60)):
        cut = PARSERS[name](data[:position])
        if name == "iptables-save.txt" and data[:position].count(b"# Completed") == data[:position].count(
            b"# Generated"
        ):
            continue  # between two tables: nothing tells that another one followed
        assert cut.gaps or cut.value == whole.value, position


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_a_bundle_with_damaged_files_still_gives_a_snapshot(data: st.DataObject) -> None:
    files = dict(SEED.files)
    for path in data.draw(st.lists(st.sampled_from(sorted(files)), max_size=4, unique=True)):
        kept = data.draw(st.integers(0, len(files[path])))
        files[path] = files[path][:kept] + data.draw(st.binary(max_size=8))
    for path in data.draw(st.lists(st.sampled_from(sorted(files)), max_size=4, unique=True)):
        del files[path]
    build_snapshot(Bundle("damaged", files))


def test_engine_facts_of_any_quality() -> None:
    assert parse_engine(None, b"[1, 2").version == ""
    assert parse_engine(b'{"Server": {"Version": "29.0"}}', None).version == "29.0"
