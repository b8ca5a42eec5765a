"""Neighbours: `ip -j neigh show` and `ip neigh` as text.

>>> sample = b"10.0.0.3 dev eth0 lladdr 02:42:0a:00:00:03 PERMANENT\\n10.0.0.9 dev eth0  FAILED\\n"
>>> for n in parse_neighbours(sample, "host/ip-neigh.txt").value: print(n.ip, n.dev, n.mac or "-", n.state)
10.0.0.3 eth0 02:42:0a:00:00:03 PERMANENT
10.0.0.9 eth0 - FAILED
"""

from __future__ import annotations

from itertools import pairwise

from diag.model.address import Ip
from diag.model.message import said, say
from diag.model.netns import Neighbour
from diag.model.provenance import Gap, GapKind
from diag.parse.json_items import json_items, list_of, text_of
from diag.parse.result import Parsed
from diag.parse.ticket_lines import ticket_lines, unreadable


def parse_neighbours(data: bytes, file: str) -> Parsed[tuple[Neighbour, ...]]:
    """Either form, told by the file's suffix."""
    return _from_json(data, file) if file.endswith(".json") else _from_text(data, file)


def _from_json(data: bytes, file: str) -> Parsed[tuple[Neighbour, ...]]:
    items = json_items(data, file)
    found, gaps = [], list(items.gaps)
    for item in items.value:
        states = [s for s in list_of(item.body, "state") if isinstance(s, str)]
        try:
            ip = Ip.parse(text_of(item.body, "dst"))
        except ValueError as error:
            gaps.append(
                Gap(
                    GapKind.UNREADABLE,
                    file,
                    item.line,
                    say("a neighbour is not understood: {error}", error=said(error)),
                )
            )
            continue
        found.append(
            Neighbour(ip, text_of(item.body, "dev"), text_of(item.body, "lladdr"), states[0] if states else "")
        )
    return Parsed(tuple(found), tuple(gaps))


def _from_text(data: bytes, file: str) -> Parsed[tuple[Neighbour, ...]]:
    gaps: list[Gap] = []
    found = []
    for line, evidence in ticket_lines(data, file, gaps):
        words = line.split()
        try:
            after = dict(pairwise(words[1:]))
            found.append(Neighbour(Ip.parse(words[0]), after["dev"], after.get("lladdr", ""), words[-1]))
        except (ValueError, KeyError):
            gaps.append(unreadable(evidence, "ip neigh"))
    return Parsed(tuple(found), tuple(gaps))
