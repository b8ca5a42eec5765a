"""A host whose containers and networks have names that try to be something else than text."""

from __future__ import annotations

import functools

from msgspec.structs import replace

from diag.model.analysis import Analysis
from diag.model.docker import Endpoint
from diag.reach.analysis import analyse
from tests.hosts import Host

HOSTILE = (
    "<script>alert(1)</script>",
    "\"onmouseover='x'",
    "a\u202eb\u2066c",
    "\U0001f525鲸",
    "n" * 255,
    "`code` |pipe| [x](http://example.org)",
    "{{ 7 * 7 }}",
    "half\ud800a pair",
)
NETWORK = "</script><img src=x onerror=alert(1)>\u202e\U0001f525" + "w" * 200


@functools.cache
def hostile() -> Analysis:
    host = Host().network("a", "10.1.0.0/24").network("b", "10.2.0.0/24")
    for position, _ in enumerate(HOSTILE):
        host = host.container(f"c{position}", "a" if position % 2 else "b")
    snapshot = host.rules("-A FORWARD -i br-a -o br-b -j DROP").snapshot()
    renamed = {f"c{i}": name for i, name in enumerate(HOSTILE)}
    containers = tuple(replace(c, name=renamed[c.name]) for c in snapshot.containers)
    of = {renamed[name]: netns for name, netns in snapshot.netns_of.items()}
    containers = tuple(replace(c, endpoints=tuple(_on(e) for e in c.endpoints)) for c in containers)
    networks = tuple(replace(n, name=NETWORK) if n.name == "b" else n for n in snapshot.networks)
    return analyse(replace(snapshot, networks=networks, containers=containers, netns_of=of))


def _on(endpoint: Endpoint) -> Endpoint:
    return replace(endpoint, network=NETWORK) if endpoint.network == "b" else endpoint
