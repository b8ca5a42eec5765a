"""Hosts with one thing out of the ordinary: `python -m benchmarks.odd --containers 100`.

What the symbolic engine does not cover is traced flow by flow, and a large host has a million pairs: this says what one
rule, one switch or one missing file costs. Each host is the made-up one with one change; it is analysed in this process.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any
from unittest.mock import patch

from benchmarks.hosts import host_bundle_files
from benchmarks.namespaces import HOST_NAME
from benchmarks.plan import HostSpec
from diag.interpreter.trace import Tracer
from diag.model.bundle import Bundle
from diag.model.flow import Flow, Trace
from diag.pipeline import analyse_snapshot, parse_bundle

Files = dict[str, bytes]
_RULES = "host/iptables-save.txt"
_CONTAINERS = "docker/containers.json"


def _admin_rules(*lines: str) -> Callable[[Files], None]:
    """After the rule of DOCKER-USER for established connections."""

    def change(files: Files) -> None:
        before, first, after = files[_RULES].decode().partition("-A DOCKER-USER")
        rule, _, rest = after.partition("\n")
        files[_RULES] = "\n".join(
            [f"{before}{first}{rule}", *(f"-A DOCKER-USER {line}" for line in lines), rest]
        ).encode()

    return change


def _rules_before(before_rule: str, *lines: str) -> Callable[[Files], None]:
    def change(files: Files) -> None:
        before, first, after = files[_RULES].decode().partition(f"[0:0] -A {before_rule}")
        files[_RULES] = "\n".join([before.rstrip("\n"), *lines, first + after]).encode()

    return change


def _marks(files: Files) -> None:
    mangle = (
        "*mangle\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p tcp -m tcp --dport 443 -j MARK --set-xmark 0x1\nCOMMIT\n"
    )
    files[_RULES] = files[_RULES].replace(b"*filter\n", f"{mangle}*filter\n".encode(), 1)
    _admin_rules("-m mark --mark 0x1 -j ACCEPT")(files)


def _ipset(files: Files) -> None:
    files["host/ipset.txt"] = b"create svc hash:ip,port family inet\nadd svc 10.0.1.2,tcp:80\nadd svc 10.0.2.2,udp:53\n"
    _admin_rules("-m set --match-set svc dst,dst -j DROP")(files)


def _blocklist(files: Files) -> None:
    """Half a country's networks."""
    networks = (f"add bad {20 + number % 200}.{number // 200}.{number % 7}.0/24\n" for number in range(20000))
    files["host/ipset.txt"] = f"create bad hash:net family inet\n{''.join(networks)}".encode()
    _admin_rules("-m set --match-set bad src -j DROP")(files)


def _without(*names: str) -> Callable[[Files], None]:
    def change(files: Files) -> None:
        for name in names:
            del files[name]

    return change


def _folders(files: Files) -> list[str]:
    return sorted({path.split("/")[1] for path in files if path.startswith("containers/")})


def _uncaptured(files: Files) -> None:
    """Every fifth container's namespace."""
    gone = _folders(files)[::5]
    for path in [path for path in files if path.startswith("containers/") and path.split("/")[1] in gone]:
        del files[path]


def _on_the_host(files: Files) -> None:
    """Three more containers, on the host's network."""
    containers: list[dict[str, Any]] = json.loads(files[_CONTAINERS])
    for number in range(3):
        made: dict[str, Any] = json.loads(json.dumps(containers[0]))
        made |= {"Id": f"{number:x}" * 64, "Name": f"/agent-{number}"}
        made["HostConfig"] |= {"NetworkMode": "host", "PortBindings": {}}
        made["NetworkSettings"] |= {"Networks": {"host": {}}, "Ports": {}}
        containers.append(made)
    files[_CONTAINERS] = json.dumps(containers).encode()


def _own_firewalls(files: Files) -> None:
    """Ten containers'."""
    own = (
        "*filter\n:INPUT DROP [0:0]\n-A INPUT -i lo -j ACCEPT\n-A INPUT -p tcp -m tcp --dport 8080 -j ACCEPT\nCOMMIT\n"
    )
    for folder in _folders(files)[:10]:
        files[f"containers/{folder}/iptables-save.txt"] += own.encode()


def _nft_drop(family: str, hook: dict[str, Any], field: dict[str, Any], value: str) -> Callable[[Files], None]:
    """A table with one rule."""
    where = {"family": family, "table": "t"}
    match = {"match": {"op": "==", "left": field, "right": value}}

    def change(files: Files) -> None:
        listing = json.loads(files["host/nft-ruleset.json"])
        listing["nftables"] += [
            {"table": {"family": family, "name": "t"}},
            {"chain": {**where, "name": "c", "type": "filter", "prio": 0, "policy": "accept", **hook}},
            {"rule": {**where, "chain": "c", "expr": [match, {"drop": None}]}},
        ]
        files["host/nft-ruleset.json"] = json.dumps(listing).encode()

    return change


