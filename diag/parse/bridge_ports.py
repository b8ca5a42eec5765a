"""Bridge ports: `bridge -j -d link show`, `bridge link` as text, `brctl show`.

>>> sample = b'''bridge name  bridge id    STP enabled  interfaces
... br-47542e86dc44    8000.024273a34080  no
... docker0    8000.0242cef1fc32  no  veth3776ec8
...                                   veth160e3cd
... '''
>>> for port in parse_bridge_text(sample, "host/brctl-show.txt").value: print(port.name, port.bridge, port.bridge_id)
 br-47542e86dc44 8000.024273a34080
veth3776ec8 docker0 8000.0242cef1fc32
veth160e3cd docker0 8000.0242cef1fc32
"""

from __future__ import annotations

import re
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from diag.model.message import say
from diag.model.netns import BridgePort, Link, LinkKind
from diag.model.provenance import Evidence, Gap, GapKind
from diag.parse.json_items import json_items, text_of
from diag.parse.result import Parsed
from diag.parse.ticket_lines import ticket_lines, unreadable

_AFFECTS = say("every flow over these bridges")


class PortFacts(Struct, frozen=True):
    """One port, or with an empty `name` a bridge that shows none."""

    name: str
    bridge: str
    port: BridgePort
    bridge_id: str = ""
    stp: bool | None = None
    evidence: Evidence | None = None


def parse_bridge_json(data: bytes, file: str) -> Parsed[tuple[PortFacts, ...]]:
    """`bridge -j -d link show`."""
    items = json_items(data, file, _AFFECTS)
    ports, gaps = [], list(items.gaps)
    for item in items.value:
        name, master = text_of(item.body, "ifname"), text_of(item.body, "master")
        if not name:
            gaps.append(Gap(GapKind.UNREADABLE, file, item.line, say("a port without a name"), _AFFECTS))
        elif master:
            evidence = Evidence(file, item.line, f"{name} master {master} state {text_of(item.body, 'state')}")
            port = BridgePort(
                text_of(item.body, "state") or None, _flag(item.body, "hairpin"), _flag(item.body, "isolated")
            )
            ports.append(PortFacts(name, master, port, evidence=evidence))
    return Parsed(tuple(ports), tuple(gaps))


def _flag(body: dict[str, Any], key: str) -> bool | None:
    value = body.get(key)
    return value if isinstance(value, bool) else None


_BRIDGE_LINK = re.compile(r"^\d+:\s+([^\s:@]+)(?:@\S+)?:?\s.*\bmaster\s+(\S+)(.*)$")
_BRCTL = re.compile(r"^(\S+)\s+([0-9a-fA-F]{4}\.[0-9a-fA-F:]+)\s+(yes|no)(?:\s+(\S+))?\s*$")
_DETAIL = re.compile(r"\b(hairpin|isolated)\s+(on|off)\b")


def parse_bridge_text(data: bytes, file: str) -> Parsed[tuple[PortFacts, ...]]:
    """`brctl show` or `bridge [-d] link`, told line by line."""
    gaps: list[Gap] = []
    ports: list[PortFacts] = []
    bridge: PortFacts | None = None
    for line, evidence in ticket_lines(data, file, gaps, _AFFECTS):
        shown = _BRCTL.match(line.strip()) if line[0] not in " \t" else None
        listed = _BRIDGE_LINK.match(line)
        words = line.split()
        if "bridge id" in line or "bridge name" in line:
            continue
        if shown is not None:
            stp = shown[3] == "yes"
            bridge = PortFacts("", shown[1], BridgePort(), shown[2], stp, evidence)
            ports.append(replace(bridge, name=shown[4] or ""))
        elif listed is not None:
            state = re.search(r"\bstate\s+(\S+)", listed[3])
            ports.append(PortFacts(listed[1], listed[2], BridgePort(state[1] if state else None), evidence=evidence))
        elif bridge is not None and len(words) == 1 and line[0] in " \t":
            ports.append(replace(bridge, name=words[0], evidence=evidence))
        elif ports and _DETAIL.search(line):
            flags = {key: value == "on" for key, value in _DETAIL.findall(line)}
            ports[-1] = replace(ports[-1], port=replace(ports[-1].port, **flags))
        else:
            gaps.append(unreadable(evidence, say("bridge link or brctl show"), _AFFECTS))
    return Parsed(tuple(ports), tuple(gaps))


def with_ports(links: tuple[Link, ...], ports: tuple[PortFacts, ...]) -> tuple[Link, ...]:
    """Give the links what the bridge output says of them; a bridge or port that only it knows is added."""
    by_name = {p.name: p for p in ports if p.name}
    bridges = {p.bridge: p for p in ports}
    merged = [_merge(link, by_name.get(link.name), bridges.get(link.name)) for link in links]
    known = {link.name for link in links}
    for name, facts in bridges.items():
        if name not in known:
            merged.append(
                _merge(Link(name, 0, LinkKind.BRIDGE, up=True, carrier=True, evidence=facts.evidence), None, facts)
            )
    for name, facts in by_name.items():
        if name not in known and name not in bridges:
            link = Link(name, 0, LinkKind.VETH, up=True, carrier=True, evidence=facts.evidence)
            merged.append(_merge(link, facts, None))
    return tuple(merged)


def _merge(link: Link, port: PortFacts | None, bridge: PortFacts | None) -> Link:
    if port is not None:
        link = replace(link, port=port.port, master=link.master or port.bridge)
    if bridge is not None:
        stp = link.stp if bridge.stp is None else bridge.stp
        kind = LinkKind.BRIDGE if link.kind is LinkKind.DEVICE else link.kind
        link = replace(link, kind=kind, bridge_id=link.bridge_id or bridge.bridge_id, stp=stp)
    return link
