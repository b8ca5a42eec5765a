"""Namespaces, bridges and rules in the real kernel, and the same state as a bundle.

Traffic goes only between namespaces that are made here. What the host looks like is :mod:`tests.kernel.layout`'s.
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
from tests.kernel.layout import BRIDGES, DOCKER_HOST, Layout, v4, v6
from tests.kernel.layout import Space as SpaceSpec
from tests.kernel.rules import ipset_restore
from tests.live.lab import inside

EMPTY = """*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
COMMIT
*mangle
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
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

    def __init__(self, prefix: str, layout: Layout = DOCKER_HOST) -> None:
        self.prefix = prefix
        self.layout = layout
        self.has_legacy = self.has_ip6 = False
        self.folders: dict[str, str] = {}
        """Folder in the bundle of each container."""
        self.static: dict[str, bytes] = {}
        """Files of the bundle that do not change with the rules."""
        self._spaces: list[Space] = []
        self._listing = "nft-ruleset.json"
        """JSON of nft 1.0.6 does not name the devices of chains, text does."""

    def path(self, name: str) -> str:
        return f"/run/netns/{self.prefix}{name}"

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.layout.spaces)

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
            inside(self.path(name), _quiet)
        for name, spec in self.layout.spaces:
            # A fault may name what another fault has taken away: the kernel's answer to that is the state to judge.
            text = "\n".join(spec.commands).replace("{p}", self.prefix)
            self.run(name, "ip", "-force", "-batch", "-", text=text, check=False)
            inside(self.path(name), lambda spec=spec: _configure(spec))  # type: ignore[misc]
            if spec.rules:
                self.run(name, "iptables-nft-restore", text=spec.rules)
        self.run("host", "ipset", "restore", text=ipset_restore())
        self._spaces = [self._look(name) for name in self.names]
        self.static = self._static()

    def stop(self) -> None:
        for name in self.names:
            subprocess.run(["ip", "netns", "del", self.prefix + name], check=False, capture_output=True)

    def _look(self, name: str) -> Space:
        links = json.loads(self.run(name, "ip", "-j", "addr", "show"))
        found = [a["local"] for link in links for a in link["addr_info"] if a["scope"] == "global"]
        return Space("@host" if name == "host" else name, self.path(name), tuple(found))

    def spaces(self) -> list[Space]:
        """Everything that sends: the containers, the host, and the machine outside."""
        return self._spaces

    def targets(self) -> list[str]:
        """All addresses that anything has or should have."""
        found = [address for space in self._spaces for address in space.addresses]
        wanted = [a for _, spec in self.layout.spaces for _, *addresses in spec.networks for a in addresses]
        return list(dict.fromkeys([*found, *wanted]))

    def space(self, name: str) -> Space:
        return next(space for space in self.spaces() if space.name == name)

    def sysctl(self, values: dict[str, str]) -> None:
        """Set sysctls of the host's namespace."""

        def write() -> None:
            for key, value in values.items():
                Path("/proc/sys", key.replace(".", "/")).write_text(value)

        inside(self.path("host"), write)

    def load(self, *, nft: str = "", iptables: str = "", ip6tables: str = "", legacy: str = "") -> None:
        """Replace all rules of the host."""
        self.run("host", "nft", "-f", "-", text=f"flush ruleset\n{nft}")
        self._listing = "nft-ruleset.txt" if " device " in nft else "nft-ruleset.json"
        if iptables:
            self.run("host", "iptables-nft-restore", text=iptables)
        if ip6tables:
            self.run("host", "ip6tables-nft-restore", text=ip6tables)
        if legacy or self.has_legacy:
            self.run("host", "iptables-legacy-restore", text=legacy or EMPTY)
            self.has_legacy = bool(legacy)
        self.run("host", "conntrack", "-F", check=False)
        for name in self.names:
            self.run(name, "ip", *([] if "table bridge" in nft else ["-6"]), "neigh", "flush", "all", check=False)
        for name, spec in self.layout.spaces[1:]:
            if spec.rules:
                self.run(name, "conntrack", "-F", check=False)

    def bundle(self) -> Bundle:
        """The state as it is now."""
        files = dict(self.static)
        host = {
            "iptables-save.txt": ("iptables-nft-save", "-c"),
            "iptables-legacy-save.txt": ("iptables-legacy-save", "-c"),
            "ip6tables-save.txt": ("ip6tables-nft-save", "-c"),
            self._listing: ("nft", *(["-j"] if self._listing.endswith("json") else []), "list", "ruleset"),
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
        files: dict[str, bytes] = {}
        listed: list[dict[str, Any]] = []
        for number, (name, spec) in enumerate(self.layout.spaces):
            identity = f"{number:012x}{'0' * 52}"
            folder = "host" if name == "host" else f"containers/{identity[:12]}"
            for file, words in _NETNS_FILES.items():
                files[f"{folder}/{file}"] = self.run(name, *words).encode()
            files[f"{folder}/sysctl.txt"] = inside(self.path(name), _sysctls).encode()
            if name == "host":
                continue
            self.folders[name] = folder
            files[f"{folder}/iptables-save.txt"] = self.run(name, "iptables-nft-save").encode()
            files[f"{folder}/ip6tables-save.txt"] = b""
            files[f"{folder}/nft-ruleset.json"] = self.run(name, "nft", "-j", "list", "ruleset").encode()
            listed.append(_container(identity, name, spec))
        files["docker/info.json"] = json.dumps({"KernelVersion": os.uname().release}).encode()
        files["docker/containers.json"] = json.dumps(listed).encode()
        files["docker/networks.json"] = json.dumps([_network(name) for name in self.layout.bridges]).encode()
        return files


_NETNS_FILES = {
    "ip-addr.json": ("ip", "-j", "-d", "addr", "show"),
    "bridge-link.json": ("bridge", "-j", "-d", "link", "show"),
    "ip-route.json": ("ip", "-j", "route", "show", "table", "all"),
    "ip6-route.json": ("ip", "-j", "-6", "route", "show", "table", "all"),
    "ip-rule.json": ("ip", "-j", "rule", "show"),
    "ip6-rule.json": ("ip", "-j", "-6", "rule", "show"),
    "ip-neigh.json": ("ip", "-j", "neigh", "show"),
}


def _container(identity: str, name: str, spec: SpaceSpec) -> dict[str, Any]:
    networks = {
        bridge: {"NetworkID": bridge, "IPAddress": ip, "GlobalIPv6Address": ip6} for bridge, ip, ip6 in spec.networks
    }
    return {
        "Id": identity,
        "Name": f"/{name}",
        "State": {"Status": "running", "Pid": os.getpid()},
        "HostConfig": {"NetworkMode": next(iter(networks), "uplink")},
        "Config": {"Hostname": name},
        "NetworkSettings": {"Networks": networks},
    }


def _network(bridge: str) -> dict[str, Any]:
    subnet = BRIDGES[bridge]
    config = [
        {"Subnet": f"{v4(subnet, 0)}/24", "Gateway": v4(subnet, 1)},
        {"Subnet": f"fd00:201:{subnet}::/64", "Gateway": v6(subnet, 1)},
    ]
    return {
        "Name": bridge,
        "Id": bridge,
        "Driver": "bridge",
        "EnableIPv6": True,
        "IPAM": {"Config": config},
        "Options": {"com.docker.network.bridge.name": bridge},
    }


def _sockets() -> dict[str, bytes]:
    """`/proc/thread-self/net`: the namespace of the calling thread, not of the process."""
    return {table: Path("/proc/thread-self/net", table).read_bytes() for table in ("tcp", "udp", "tcp6", "udp6")}


def _quiet() -> None:
    """Make what is measured the rules and nothing else: every rejection answers, no address is on trial."""
    values = {
        "net/ipv4/ip_forward": "0",
        "net/ipv4/icmp_ratelimit": "0",
        "net/ipv4/icmp_msgs_per_sec": "1000000",
        "net/ipv4/icmp_msgs_burst": "1000000",
        "net/ipv4/ping_group_range": "0 2147483647",
        "net/ipv6/icmp/ratelimit": "0",
    }
    for conf in ("all", "default"):
        values |= {f"net/ipv4/conf/{conf}/{key}": "0" for key in ("send_redirects", "accept_redirects", "rp_filter")}
        values |= {
            f"net/ipv6/conf/{conf}/{key}": "0"
            for key in ("accept_dad", "dad_transmits", "accept_ra", "accept_redirects", "router_solicitations")
        }
    for key, value in values.items():
        path = Path("/proc/sys", key)
        if path.exists():
            path.write_text(value)


def _configure(spec: SpaceSpec) -> None:
    for key, value in spec.sysctls:
        Path("/proc/sys", key.replace(".", "/")).write_text(value)


def _sysctls() -> str:
    lines = []
    wanted = ["net/ipv4/ip_forward", "net/bridge/bridge-nf-call-iptables", "net/bridge/bridge-nf-call-ip6tables"]
    for conf in sorted(Path("/proc/sys/net/ipv4/conf").iterdir()):
        keys = (
            "forwarding",
            "rp_filter",
            "route_localnet",
            "accept_local",
            "arp_ignore",
            "src_valid_mark",
            "proxy_arp",
        )
        wanted += [f"net/ipv4/conf/{conf.name}/{key}" for key in keys]
    wanted += [f"net/ipv6/conf/{conf.name}/forwarding" for conf in sorted(Path("/proc/sys/net/ipv6/conf").iterdir())]
    for key in wanted:
        path = Path("/proc/sys", key)
        if path.exists():
            lines.append(f"{key.replace('/', '.')} = {path.read_text().strip()}")
    return "\n".join(lines) + "\n"