def _policy_rule(files: Files) -> None:
    """One network's packets ask another table first."""
    rules: list[dict[str, Any]] = json.loads(files["host/ip-rule.json"])
    rules.insert(1, {"priority": 100, "src": "10.0.1.0", "srclen": 24, "table": "100"})
    files["host/ip-rule.json"] = json.dumps(rules).encode()


def _no_forwarding(files: Files) -> None:
    files["host/sysctl.txt"] = re.sub(rb"(ip_forward|forwarding) = 1", rb"\1 = 0", files["host/sysctl.txt"])


ODDITIES: Mapping[str, Callable[[Files], None]] = MappingProxyType(
    {
        "nothing": _without(),
        "three containers on the host's network": _on_the_host,
        "every fifth namespace not captured": _uncaptured,
        "no rules captured": _without(_RULES, "host/nft-ruleset.json"),
        "no sysctls captured": _without("host/sysctl.txt"),
        "ten firewalls inside containers": _own_firewalls,
        "-m string … -j DROP": _admin_rules("-p tcp -m string --string x --algo bm -j DROP"),
        "-m limit … -j ACCEPT": _admin_rules(
            "-p tcp --dport 22 -m limit --limit 3/min -j ACCEPT", "-p tcp --dport 22 -j DROP"
        ),
        "-m connlimit … -j REJECT": _admin_rules("-p tcp -m connlimit --connlimit-above 50 -j REJECT"),
        "-m connlimit … -j REJECT before all others": _rules_before(
            "FORWARD -j DOCKER-USER", "-A FORWARD -p tcp -m connlimit --connlimit-above 50 -j REJECT"
        ),
        "-j MARK, -m mark": _marks,
        "hash:ip,port": _ipset,
        "hash:net of 20,000 networks": _blocklist,
        "DNAT of every DNS request": _rules_before(
            "PREROUTING -m addrtype", "-A PREROUTING -p udp -m udp --dport 53 -j DNAT --to-destination 10.0.0.3"
        ),
        "REDIRECT of every DNS request": _rules_before(
            "PREROUTING -m addrtype", "-A PREROUTING -p udp -m udp --dport 53 -j REDIRECT --to-ports 5353"
        ),
        "SNAT of a network to the uplink's address": _rules_before(
            "POSTROUTING", "-A POSTROUTING -s 10.0.1.0/24 -o eth0 -j SNAT --to-source 192.0.2.10"
        ),
        "policy rule of a network": _policy_rule,
        "netdev chain at the uplink": _nft_drop(
            "netdev",
            {"hook": "ingress", "dev": "eth0"},
            {"payload": {"protocol": "ip", "field": "saddr"}},
            "203.0.113.9",
        ),
        "bridge chain for a virtual machine": _nft_drop(
            "bridge", {"hook": "forward"}, {"meta": {"key": "iifname"}}, "vnet0"
        ),
        "no forwarding": _no_forwarding,
    }
)
"""Each by what is odd about it."""


def odd_bundle(files: Mapping[str, bytes], change: Callable[[Files], None]) -> Bundle:
    """The bundle of these files, changed."""
    changed = dict(files)
    change(changed)
    return Bundle("made up", MappingProxyType(changed), host=HOST_NAME)


@contextmanager
def counted_traces() -> Iterator[list[Flow]]:
    """The flows that are traced meanwhile."""
    asked: list[Flow] = []
    trace = Tracer.trace

    def counting(tracer: Tracer, flow: Flow) -> Trace:
        asked.append(flow)
        return trace(tracer, flow)

    with patch.object(Tracer, "trace", counting):
        yield asked


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.odd", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--containers", type=int, default=100, help="how many (default: 100)")
    count = parser.parse_args(arguments).containers
    files = host_bundle_files(HostSpec(count, max(2, count // 10)))
    print(f"{count:,} containers\n| what is odd | CPU s | flows traced | groups |\n|-|-:|-:|-:|")
    for name, change in ODDITIES.items():
        bundle = odd_bundle(files, change)
        with counted_traces() as asked:
            started = time.process_time()
            analysis = analyse_snapshot(parse_bundle(bundle))
            seconds = time.process_time() - started
        print(
            f"| {name} | {seconds:.2f} | {len(asked):,} | {len(analysis.groups) + len(analysis.endpoints):,} |",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
