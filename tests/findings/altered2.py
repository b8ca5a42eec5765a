"""Real captures with single facts changed, in the text of their files.

>>> snapshot = altered("seed-d29", text("host/sysctl.txt", "ip_forward = 1", "ip_forward = 0"))
>>> snapshot.netns["host"].sysctl["net.ipv4.ip_forward"]
'0'
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from diag.bundle.reader import read_bundle
from diag.findings.registry import find_all
from diag.model.analysis import Analysis
from diag.model.bundle import Bundle
from diag.model.finding import Finding
from diag.model.snapshot import Snapshot
from diag.parse.snapshot import build_snapshot
from tests.loading import bundle_path, snapshot_of

Files = dict[str, bytes]
Edit = Callable[[str, Files], None]
"""Changes the files of the capture of this name."""


def altered(capture: str, *edits: Edit) -> Snapshot:
    """The facts of a capture after these edits."""
    bundle = _bundle(capture)
    files = dict(bundle.files)
    for edit in edits:
        edit(capture, files)
    return build_snapshot(replace(bundle, files=files))


def found(snapshot: Snapshot, code: str) -> list[Finding]:
    """What a check says of a snapshot whose pairs nobody has analysed: most checks do not ask for them."""
    return [f for f in every_finding(snapshot) if f.code == code]


def every_finding(snapshot: Snapshot) -> tuple[Finding, ...]:
    """What all checks say of it."""
    return find_all(Analysis(snapshot, (), (), (), (), ()))


def text(file: str, old: str, new: str) -> Edit:
    """This text of this file replaced wherever it stands; the file may be in a folder `containers/NAME`."""

    def edit(capture: str, files: Files) -> None:
        path = _path(capture, file)
        assert old.encode() in files[path], f"{path} has no {old}"
        files[path] = files[path].replace(old.encode(), new.encode())

    return edit


def more(file: str, lines: str) -> Edit:
    """These lines after the others; the file need not be there."""

    def edit(capture: str, files: Files) -> None:
        path = _path(capture, file)
        files[path] = files.get(path, b"") + lines.encode()

    return edit


def whole(file: str, content: str) -> Edit:
    """This content instead of the file's."""

    def edit(capture: str, files: Files) -> None:
        files[_path(capture, file)] = content.encode()

    return edit


def absent(file: str) -> Edit:
    """The file left out."""

    def edit(capture: str, files: Files) -> None:
        del files[_path(capture, file)]

    return edit


def without(file: str, *parts: str) -> Edit:
    """The lines that hold all these parts left out."""

    def edit(capture: str, files: Files) -> None:
        path = _path(capture, file)
        kept = [line for line in files[path].splitlines(keepends=True) if not all(p.encode() in line for p in parts)]
        assert len(kept) < len(files[path].splitlines()), f"{path} has no line with {parts}"
        files[path] = b"".join(kept)

    return edit


def items(file: str, change: Callable[[list[Any]], object]) -> Edit:
    """The JSON array of a file, changed in place."""

    def edit(capture: str, files: Files) -> None:
        path = _path(capture, file)
        listed = json.loads(files[path])
        change(listed)
        files[path] = json.dumps(listed, indent=1).encode()

    return edit


def link(folder: str, name: str, **facts: Any) -> Edit:
    """Facts of one interface in the folder's `ip addr` and, where it is a port, in `bridge link`."""

    def change(links: list[Any]) -> None:
        for each in links:
            if each.get("ifname") == name:
                each.update(facts)

    def edit(capture: str, files: Files) -> None:
        items(f"{folder}/ip-addr.json", change)(capture, files)
        if _path(capture, f"{folder}/bridge-link.json") in files:
            items(f"{folder}/bridge-link.json", change)(capture, files)

    return edit


def route(folder: str, **facts: Any) -> Edit:
    """One more route, before the others."""
    return items(f"{folder}/ip-route.json", lambda routes: routes.insert(0, {"flags": [], **facts}))


def container(name: str, change: Callable[[dict[str, Any]], object]) -> Edit:
    """What `docker inspect` says of a container, changed in place."""

    def find(listed: list[Any]) -> None:
        change(next(c for c in listed if c["Name"] == f"/{name}"))

    return items("docker/containers.json", find)


def network(name: str, change: Callable[[dict[str, Any]], object]) -> Edit:
    """What `docker network inspect` says of a network, changed in place."""
    return items("docker/networks.json", lambda listed: change(next(n for n in listed if n["Name"] == name)))


def status(name: str, value: str) -> Edit:
    """The status of a container."""
    return container(name, lambda c: c["State"].update(Status=value))


def listening(folder: str, address: str, port: int) -> Edit:
    """One more listening TCP socket, as /proc/net/tcp shows it."""
    octets = "".join(f"{int(octet):02X}" for octet in reversed(address.split(".")))
    line = f" 9: {octets}:{port:04X} 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 1 1 0 100 0 0 10 0\n"
    return more(f"{folder}/proc-net-tcp.txt", line)


def silent(port: int) -> Edit:
    """No socket of the host on a TCP port."""

    def edit(capture: str, files: Files) -> None:
        for file in ("host/proc-net-tcp.txt", "host/proc-net-tcp6.txt"):
            without(file, f":{port:04X} ")(capture, files)

    return edit


def bridge_of(capture: str, name: str) -> str:
    """The bridge of a network."""
    there = snapshot_of(capture).network(name)
    assert there is not None
    return there.bridge_name


def veth_of(capture: str, name: str, inner: str = "eth0") -> str:
    """The host's end of a container's link."""
    snapshot = snapshot_of(capture)
    index = next(x.peer_index for x in snapshot.netns[snapshot.netns_of[name]].links or () if x.name == inner)
    return next(x.name for x in snapshot.netns["host"].links or () if x.index == index)


def _path(capture: str, file: str) -> str:
    first, _, rest = file.partition("/")
    name, _, base = rest.partition("/")
    if first != "containers":
        return file
    there = snapshot_of(capture).container(name)
    assert there is not None, name
    return f"{first}/{there.short_id}/{base}"


@functools.cache
def _bundle(capture: str) -> Bundle:
    return read_bundle(str(bundle_path(capture)))


def only(findings: list[Finding]) -> Finding:
    """The one that there is."""
    assert len(findings) == 1, [(f.code, f.subject) for f in findings]
    return findings[0]
