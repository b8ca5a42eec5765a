"""The files that a bundle may hold, the command each is the output of, and what is not known without it.

This is the layout as data: the reader loads exactly these paths and nothing else. A file may be given in several forms
(`ip-addr.json`, `ip-addr.txt`, `ifconfig.txt`); any one of them will do.

>>> [is_layout_path(path) for path in ("host/ip-addr.json", "containers/web/hosts", "netns/1-k3x/ip-neigh.json")]
[True, True, True]
>>> [is_layout_path(path) for path in ("host/shadow", "containers/../host/hosts", "notes.txt")]
[False, False, False]
"""

from __future__ import annotations

import re
from enum import Flag, auto
from functools import lru_cache

from msgspec import Struct

MANIFEST = "manifest.json"
TOP_FOLDERS = frozenset({"host", "docker", "containers", "netns"})


class Scope(Flag):
    """The kinds of namespace that a file is captured for."""

    HOST = auto()
    CONTAINER = auto()
    DOCKER_NETNS = auto()
    ENGINE = auto()
    """Not a namespace: the engine's own objects, below `docker/`."""
    NETNS = HOST | CONTAINER | DOCKER_NETNS


class Fact(Struct, frozen=True):
    """One thing that is captured of each namespace in `scope`."""

    files: tuple[str, ...]
    """File names that can hold it, the preferred one first."""
    command: str
    """What prints the preferred form, as a person would type it."""
    scope: Scope
    missing: str = ""
    """What is not known without it, one sentence; empty when no verdict depends on it."""


FACTS = (
    Fact(("version.json",), "docker version --format '{{json .}}'", Scope.ENGINE),
    Fact(("info.json",), "docker info --format '{{json .}}'", Scope.ENGINE),
    Fact(
        ("networks.json",),
        "docker network inspect $(docker network ls -q)",
        Scope.ENGINE,
        "which container is on which Docker network is known only as far as the containers say it",
    ),
    Fact(
        ("containers.json",),
        "docker inspect $(docker ps -aq)",
        Scope.ENGINE,
        "only the containers that the networks list are known, without modes, links and published ports",
    ),
    Fact(
        ("ip-addr.json", "ip-addr.txt", "ifconfig.txt"),
        "ip -j -d addr show",
        Scope.NETNS,
        "the interfaces and addresses are unknown, and with them every path through this namespace",
    ),
    Fact(("ip-link.json", "ip-link.txt"), "ip -j -d link show", Scope.NETNS),
    Fact(
        ("ip-route.json", "ip-route.txt"),
        "ip -j route show table all",
        Scope.NETNS,
        "IPv4 routes are inferred from the addresses only",
    ),
    Fact(
        ("ip6-route.json", "ip6-route.txt"),
        "ip -j -6 route show table all",
        Scope.NETNS,
        "IPv6 routes are inferred from the addresses only",
    ),
    Fact(
        ("ip-rule.json", "ip-rule.txt"),
        "ip -j rule show",
        Scope.HOST | Scope.CONTAINER,
        "the kernel's three default IPv4 policy rules are assumed",
    ),
    Fact(
        ("ip6-rule.json", "ip6-rule.txt"),
        "ip -j -6 rule show",
        Scope.HOST | Scope.CONTAINER,
        "the kernel's default IPv6 policy rules are assumed",
    ),
    Fact(("ip-neigh.json", "ip-neigh.txt"), "ip -j neigh show", Scope.NETNS),
    Fact(
        ("bridge-link.json", "bridge-link.txt", "brctl-show.txt"),
        "bridge -j -d link show",
        Scope.HOST | Scope.DOCKER_NETNS,
        "the state of bridge ports is unknown: isolation and hairpin are taken as off",
    ),
    Fact(("bridge-fdb.json", "bridge-fdb.txt"), "bridge -j fdb show", Scope.HOST | Scope.DOCKER_NETNS),
    Fact(
        ("iptables-save.txt",),
        "iptables-save -c",
        Scope.NETNS,
        "IPv4 packets may meet rules that were not captured",
    ),
    Fact(("iptables-legacy-save.txt",), "iptables-legacy-save -c", Scope.NETNS),
    Fact(
        ("ip6tables-save.txt",),
        "ip6tables-save -c",
        Scope.NETNS,
        "IPv6 packets may meet rules that were not captured",
    ),
    Fact(("ip6tables-legacy-save.txt",), "ip6tables-legacy-save -c", Scope.NETNS),
    Fact(
        ("nft-ruleset.json", "nft-ruleset.txt"),
        "nft -j list ruleset",
        Scope.NETNS,
        "packets may meet nftables rules that were not captured",
    ),
    Fact(("ipset.txt",), "ipset save", Scope.NETNS),
    Fact(
        ("sysctl.txt",),
        "sysctl net.ipv4 net.ipv6 net.bridge",
        Scope.NETNS,
        "whether this namespace forwards and filters by reverse path is unknown",
    ),
    *(
        Fact((f"proc-net-{name}.txt",), f"cat /proc/net/{name}", Scope.HOST | Scope.CONTAINER)
        for name in ("tcp", "tcp6", "udp", "udp6")
    ),
    Fact(
        ("hosts",),
        "cat /etc/hosts",
        Scope.HOST | Scope.CONTAINER,
        "names that /etc/hosts defines are unknown",
    ),
    Fact(
        ("resolv.conf",),
        "cat /etc/resolv.conf",
        Scope.HOST | Scope.CONTAINER,
        "the resolver is inferred from Docker's settings",
    ),
)


def _names(scope: Scope) -> frozenset[str]:
    return frozenset(name for fact in FACTS if fact.scope & scope for name in fact.files)


NAMES = {
    "host": _names(Scope.HOST),
    "docker": _names(Scope.ENGINE),
    # A hand-made bundle may hold any of a namespace's files for any namespace.
    "containers": _names(Scope.NETNS),
    "netns": _names(Scope.NETNS),
}
"""Top folder to the file names that may be in it, or in its sub-folders for `containers` and `netns`."""

_OWNER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}")
"""A container's name or id, or the name of a namespace of Docker's own."""

MAX_LAYOUT_DEPTH = 3


def is_layout_path(path: str) -> bool:
    """Whether `path` (with `/`, relative to the bundle's top) is a file that a bundle may hold."""
    folder, slash, name = path.rpartition("/")
    return name in names_in(folder) if slash else name == MANIFEST


@lru_cache(maxsize=16)  # paths come folder by folder
def names_in(folder: str) -> frozenset[str]:
    """The file names that may be in a folder; none for a folder that is no part of the layout.

    >>> sorted(names_in("docker"))
    ['containers.json', 'info.json', 'networks.json', 'version.json']
    """
    match folder.split("/"):
        case ["host" | "docker" as top]:
            return NAMES[top]
        case ["containers" | "netns" as top, owner] if _OWNER.fullmatch(owner):
            return NAMES[top]
        case _:
            return frozenset()


def fact_of(path: str) -> Fact | None:
    """The fact that a file holds.

    >>> fact_of("containers/web/ip-route.json").missing
    'IPv4 routes are inferred from the addresses only'
    """
    name = path.rpartition("/")[2]
    return next((fact for fact in FACTS if name in fact.files), None)
