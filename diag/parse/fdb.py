"""Forwarding entries of bridges and VXLAN links: `bridge -j fdb show` and its text.

>>> sample = b'''02:42:0a:78:00:05 dev vxlan0 dst 10.254.0.2 link-netnsid 0 self permanent
... 33:33:00:00:00:01 dev eth0 self permanent
... '''
>>> for entry in parse_fdb(sample, "netns/1-abc/bridge-fdb.txt").value: print(entry.mac, entry.dev, entry.dst)
02:42:0a:78:00:05 vxlan0 10.254.0.2

Only entries with a destination matter: they say on which host an address of an overlay network is.
"""

from __future__ import annotations

from itertools import pairwise

from diag.model.address import Ip
from diag.model.message import said, say
from diag.model.netns import FdbEntry
from diag.model.provenance import Evidence, Gap, GapKind
from diag.parse.json_items import json_items, text_of
from diag.parse.result import Parsed
from diag.parse.ticket_lines import ticket_lines, unreadable


def parse_fdb(data: bytes, file: str) -> Parsed[tuple[FdbEntry, ...]]:
    """Either form, told by the file's suffix."""
    return _from_json(data, file) if file.endswith(".json") else _from_text(data, file)


def _from_json(data: bytes, file: str) -> Parsed[tuple[FdbEntry, ...]]:
    items = json_items(data, file)
    found, gaps = [], list(items.gaps)
    for item in items.value:
        dst = text_of(item.body, "dst")
        if not dst:
            continue
        mac, dev = text_of(item.body, "mac"), text_of(item.body, "ifname")
        try:
            evidence = Evidence(file, item.line, f"{mac} dev {dev} dst {dst}")
            found.append(FdbEntry(mac, dev, Ip.parse(dst), evidence))
        except ValueError as error:
            gaps.append(
                Gap(
                    GapKind.UNREADABLE,
                    file,
                    item.line,
                    say("a forwarding entry is not understood: {error}", error=said(error)),
                )
            )
    return Parsed(tuple(found), tuple(gaps))


def _from_text(data: bytes, file: str) -> Parsed[tuple[FdbEntry, ...]]:
    gaps: list[Gap] = []
    found = []
    for line, evidence in ticket_lines(data, file, gaps):
        words = line.split()
        after = dict(pairwise(words[1:]))
        if "dst" not in after:
            continue
        try:
            found.append(FdbEntry(words[0], after.get("dev", ""), Ip.parse(after["dst"]), evidence))
        except ValueError:
            gaps.append(unreadable(evidence, "bridge fdb"))
    return Parsed(tuple(found), tuple(gaps))
