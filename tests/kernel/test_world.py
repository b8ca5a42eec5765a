"""`@world` against a machine that really is beyond the uplink, and that the capture does not hold."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest

from diag.model.address import Family
from diag.model.bundle import Bundle
from diag.parse.snapshot import build_snapshot
from diag.reach.beyond import WORLD
from diag.reach.far import KEPT
from diag.reach.flows import FlowAnswerer
from diag.reach.rows import reserved_rows
from tests.kernel.judge import LATE, PATIENCE, Case, flows_of, real
from tests.kernel.lab import Kernel
from tests.kernel.layout import DOCKER_HOST, UPLINK, Layout, v4, v6
from tests.live.lab import CLOSED_PORT, Flow, listening

FAR = {family: kept[0] for family, kept in KEPT.items()}
"""The host knows none of them."""
SWITCHES = {
    "net.ipv4.ip_forward": "1",
    "net.ipv6.conf.all.forwarding": "1",
    "net.bridge.bridge-nf-call-iptables": "1",
    "net.ipv4.conf.all.rp_filter": "0",
}
DOCKER_LIKE = """*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -i br-a ! -o br-a -j ACCEPT
-A FORWARD -i br-a -o br-a -j ACCEPT
-A FORWARD -d 10.201.1.11/32 ! -i br-a -o br-a -p tcp -m tcp --dport 80 -j ACCEPT
-A FORWARD -i br-b -o br-b -j ACCEPT
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -p tcp -m tcp --dport 5432 -j DNAT --to-destination 10.201.1.11:80
-A POSTROUTING -s 10.201.1.0/24 ! -o br-a -j MASQUERADE
COMMIT
"""
CASES = {
    "open": Case("nft", "", SWITCHES),
    "docker": Case("iptables", DOCKER_LIKE, SWITCHES),
    "masquerade6": Case(
        "nft6",
        "table ip6 n {\nchain post { type nat hook postrouting priority 100;\noifname up0 masquerade\n}\n}\n",
        SWITCHES,
    ),
}


def _with_default_route() -> Layout:
    """The everyday host, whose default route leads to a machine that knows the uplink's networks only."""
    spaces = dict(DOCKER_HOST.spaces)
    host, outside = spaces["host"], spaces["outside"]
    defaults = (f"route add default via {v4(UPLINK, 2)}", f"route add default via {v6(UPLINK, 2)}")
    spaces["host"] = replace(host, commands=(*host.commands, *defaults))
    ways_in = tuple(c for c in outside.commands if not c.startswith("route add default"))
    far = [f"addr add {ip}/{ip.family.bits} dev lo {'nodad' if ip.family == 6 else ''}" for ip in FAR.values()]
    near = [f"route replace {v4(UPLINK, 0)}/24 dev eth0 src {FAR[Family.IPV4]}"]
    near += [f"route add fd00:201:{UPLINK}::/64 dev eth0 src {FAR[Family.IPV6]} metric 1"]
    spaces["outside"] = replace(outside, commands=(*ways_in, *far, *near))
    return Layout(tuple(spaces.items()), DOCKER_HOST.bridges)


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    missing = [p for p in ("ip", "nft", "iptables-nft-restore", "ipset") if not shutil.which(p)]
    if (os.geteuid() or missing) and not os.environ.get("CI"):
        pytest.skip(f"not root, or not installed: {', '.join(missing)}")
    made = Kernel(f"kw{os.getpid()}-", _with_default_route())
    try:
        made.start()
        with listening(made.spaces()):
            yield made
    finally:
        made.stop()


def captured(kernel: Kernel) -> Bundle:
    """The host's bundle: the machine outside is none of its containers."""
    gone = kernel.folders["outside"]
    files = {name: data for name, data in kernel.bundle().files.items() if not name.startswith(f"{gone}/")}
    containers = [c for c in json.loads(files["docker/containers.json"]) if c["Name"] != "/outside"]
    files["docker/containers.json"] = json.dumps(containers).encode()
    return Bundle("world", MappingProxyType(files))


@pytest.mark.parametrize("name", CASES)
def test_world_is_what_a_machine_outside_sees(kernel: Kernel, name: str) -> None:
    case = CASES[name]
    case.load(kernel)
    truth = real(kernel, [f for f in flows_of(kernel, case.family) if _crosses_the_uplink(f.source, f.address, f.port)])
    answerer = FlowAnswerer(build_snapshot(captured(kernel)))
    wrong = differing(answerer, truth)
    late = [flow for flow, result, _ in wrong if result in LATE]
    wrong = [found for found in wrong if found[0] not in late] + differing(answerer, real(kernel, late, PATIENCE))
    assert not wrong, wrong[:3]
    assert truth


def differing(answerer: FlowAnswerer, truth: dict[Flow, str]) -> list[tuple[Flow, str, dict[str, Any]]]:
    """The flows of which the model says something else than the packets did."""
    wrong = []
    for flow, result in truth.items():
        source = WORLD if flow.source == "outside" else flow.source
        asked = {"source": source, "address": flow.address, "protocol": flow.protocol, "port": flow.port}
        answer = answerer.answer(asked)
        delivered = answer["disposition"] == "delivered" and answer["symptom"] == "ok"
        if (result == "ok") != delivered or not (result == answer["symptom"] or {result, answer["symptom"]} <= LATE):
            wrong.append((flow, result, answer))
    return wrong


def _crosses_the_uplink(source: str, address: str, port: int) -> bool:
    """What listens beyond nobody knows, so that closed ports there are not asked for."""
    far = address in {str(ip) for ip in FAR.values()}
    return (
        far and port != CLOSED_PORT
        if source != "outside"
        else not far and address not in (v4(UPLINK, 2), v6(UPLINK, 2))
    )


def test_what_is_exposed_is_what_is_published(kernel: Kernel) -> None:
    CASES["docker"].load(kernel)
    bundle = captured(kernel)
    files = dict(bundle.files)
    containers = json.loads(files["docker/containers.json"])
    published = {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "5432"}]}
    containers[0]["NetworkSettings"]["Ports"] = published
    files["docker/containers.json"] = json.dumps(containers).encode()
    rows = list(reserved_rows(build_snapshot(Bundle("world", MappingProxyType(files)))))
    to_a1 = [row.as_json() for row in rows if (row.source, row.destination) == (WORLD, "a1")]
    assert [(row["address"], row["allowed"]["tcp"], row["reason"]) for row in to_a1] == [
        (v4(UPLINK, 1), "5432", "published-port")
    ]
    to_a2 = [row.as_json() for row in rows if (row.source, row.destination) == (WORLD, "a2")]
    assert [row["reason"] for row in to_a2] == ["unpublished-port"]
    out = {
        row.source: row.as_json() for row in rows if row.destination == WORLD and ":" not in row.as_json()["address"]
    }
    assert out["a1"]["reachability"] == "reachable"
    assert out["b1"]["reachability"] == "unreachable"
