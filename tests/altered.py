"""A capture of `fixtures/` with a few facts changed in its files, as they would look on a host where that is so.

`<net>` stands for the bridge of the network `net`. A change that changes nothing is an error of the test.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from msgspec.structs import replace

from diag.bundle.reader import read_bundle
from diag.model.analysis import Analysis
from diag.model.bundle import Bundle
from diag.model.snapshot import Snapshot
from diag.parse.docker_objects import parse_networks
from diag.parse.snapshot import build_snapshot
from diag.reach.analysis import analyse
from tests.loading import bundle_path

Change = Callable[[dict[str, str]], None]
"""Changes files, given as text by their paths."""

RULES, RULES6, LEGACY = "host/iptables-save.txt", "host/ip6tables-save.txt", "host/iptables-legacy-save.txt"
_NFT = "host/nft-ruleset.json"
_NETWORKS = "docker/networks.json"
_BRIDGE = re.compile(r"<([a-z_0-9]+)>")


def without(file: str, *texts: str) -> Change:
    """Without the lines that hold all of these."""

    def change(files: dict[str, str]) -> None:
        wanted = [_named(files, text) for text in texts]
        kept = [line for line in files[file].splitlines(keepends=True) if not all(text in line for text in wanted)]
        _set(files, file, "".join(kept))

    return change


def instead(file: str, old: str, new: str) -> Change:
    """With one text instead of another, wherever it stands."""
    return lambda files: _set(files, file, files[file].replace(_named(files, old), _named(files, new)))


def after(file: str, old: str, *lines: str) -> Change:
    """With more lines after the last one that holds a text."""

    def change(files: dict[str, str]) -> None:
        found = files[file].splitlines()
        place = max(number for number, line in enumerate(found, 1) if _named(files, old) in line)
        _set(files, file, "\n".join([*found[:place], *(_named(files, line) for line in lines), *found[place:], ""]))

    return change


def whole(file: str, text: str) -> Change:
    """With another file."""
    return lambda files: _set(files, file, _named(files, text))


def flushed(table: str, file: str = RULES) -> Change:
    """What `iptables -F` leaves of a table: its chains."""

    def change(files: dict[str, str]) -> None:
        head, found, rest = files[file].partition(f"*{table}\n")
        body, end, tail = rest.partition("COMMIT\n")
        chains = "".join(line for line in body.splitlines(keepends=True) if "-A " not in line)
        _set(files, file, head + found + chains + end + tail)

    return change


def policy(table: str, word: str, file: str = RULES) -> Change:
    """With a policy of FORWARD."""

    def change(files: dict[str, str]) -> None:
        head, found, rest = files[file].partition(f"*{table}\n")
        _set(files, file, head + found + re.sub(r"(?m)^:FORWARD \S+", f":FORWARD {word}", rest, count=1))

    return change


def nft(*objects: Mapping[str, Any]) -> Change:
    """With more objects in the nft ruleset, one a line."""
    more = "".join(f",\n{_json(item)}" for item in objects)
    return lambda files: _set(files, _NFT, files[_NFT].rstrip().removesuffix("]}") + _named(files, more) + "]}\n")


def without_nft(**wanted: str) -> Change:
    """Without the objects of the nft ruleset whose fields have these values."""

    def change(files: dict[str, str]) -> None:
        listed = json.loads(files[_NFT])["nftables"]
        kept = [
            item
            for item in listed
            if not all(_field(item, key) == _named(files, value) for key, value in wanted.items())
        ]
        _set(files, _NFT, _json({"nftables": kept}))

    return change


def option(network: str, key: str, value: str) -> Change:
    """With an option of a Docker network."""

    def change(files: dict[str, str]) -> None:
        listed = json.loads(files[_NETWORKS])
        for item in listed:
            if item["Name"] == network:
                item["Options"] = {**(item["Options"] or {}), key: value}
        _set(files, _NETWORKS, json.dumps(listed, indent=4))

    return change


def link(name: str, kind: str = "", *addresses: str, master: str = "") -> Change:
    """With one more interface on the host."""
    body: dict[str, Any] = {
        "ifindex": 9000 + sum(name.encode()),
        "ifname": name,
        "flags": ["BROADCAST", "MULTICAST", "UP", "LOWER_UP"],
        "mtu": 1500,
        "operstate": "UP",
        "addr_info": [
            {"family": "inet", "local": a.partition("/")[0], "prefixlen": int(a.partition("/")[2]), "scope": "global"}
            for a in addresses
        ],
    }
    body |= {"linkinfo": {"info_kind": kind}} if kind else {}
    body |= {"master": master} if master else {}
    return _appended("host/ip-addr.json", body)


def route(destination: str, dev: str, gateway: str = "") -> Change:
    """With one more route on the host."""
    return _appended(
        "host/ip-route.json", {"dst": destination, "dev": dev, **({"gateway": gateway} if gateway else {})}
    )


def altered_bundle(name: str, *changes: Change) -> Bundle:
    """The capture after the changes."""
    bundle = read_bundle(str(bundle_path(name)))
    files = {path: data.decode() for path, data in bundle.files.items()}
    for change in changes:
        change(files)
    return replace(bundle, files={path: text.encode() for path, text in files.items()})


def altered_snapshot(name: str, *changes: Change) -> Snapshot:
    """Its facts."""
    return build_snapshot(altered_bundle(name, *changes))


def altered(name: str, *changes: Change) -> Analysis:
    """Its analysis."""
    return analyse(altered_snapshot(name, *changes))


def _field(item: Mapping[str, Any], key: str) -> Any:
    (body,) = item.values()
    return body.get(key)


def _json(item: Mapping[str, Any]) -> str:
    return json.dumps(item, separators=(",", ":"))


def _set(files: dict[str, str], file: str, text: str) -> None:
    assert files.get(file) != text, f"nothing changes in {file}"
    files[file] = text


def _named(files: dict[str, str], text: str) -> str:
    """With bridges for the networks' names."""
    if "<" not in text:
        return text
    networks = parse_networks(files[_NETWORKS].encode(), _NETWORKS).value
    bridges = {network.name: network.bridge_name for network in networks}
    return _BRIDGE.sub(lambda found: bridges[found[1]], text)


def _appended(file: str, item: Mapping[str, Any]) -> Change:
    return lambda files: _set(files, file, files[file].rstrip().removesuffix("]") + f",{_json(item)}]\n")


def inside(container: str, *lines: str) -> Change:
    """With these lines as what `iptables-save` says in a container."""

    def change(files: dict[str, str]) -> None:
        found = next(c for c in json.loads(files["docker/containers.json"]) if c["Name"] == f"/{container}")
        _set(files, f"containers/{found['Id'][:12]}/iptables-save.txt", "\n".join([*lines, ""]))

    return change


UPLINK: tuple[Change, ...] = (
    link("eth0", "", "192.0.2.10/24"),
    route("192.0.2.0/24", "eth0"),
    route("default", "eth0", "192.0.2.1"),
)
"""A way out to the world, which the fixtures do not have."""
