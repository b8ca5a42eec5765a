"""`ipset save`, ipset(8).

>>> sets = parse_ipset(b'''create web hash:ip,port family inet hashsize 1024 maxelem 65536
... add web 10.0.0.1,tcp:80
... add web 10.0.0.2,udp:53-54
... ''', "host/ipset.txt").value
>>> for element in sets["web"].elements: print(element.key)
((167772161, 167772161), (393296, 393296))
((167772162, 167772162), (1114165, 1114166))

A port is kept together with its protocol, as protocol × 65536 + port.
"""

from __future__ import annotations

from dataclasses import replace

from diag.model.address import Ip, Prefix
from diag.model.netfilter import NamedSet, SetElement
from diag.model.provenance import Evidence, Gap
from diag.parse.iptables_rule import split_words
from diag.parse.protocols import PROTOCOLS
from diag.parse.result import Parsed
from diag.parse.ticket_lines import ticket_lines, unreadable

_DIMENSIONS = frozenset({"ip", "net", "port", "iface", "mac", "mark"})


def parse_ipset(data: bytes, file: str) -> Parsed[dict[str, NamedSet]]:
    """Every set by name; a type or an element that is not modelled makes membership unknown."""
    gaps: list[Gap] = []
    sets: dict[str, NamedSet] = {}
    kinds: dict[str, tuple[str, ...]] = {}
    for line, evidence in ticket_lines(data, file, gaps):
        words = split_words(line)
        if len(words) >= 3 and words[0] == "create":
            sets[words[1]], kinds[words[1]] = _create(words, evidence)
        elif len(words) >= 3 and words[0] == "add" and words[1] in sets:
            sets[words[1]] = _add(sets[words[1]], kinds[words[1]], words, evidence)
        else:
            gaps.append(unreadable(evidence, "ipset save"))
    return Parsed(sets, tuple(gaps))


def _create(words: list[str], evidence: Evidence) -> tuple[NamedSet, tuple[str, ...]]:
    family, _, dimensions = words[2].partition(":")
    kinds = tuple(dimensions.split(","))
    unmodelled = ""
    if family not in ("hash", "bitmap") or not set(kinds) <= _DIMENSIONS or set(kinds) & {"mac", "mark", "iface"}:
        unmodelled = f"sets of the type {words[2]} are not modelled"
    return NamedSet(words[1], (), unmodelled, evidence, kinds), kinds


def _add(named: NamedSet, kinds: tuple[str, ...], words: list[str], evidence: Evidence) -> NamedSet:
    parts = words[2].split(",")
    try:
        if len(parts) != len(kinds):
            raise ValueError("another number of parts than the type has")
        key = tuple(_part(kind, part) for kind, part in zip(kinds, parts, strict=True))
    except (ValueError, KeyError) as error:
        return replace(named, unmodelled=named.unmodelled or f"the element {words[2]} is not understood ({error})")
    element = SetElement(key, None, evidence, negated="nomatch" in words[3:])
    return replace(named, elements=(*named.elements, element))


def _part(kind: str, text: str) -> tuple[int, int]:
    if kind == "port":
        protocol, colon, ports = text.partition(":")
        if not colon:
            protocol, ports = "tcp", text
        low, _, high = ports.partition("-")
        base = PROTOCOLS[protocol] << 16
        return base + int(low), base + int(high or low)
    if "-" in text:
        low, _, high = text.partition("-")
        return Ip.parse(low).value, Ip.parse(high).value
    prefix = Prefix.parse(text)
    return prefix.first, prefix.last
