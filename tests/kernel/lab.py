"""Namespaces, bridges and rules in the real kernel, and the same state as a bundle.

Traffic goes only between namespaces that are made here. The layout is that of a Docker host: `host` has the bridges, the
containers hang on them by veth pairs; one container routes, one is on two bridges, and `outside` is a machine beyond the
host's uplink.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from diag.model.bundle import Bundle
from tests.live.lab import inside

BRIDGES = {"br-a": "10.201.1", "br-b": "10.201.2"}
CONTAINERS: dict[str, tuple[tuple[str, int], ...]] = {
    "a1": (("br-a", 11),),
    "a2": (("br-a", 12),),
    "b1": (("br-b", 11),),
    "both": (("br-a", 13), ("br-b", 13)),
    "router": (("br-b", 14), ("br-a", 14)),
}
"""Each container's places: bridge and last byte of its address. The first bridge's gateway is its default route."""
OUTSIDE = ("10.201.9.2", "10.201.9.1")
"""The machine beyond the uplink, and the host's address towards it."""


@dataclass(frozen=True)
class IpSet:
    """A set of the host that rules look addresses up in."""

    kind: str
    options: str
    elements: tuple[str, ...]


IPSETS = {
    "s-ip": IpSet("hash:ip", "", ("10.201.1.11", "10.201.2.11", "10.201.9.2")),
    "s-mask": IpSet("hash:ip", "netmask 28", ("10.201.1.0",)),
    "s-net": IpSet("hash:net", "", ("10.201.1.0/24", "10.201.1.12/32 nomatch", "10.201.2.12/30")),
    "s-ip-port": IpSet("hash:ip,port", "", ("10.201.1.12,tcp:80", "10.201.2.11,udp:53", "10.201.1.12,icmp:8/0")),
    "s-net-port": IpSet("hash:net,port", "", ("10.201.0.0/16,tcp:5432", "10.201.1.0/24,udp:9999")),
    "s-port": IpSet("bitmap:port", "range 1-10000", ("53-80", "5432")),
    "s-map": IpSet("bitmap:ip", "range 10.201.1.0/24", ("10.201.1.10-10.201.1.12",)),
    "s-net-iface": IpSet("hash:net,iface", "", ("10.201.1.0/24,br-a", "10.201.2.0/24,br-b", "0.0.0.0/0,up0")),
}


def ipset_restore() -> str:
    """The sets for `ipset restore`."""
    lines = [f"create {name} {s.kind} {s.options}" for name, s in IPSETS.items()]
    lines += [f"add {name} {element}" for name, s in IPSETS.items() for element in s.elements]
    return "\n".join(lines) + "\n"


EMPTY = """*raw
COMMIT
*mangle
COMMIT
*nat
COMMIT
*filter
COMMIT
"""


@dataclass(frozen=True)
class Space:
    """A namespace that can send and listen."""

    name: str
    netns: str
    """Path of the namespace."""
    addresses: tuple[str, ...]


