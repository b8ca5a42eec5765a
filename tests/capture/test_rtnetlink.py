"""What rtnetlink says is what iproute2 prints, for every kind of link, route, rule and neighbour."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from diag.capture import netns, rtnetlink
from diag.capture.steps import Output

LINKS = """
link set lo up
link add br0 type bridge
link set br0 up
addr add 10.0.0.1/24 broadcast + dev br0
addr add 10.0.0.9/24 dev br0
addr add 2001:db8:1::1/64 dev br0 nodad
link add va type veth peer name vb
link set va master br0
link set va up
link set vb up
addr add 192.168.5.1 peer 192.168.5.2/32 dev vb nodad
link add dm0 type veth peer name dm1
link set dm0 up
link set dm1 up
addr add 10.9.0.1/16 dev dm0 valid_lft 3600 preferred_lft 1800
link add mv0 link dm0 type macvlan mode bridge
link set mv0 up
link add mv1 link dm0 type macvlan mode private
link add vx0 type vxlan id 4097 dstport 4789 dev dm0 local 10.9.0.1 remote 10.9.0.7
link set vx0 up
link add vx1 type vxlan id 77 dstport 4789 nolearning proxy l2miss l3miss
link add vx6 type vxlan id 78 dstport 4789 group ff05::100 dev dm0
tuntap add dev tun0 mode tun
link set dev vb alias the-other-end
"""
ROUTES = """
route add blackhole 10.66.0.0/16
route add unreachable 10.67.0.0/16 metric 20
route add prohibit 10.68.1.1
route add throw 10.69.0.0/16 table 100
route add default via 10.0.0.2 dev br0
route add 172.30.0.0/16 via 10.0.0.2 src 10.0.0.9 metric 50 mtu 1400
route add 172.31.0.0/16 nexthop via 10.0.0.2 dev br0 weight 1 nexthop via 10.9.0.3 dev dm0 weight 3
route add 172.29.0.0/16 via 192.168.77.1 dev br0 onlink
route add 172.28.0.0/16 dev vb scope link proto static table 200
route add 10.50.0.0/24 via inet6 fe80::1 dev br0
route add 172.27.0.0/16 via 10.0.0.2 tos 0x10
route add 172.26.0.0/16 via 10.0.0.2 proto 77 table 4000000
"""
ROUTES6 = """
route add blackhole 2001:db8:66::/48
route add 2001:db8:2::/64 via 2001:db8:1::2 metric 10
route add default via 2001:db8:1::2
route add unreachable 2001:db8:67::/48
route add 2001:db8:3::/64 nexthop via 2001:db8:1::3 dev br0 nexthop via 2001:db8:1::4 dev br0
route add 2001:db8:4::/64 dev dm0 table 300 proto static expires 900
route add 2001:db8:5::/64 from 2001:db8:1::/64 via 2001:db8:1::2
"""
RULES = """
rule add fwmark 0x10/0xff lookup 100 pref 1000
rule add fwmark 3 lookup 101 pref 1001
rule add iif br0 lookup 200 pref 1002
rule add oif dm0 lookup 200 pref 1003
rule add not from 10.0.0.0/24 lookup 300 pref 1004
rule add lookup main suppress_prefixlength 0 pref 1005
rule add from 10.1.1.1 to 10.2.0.0/16 blackhole pref 1006
rule add to 10.3.3.3 unreachable pref 1007
rule add ipproto tcp dport 80 lookup 100 pref 1008
rule add ipproto udp sport 53-60 dport 99 lookup 100 pref 1009
rule add uidrange 1000-2000 lookup 100 pref 1010
rule add tos 0x10 lookup 100 pref 1011
rule add pref 1012 goto 32766
rule add iif nodev lookup 100 pref 1013
rule add pref 1014 nop
rule add pref 1015 prohibit
rule add pref 1016 lookup 100 protocol static
rule add pref 1017 suppress_ifgroup 1 lookup main
rule add goto 20000 pref 1020
"""
RULES6 = """
rule add fwmark 0x5 from 2001:db8::/32 lookup 100 pref 100
rule add not to 2001:db8::1 iif br0 lookup 254 pref 101
"""
NEIGHBOURS = """
neigh add 10.0.0.77 lladdr 02:00:00:00:00:77 dev br0 nud permanent
neigh add 10.9.0.78 lladdr 02:00:00:00:00:78 dev dm0 nud stale
neigh add 2001:db8:1::99 lladdr 02:00:00:00:00:99 dev br0 router
neigh add 10.0.0.79 dev br0 nud failed
"""
BRIDGE = """
link set dev va isolated on hairpin on
fdb add 02:00:00:00:00:55 dev va master static
fdb add 02:00:00:00:00:56 dev vx0 dst 10.9.0.8 vni 9 self
fdb add 02:00:00:00:00:57 dev vx0 dst 10.9.0.9 via dm0 port 99
"""
NOT_SHOWN = {
    "linkinfo": {
        # Timers, and details that no model needs.
        "bridge": {"topology_change_detected", "group_fwd_mask", "no_linklocal_learn"},
        "macvlan": {"bcqueuelen", "usedbcqueuelen"},
        "vxlan": {"df", "port_range", "udp_csum", "udp_zero_csum6_tx", "udp_zero_csum6_rx"},
        "tun": {"pi", "vnet_hdr", "multi_queue", "persist"},
    }
}
"""What iproute2 prints of a link's kind and the capture leaves out."""


