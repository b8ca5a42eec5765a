"""`ipset save`, ipset(8).

>>> sets = parse_ipset(b'''create web hash:ip,port family inet hashsize 1024 maxelem 65536
... add web 10.0.0.1,tcp:80
... add web 10.0.0.2,udp:53-54
... ''', "host/ipset.txt").value
>>> for element in sets["web"].elements: print(element.key)
((167772161, 167772161), (393296, 393296))
((167772162, 167772162), (1114165, 1114166))

A port is kept together with its protocol, as protocol × 65536 + port; for ICMP it is type × 256 + code. A bitmap of
ports holds for TCP and UDP alike.
"""

from __future__ import annotations

from itertools import product

from msgspec import Struct, field
from msgspec.structs import replace

from diag.model.address import Ip, Prefix
from diag.model.flow import TCP, UDP
from diag.model.message import said, say
from diag.model.netfilter import NamedSet, SetElement
from diag.model.provenance import Evidence, Gap
from diag.parse.iptables_rule import split_words
from diag.parse.protocols import ICMP_NAMES, ICMPV6_NAMES, PROTOCOLS
from diag.parse.result import Parsed
from diag.parse.ticket_lines import ticket_lines, unreadable

_DIMENSIONS = frozenset({"ip", "net", "port", "iface", "mark"})


def parse_ipset(data: bytes, file: str) -> Parsed[dict[str, NamedSet]]:
    """Every set by name; a type or an element that is not modelled makes membership unknown."""
    gaps: list[Gap] = []
    sets: dict[str, _Draft] = {}
    for line, evidence in ticket_lines(data, file, gaps):
        words = split_words(line)
        if len(words) >= 3 and words[0] == "create":
            sets[words[1]] = _create(words, evidence)
        elif len(words) >= 3 and words[0] == "add" and words[1] in sets:
            sets[words[1]].add(words, evidence)
        else:
            gaps.append(unreadable(evidence, "ipset save"))
    return Parsed({name: draft.finished() for name, draft in sets.items()}, tuple(gaps))


class _Draft(Struct):
    """A set on its way, and how its elements are read."""

    header: NamedSet
    """Without elements."""
    family: str
    """`hash` or `bitmap`."""
    netmask: int | None
    unmodelled: str
    elements: list[SetElement] = field(default_factory=list)

    def finished(self) -> NamedSet:
        """The whole set."""
        return replace(self.header, elements=tuple(self.elements), unmodelled=self.unmodelled)

    def add(self, words: list[str], evidence: Evidence) -> None:
        """The element of one line."""
        kinds, parts, nomatch = self.header.dimensions, words[2].split(","), "nomatch" in words[3:]
        try:
            if len(parts) != len(kinds):
                raise ValueError(say("another number of parts than the type has"))
            if nomatch and kinds.count("net") > 1:
                raise ValueError(say("an exception in a set of several networks"))
            if "wildcard" in words[3:]:
                parts[-1] += "*"
            keys = product(*(self.keys(kind, part) for kind, part in zip(kinds, parts, strict=True)))
        except (ValueError, KeyError) as error:
            why = say("the element {element} is not understood ({error})", element=words[2], error=said(error))
            self.unmodelled = self.unmodelled or why
        else:
            self.elements += [SetElement(key, None, evidence, negated=nomatch) for key in keys]

    def keys(self, kind: str, text: str) -> tuple[tuple[int, int] | str, ...]:
        """What one part of an element stands for."""
        match kind:
            case "iface":
                if text.startswith("physdev:"):
                    raise ValueError(say("a bridge port"))
                return (text,)
            case "port" if self.family == "bitmap":
                low, _, high = text.partition("-")
                return tuple((base + int(low), base + int(high or low)) for base in (TCP << 16, UDP << 16))
            case "port":
                return (_port(text),)
        if "-" in text:
            low, _, high = text.partition("-")
            first, last = Ip.parse(low), Ip.parse(high)
        else:
            prefix = Prefix.parse(text)
            first, last = Ip(prefix.family, prefix.first), Ip(prefix.family, prefix.last)
        if self.netmask is not None:
            host = (1 << (first.family.bits - self.netmask)) - 1
            return ((first.value & ~host, last.value | host),)
        return ((first.value, last.value),)


def _port(text: str) -> tuple[int, int]:
    protocol, colon, ports = text.partition(":")
    if not colon:
        protocol, ports = "tcp", text
    base = PROTOCOLS["ipv6-icmp" if protocol == "icmpv6" else protocol] << 16
    names = {"icmp": ICMP_NAMES, "icmpv6": ICMPV6_NAMES}.get(protocol)
    if names is not None:
        kind, code = names[ports] if ports in names else (int(part) for part in ports.split("/"))
        return base + (kind << 8) + (code or 0), base + (kind << 8) + (code or 0)
    low, _, high = ports.partition("-")
    return base + int(low), base + int(high or low)


def _create(words: list[str], evidence: Evidence) -> _Draft:
    family, _, dimensions = words[2].partition(":")
    kinds = tuple(dimensions.split(","))
    unmodelled = ""
    if family not in ("hash", "bitmap") or not set(kinds) <= _DIMENSIONS:
        unmodelled = say("sets of the type {type} are not modelled", type=words[2])
    mask = int(words[words.index("netmask") + 1]) if "netmask" in words[:-1] else None
    if "bitmask" in words or (mask is not None and kinds != ("ip",)):
        unmodelled = say("sets of the type {type} with a mask are not modelled", type=words[2])
    return _Draft(NamedSet(words[1], (), "", evidence, kinds), family, mask, unmodelled)