class Kernel:
    """A host in namespaces whose names start with `prefix`."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.has_legacy = False
        self.folders: dict[str, str] = {}
        """Folder in the bundle of each container."""
        self.static: dict[str, bytes] = {}
        """Files of the bundle that do not change with the rules."""

    def path(self, name: str) -> str:
        return f"/run/netns/{self.prefix}{name}"

    @property
    def names(self) -> tuple[str, ...]:
        return ("host", "outside", *CONTAINERS)

    def run(self, name: str, *words: str, text: str = "", check: bool = True) -> str:
        """A command in a namespace."""
        done = subprocess.run(
            ["nsenter", f"--net={self.path(name)}", *words],
            input=text,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(words)}: {done.stderr}\n{text}")
        return done.stdout

    def start(self) -> None:
        for name in self.names:
            subprocess.run(["ip", "netns", "add", self.prefix + name], check=True)
        lines = ["link set lo up"]
        for bridge, subnet in BRIDGES.items():
            lines += [f"link add {bridge} type bridge", f"addr add {subnet}.1/24 dev {bridge}", f"link set {bridge} up"]
        number = 0
        for name, places in CONTAINERS.items():
            for position, (bridge, _) in enumerate(places):
                number += 1
                peer = f"name eth{position} netns {self.prefix}{name}"
                lines += [f"link add veth{number} type veth peer {peer}", f"link set veth{number} master {bridge} up"]
        outer = f"name eth0 netns {self.prefix}outside"
        lines += [f"link add up0 type veth peer {outer}", f"addr add {OUTSIDE[1]}/24 dev up0", "link set up0 up"]
        self.run("host", "ip", "-batch", "-", text="\n".join(lines))
        for name, places in CONTAINERS.items():
            inner = ["link set lo up"]
            for position, (bridge, last) in enumerate(places):
                inner += [f"addr add {BRIDGES[bridge]}.{last}/24 dev eth{position}", f"link set eth{position} up"]
            inner.append(f"route add default via {BRIDGES[places[0][0]]}.1")
            self.run(name, "ip", "-batch", "-", text="\n".join(inner))
        gone = [
            "link set lo up",
            f"addr add {OUTSIDE[0]}/24 dev eth0",
            "link set eth0 up",
            f"route add default via {OUTSIDE[1]}",
        ]
        self.run("outside", "ip", "-batch", "-", text="\n".join(gone))
        for name in self.names:
            inside(self.path(name), lambda n=name: _quiet(forward=n in ("host", "router")))  # type: ignore[misc]
        self.run("host", "ipset", "restore", text=ipset_restore())
        self.static = self._static()

    def stop(self) -> None:
        for name in self.names:
            subprocess.run(["ip", "netns", "del", self.prefix + name], check=False, capture_output=True)

    def spaces(self) -> list[Space]:
        """Everything that sends: the containers, the host, and the machine outside."""
        found = [
            Space(name, self.path(name), tuple(f"{BRIDGES[b]}.{last}" for b, last in places))
            for name, places in CONTAINERS.items()
        ]
        host = (*(f"{subnet}.1" for subnet in BRIDGES.values()), OUTSIDE[1])
        return [*found, Space("@host", self.path("host"), host), Space("outside", self.path("outside"), (OUTSIDE[0],))]

    def space(self, name: str) -> Space:
        return next(space for space in self.spaces() if space.name == name)

    def sysctl(self, values: dict[str, str]) -> None:
        """Set sysctls of the host's namespace."""

        def write() -> None:
            for key, value in values.items():
                Path("/proc/sys", key.replace(".", "/")).write_text(value)

        inside(self.path("host"), write)

    def load(self, *, nft: str = "", iptables: str = "", legacy: str = "") -> None:
        """Replace all rules of the host."""
        self.run("host", "nft", "-f", "-", text=f"flush ruleset\n{nft}")
        if iptables:
            self.run("host", "iptables-nft-restore", text=iptables)
        if legacy or self.has_legacy:
            self.run("host", "iptables-legacy-restore", text=legacy or EMPTY)
            self.has_legacy = bool(legacy)
        self.run("host", "conntrack", "-F", check=False)

    def bundle(self) -> Bundle:
        """The state as it is now."""
        files = dict(self.static)
        host = {
            "iptables-save.txt": ("iptables-nft-save", "-c"),
            "iptables-legacy-save.txt": ("iptables-legacy-save", "-c"),
            "nft-ruleset.json": ("nft", "-j", "list", "ruleset"),
            "ip-route.json": ("ip", "-j", "route", "show", "table", "all"),
            "ip-rule.json": ("ip", "-j", "rule", "show"),
            "ipset.txt": ("ipset", "save"),
        }
        for name, words in host.items():
            files[f"host/{name}"] = self.run("host", *words).encode()
        files["host/sysctl.txt"] = inside(self.path("host"), _sysctls).encode()
        for folder, name in (("host", "host"), *((f, n) for n, f in self.folders.items())):
            for table, content in inside(self.path(name), _sockets).items():
                files[f"{folder}/proc-net-{table}.txt"] = content
        return Bundle("kernel", MappingProxyType(files))

    def _static(self) -> dict[str, bytes]:
        files: dict[str, bytes] = {
            "host/ip-addr.json": self.run("host", "ip", "-j", "-d", "addr", "show").encode(),
            "host/bridge-link.json": self.run("host", "bridge", "-j", "-d", "link", "show").encode(),
            "host/ip6-route.json": b"[]",
        }
        listed: list[dict[str, Any]] = []
        for number, name in enumerate((*CONTAINERS, "outside"), 1):
            identity = f"{number:012x}{'0' * 52}"
            folder = self.folders[name] = f"containers/{identity[:12]}"
            files[f"{folder}/ip-addr.json"] = self.run(name, "ip", "-j", "-d", "addr", "show").encode()
            files[f"{folder}/ip-route.json"] = self.run(name, "ip", "-j", "route", "show", "table", "all").encode()
            files[f"{folder}/ip6-route.json"] = b"[]"
            files[f"{folder}/ip-rule.json"] = self.run(name, "ip", "-j", "rule", "show").encode()
            files[f"{folder}/iptables-save.txt"] = b""
            files[f"{folder}/nft-ruleset.json"] = b'{"nftables": []}'
            files[f"{folder}/sysctl.txt"] = inside(self.path(name), _sysctls).encode()
            networks = {
                bridge: {"NetworkID": bridge, "IPAddress": f"{BRIDGES[bridge]}.{last}"}
                for bridge, last in CONTAINERS.get(name, ())
            }
            listed.append(
                {
                    "Id": identity,
                    "Name": f"/{name}",
                    "State": {"Status": "running", "Pid": os.getpid()},
                    "HostConfig": {"NetworkMode": next(iter(networks), "uplink")},
                    "Config": {"Hostname": name},
                    "NetworkSettings": {"Networks": networks},
                }
            )
        files["docker/containers.json"] = json.dumps(listed).encode()
        files["docker/networks.json"] = json.dumps(
            [
                {
                    "Name": bridge,
                    "Id": bridge,
                    "Driver": "bridge",
                    "IPAM": {"Config": [{"Subnet": f"{subnet}.0/24", "Gateway": f"{subnet}.1"}]},
                    "Options": {"com.docker.network.bridge.name": bridge},
                }
                for bridge, subnet in BRIDGES.items()
            ]
        ).encode()
        return files


