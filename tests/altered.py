"""A capture of `fixtures/` with a few facts changed in its files, as they would look on a host where that is so.

`<net>` stands for the bridge of the network `net`, and a file may be in a folder `containers/NAME`. A change that changes
nothing is an error of the test.

>>> snapshot = altered_snapshot("seed-d29", instead("host/sysctl.txt", "ip_forward = 1", "ip_forward = 0"))
>>> snapshot.netns["host"].sysctl["net.ipv4.ip_forward"]
'0'
"""

from __future__ import annotations

import functools
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
        found = files[_path(files, file)].splitlines(keepends=True)
        kept = [line for line in found if not all(text in line for text in wanted)]
        _set(files, file, "".join(kept))

    return change


def instead(file: str, old: str, new: str) -> Change:
    """With one text instead of another, wherever it stands."""
    return lambda files: _set(files, file, files[_path(files, file)].replace(_named(files, old), _named(files, new)))


def edited(file: str, edit: Callable[[str], str]) -> Change:
    """With a file's text as a function makes it."""
    return lambda files: _set(files, file, edit(files[_path(files, file)]))


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


def more(file: str, lines: str) -> Change:
    """With these lines after the others; the file need not be there."""
    return lambda files: _set(files, file, files.get(_path(files, file), "") + lines)


def absent(file: str) -> Change:
    """Without the file."""

    def change(files: dict[str, str]) -> None:
        del files[_path(files, file)]

    return change


def items(file: str, edit: Callable[[list[Any]], object]) -> Change:
    """With the JSON array of a file edited in place."""

    def change(files: dict[str, str]) -> None:
        listed = json.loads(files[_path(files, file)])
        edit(listed)
        _set(files, file, json.dumps(listed, indent=1))

    return change


def container(name: str, edit: Callable[[dict[str, Any]], object]) -> Change:
    """With what `docker inspect` says of a container edited in place."""
    return items("docker/containers.json", lambda listed: edit(next(c for c in listed if c["Name"] == f"/{name}")))


def network(name: str, edit: Callable[[dict[str, Any]], object]) -> Change:
    """With what `docker network inspect` says of a network edited in place."""
    return items(_NETWORKS, lambda listed: edit(next(n for n in listed if n["Name"] == name)))


def status(name: str, value: str) -> Change:
    """With another status of a container."""
    return container(name, lambda c: c["State"].update(Status=value))


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


def option(name: str, key: str, value: str) -> Change:
    """With an option of a Docker network."""
    return network(name, lambda item: item.update(Options={**(item["Options"] or {}), key: value}))


def link_facts(folder: str, name: str, **facts: Any) -> Change:
    """With other facts of an interface in the folder's `ip addr` and, where it is a port, in `bridge link`."""

    def edit(links: list[Any]) -> None:
        for each in links:
            if each.get("ifname") == name:
                each.update(facts)

    def change(files: dict[str, str]) -> None:
        items(f"{folder}/ip-addr.json", edit)(files)
        if _path(files, f"{folder}/bridge-link.json") in files:
            items(f"{folder}/bridge-link.json", edit)(files)

    return change


def first_route(folder: str, **facts: Any) -> Change:
    """With one more route, before the others."""
    return items(f"{folder}/ip-route.json", lambda routes: routes.insert(0, {"flags": [], **facts}))


def listening(folder: str, address: str, port: int) -> Change:
    """With one more listening TCP socket, as /proc/net/tcp shows it."""
    octets = "".join(f"{int(octet):02X}" for octet in reversed(address.split(".")))
    line = f" 9: {octets}:{port:04X} 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 1 1 0 100 0 0 10 0\n"
    return more(f"{folder}/proc-net-tcp.txt", line)


def silent(port: int) -> Change:
    """Without any socket of the host on a TCP port."""

    def change(files: dict[str, str]) -> None:
        for file in ("host/proc-net-tcp.txt", "host/proc-net-tcp6.txt"):
            without(file, f":{port:04X} ")(files)

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
    bundle = _bundle(name)
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


@functools.cache
def _bundle(name: str) -> Bundle:
    return read_bundle(str(bundle_path(name)))


def _field(item: Mapping[str, Any], key: str) -> Any:
    (body,) = item.values()
    return body.get(key)


def _json(item: Mapping[str, Any]) -> str:
    return json.dumps(item, separators=(",", ":"))


def _set(files: dict[str, str], file: str, text: str) -> None:
    path = _path(files, file)
    assert files.get(path) != text, f"nothing changes in {path}"
    files[path] = text


def _path(files: Mapping[str, str], file: str) -> str:
    """With a container's id for its name."""
    folder, _, rest = file.partition("/")
    name, _, base = rest.partition("/")
    if folder != "containers":
        return file
    listed = json.loads(files["docker/containers.json"])
    return f"{folder}/{next(c['Id'][:12] for c in listed if c['Name'] == f'/{name}')}/{base}"


def _named(files: dict[str, str], text: str) -> str:
    """With bridges for the networks' names."""
    if "<" not in text:
        return text
    networks = parse_networks(files[_NETWORKS].encode(), _NETWORKS).value
    bridges = {network.name: network.bridge_name for network in networks}
    return _BRIDGE.sub(lambda found: bridges[found[1]], text)


def _appended(file: str, item: Mapping[str, Any]) -> Change:
    return lambda files: _set(files, file, files[file].rstrip().removesuffix("]") + f",{_json(item)}]\n")


def inside(name: str, *lines: str) -> Change:
    """With these lines as what `iptables-save` says in a container."""
    return whole(f"containers/{name}/iptables-save.txt", "\n".join([*lines, ""]))


UPLINK: tuple[Change, ...] = (
    link("eth0", "", "192.0.2.10/24"),
    route("192.0.2.0/24", "eth0"),
    route("default", "eth0", "192.0.2.1"),
)
"""A way out to the world, which the fixtures do not have."""