@pytest.fixture
def prepared(make_netns: Callable[[], str]) -> str:
    """A namespace with one of everything."""
    name = make_netns()
    for words, batch in (
        (["ip", "-n", name], LINKS),
        (["ip", "-n", name], ROUTES),
        (["ip", "-6", "-n", name], ROUTES6),
        (["ip", "-n", name], RULES),
        (["ip", "-6", "-n", name], RULES6),
        (["ip", "-n", name], NEIGHBOURS),
        (["bridge", "-n", name], BRIDGE),
    ):
        done = subprocess.run([*words, "-b", "-"], input=batch, text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
    return name


def captured(name: str) -> dict[str, tuple[str, Any, bytes]]:
    """Command, document and bytes of every file that rtnetlink gives."""

    def run() -> dict[str, tuple[str, Any, bytes]]:
        netns.enter(f"/run/netns/{name}")
        outputs = [(step, step.run()) for step in rtnetlink.steps("host")]
        assert all(isinstance(output, Output) for _, output in outputs)
        return {s.path: (s.command, json.loads(o.content), o.content) for s, o in outputs if o is not None}

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(run).result()


def shown(name: str, command: str) -> Any:
    printed = subprocess.run(["nsenter", f"--net=/run/netns/{name}", *command.split()], capture_output=True, check=True)
    return json.loads(printed.stdout or b"[]")


def comparable(document: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without what passes with time, and without what the capture leaves out on purpose."""
    for item in document:
        for lifetime in item.get("addr_info", ()):
            lifetime.pop("tentative", None)
            lifetime["valid_life_time"] = lifetime["valid_life_time"] // 10
            lifetime["preferred_life_time"] = lifetime["preferred_life_time"] // 10
        if "expires" in item:
            item["expires"] //= 10
        info = item.get("linkinfo", {})
        hidden = NOT_SHOWN["linkinfo"].get(info.get("info_kind"), set())
        for part in ("info_data", "info_slave_data"):
            if part in info:
                info[part] = {k: v for k, v in info[part].items() if k not in hidden and not _detail(k, part)}
    return [item for item in document if item.get("state") not in ("", "stale")]


def _detail(key: str, part: str) -> bool:
    kept = ("mcast_snooping", "mcast_querier")
    if key.endswith("_timer") or (key.startswith("mcast_") and key not in kept and part == "info_data"):
        return True
    slave = {"id", "no", "designated_port", "designated_cost", "proxy_arp", "proxy_arp_wifi", "config_pending"}
    return part == "info_slave_data" and (key in slave or key.startswith(("topology_change", "group_fwd_mask")))


def test_everything_is_as_iproute2_prints_it(prepared: str) -> None:
    files = captured(prepared)
    assert list(files) == [
        f"host/{name}.json"
        for name in ("ip-addr", "ip-route", "ip6-route", "ip-rule", "ip6-rule", "ip-neigh", "bridge-link", "bridge-fdb")
    ]
    for command, document, _ in files.values():
        expected = comparable(shown(prepared, command))
        assert expected, f"{command} shows nothing to compare"
        for mine, theirs in zip(comparable(document), expected, strict=True):
            assert mine == theirs, command


def test_one_object_a_line(prepared: str) -> None:
    for _, document, content in captured(prepared).values():
        assert len(content.splitlines()) == max(1, len(document))


def test_a_peer_in_another_namespace(make_netns: Callable[[], str]) -> None:
    one, other = make_netns(), make_netns()
    pair = ["link", "add", "eth0", "type", "veth", "peer", "name", "veth1", "netns", other]
    subprocess.run(["ip", "-n", one, *pair], check=True)
    (_, links, _), (_, ports, _) = (captured(one)[f"host/{name}.json"] for name in ("ip-addr", "bridge-link"))
    (link,) = [link for link in links if link["ifname"] == "eth0"]
    assert isinstance(link["link_index"], int)
    assert link["link_netnsid"] == 0
    assert "link" not in link
    assert ports == []


def test_an_empty_namespace(make_netns: Callable[[], str]) -> None:
    files = {path: document for path, (_, document, _) in captured(make_netns()).items()}
    assert [link["ifname"] for link in files["host/ip-addr.json"]] == ["lo"]
    assert [rule["table"] for rule in files["host/ip-rule.json"]] == ["local", "main", "default"]
    assert files["host/ip-route.json"] == files["host/bridge-fdb.json"] == []