def _sockets() -> dict[str, bytes]:
    """`/proc/thread-self/net`: the namespace of the calling thread, not of the process."""
    return {table: Path("/proc/thread-self/net", table).read_bytes() for table in ("tcp", "udp")}


def _quiet(*, forward: bool) -> None:
    """Make what is measured the rules and nothing else: every rejection answers, no neighbour table runs full."""
    values = {
        "net/ipv4/ip_forward": "1" if forward else "0",
        "net/ipv4/icmp_ratelimit": "0",
        "net/ipv4/icmp_msgs_per_sec": "1000000",
        "net/ipv4/icmp_msgs_burst": "1000000",
        "net/ipv4/ping_group_range": "0 2147483647",
        "net/ipv4/conf/all/send_redirects": "0",
        "net/ipv4/conf/all/accept_redirects": "0",
    }
    for key, value in values.items():
        path = Path("/proc/sys", key)
        if path.exists():
            path.write_text(value)
    for conf in Path("/proc/sys/net/ipv4/conf").iterdir():
        (conf / "send_redirects").write_text("0")
        (conf / "accept_redirects").write_text("0")


def _sysctls() -> str:
    lines = []
    wanted = ["net/ipv4/ip_forward", "net/bridge/bridge-nf-call-iptables", "net/bridge/bridge-nf-call-ip6tables"]
    for conf in sorted(Path("/proc/sys/net/ipv4/conf").iterdir()):
        keys = ("forwarding", "rp_filter", "route_localnet", "accept_local", "arp_ignore")
        wanted += [f"net/ipv4/conf/{conf.name}/{key}" for key in keys]
    for key in wanted:
        path = Path("/proc/sys", key)
        if path.exists():
            lines.append(f"{key.replace('/', '.')} = {path.read_text().strip()}")
    return "\n".join(lines) + "\n"
