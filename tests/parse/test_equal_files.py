"""What equal files share: a second one gives what its parser makes of it, under its own name."""

from __future__ import annotations

from typing import Any

import pytest

from diag.bundle.reader import read_bundle
from diag.model.address import Family
from diag.model.netfilter import Origin, TableFamily
from diag.parse.bridge_ports import parse_bridge_json
from diag.parse.equal_files import EqualFiles
from diag.parse.fdb import parse_fdb
from diag.parse.ipset import parse_ipset
from diag.parse.iptables_save import parse_iptables_save
from diag.parse.links import parse_links_json
from diag.parse.neighbours import parse_neighbours
from diag.parse.nft_json import parse_nft_json
from diag.parse.resolver_files import parse_hosts, parse_resolv_conf
from diag.parse.routes import parse_routes_json
from diag.parse.rules import parse_rules_json
from diag.parse.sockets import parse_sockets
from diag.parse.sysctl import parse_sysctl
from tests.loading import bundle_path

BUNDLES = [read_bundle(str(bundle_path(name))) for name in ("user_rules-d20", "user_rules-d29nft", "overlay_A-d29")]
PARSERS: dict[str, tuple[Any, ...]] = {
    "bridge-fdb.json": (parse_fdb,),
    "bridge-link.json": (parse_bridge_json,),
    "hosts": (parse_hosts,),
    "ip-addr.json": (parse_links_json,),
    "ip-neigh.json": (parse_neighbours,),
    "ip-route.json": (parse_routes_json, Family.IPV4),
    "ip-rule.json": (parse_rules_json, Family.IPV4),
    "ipset.txt": (parse_ipset,),
    "iptables-save.txt": (parse_iptables_save, TableFamily.IP, Origin.IPTABLES_NFT),
    "nft-ruleset.json": (parse_nft_json, frozenset({("ip", "nat")})),
    "proc-net-tcp.txt": (parse_sockets, "tcp"),
    "resolv.conf": (parse_resolv_conf,),
    "sysctl.txt": (parse_sysctl,),
}


def samples(name: str) -> list[bytes]:
    """Files of that name, whole and cut."""
    found = {data for bundle in BUNDLES for path, data in bundle.files.items() if path.rpartition("/")[2] == name}
    return [*found, *(data[: len(data) * 2 // 3] for data in found), b"\xff[1, ", b"1 2 3\n...\n"]


@pytest.mark.parametrize("name", PARSERS)
def test_a_second_file_gives_the_same_under_its_own_name(name: str) -> None:
    parser, *options = PARSERS[name]
    files = EqualFiles()
    for data in samples(name):
        for file in ("containers/a/x", "containers/b/x", "containers/c/x", "containers/a/x"):
            assert files.parse(parser, data, file, *options) == parser(data, file, *options)


def test_options_tell_parses_apart() -> None:
    files = EqualFiles()
    data = b'[{"dst": "default", "dev": "eth0"}]'
    found = [files.parse(parse_routes_json, data, "x", family).value for family in Family]
    assert [route.destination.family for routes in found for route in routes] == list(Family)


def test_what_names_no_file_is_shared() -> None:
    files = EqualFiles()
    data = b'[{"dst": "10.0.0.1", "dev": "eth0", "lladdr": "02:42:0a:00:00:01", "state": ["STALE"]}]'
    first, second = (files.parse(parse_neighbours, data, file) for file in ("a", "b"))
    assert first.value is second.value
