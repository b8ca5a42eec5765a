"""Sets of flows to one destination: `icmp`, `tcp/80,443`, `udp/53`, `tcp`, `all`.

>>> Traffic.of(["tcp/80,8000-8100", "icmp"]).words
'icmp; tcp 80,8000-8100'
>>> (ALL_TRAFFIC - Traffic.of(["icmp", "udp", "tcp/80"])).spelled
('tcp/1-79,81-65535',)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from msgspec import Struct

from diag.model.analysis import Allowed, PortSet
from diag.reach.windows import port_set

_NUMBER = "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_RANGE = f"{_NUMBER}(-{_NUMBER})?"
PATTERN = rf"^(all|icmp|(tcp|udp)(/{_RANGE}(,{_RANGE})*)?)(?!\n)$"
"""What one text may be; the JSON Schema has it too."""
_FORM = re.compile(PATTERN)
_ALL_PORTS = PortSet(((1, 65535),))

Ranges = tuple[tuple[int, int], ...]


class Traffic(Struct, frozen=True):
    """ICMP echo, and destination ports of TCP and UDP."""

    icmp: bool = False
    tcp: PortSet = PortSet()
    udp: PortSet = PortSet()

    @classmethod
    def of(cls, texts: Iterable[str]) -> Traffic:
        """Everything that one of the texts names. Raises ValueError with a reason for what is not :data:`PATTERN`."""
        found = NOTHING
        for text in texts:
            found |= _read(text)
        return found

    @classmethod
    def known(cls, allowed: Allowed) -> Traffic:
        """What is delivered and answered."""
        return cls(allowed.icmp is True, allowed.tcp, allowed.udp)

    @classmethod
    def unknown(cls, allowed: Allowed) -> Traffic:
        """What cannot be told."""
        return cls(allowed.icmp is None, allowed.unknown_tcp, allowed.unknown_udp)

    def __bool__(self) -> bool:
        return bool(self.icmp or self.tcp or self.udp)

    def __or__(self, other: Traffic) -> Traffic:
        return Traffic(
            self.icmp or other.icmp,
            port_set([*self.tcp.ranges, *other.tcp.ranges]),
            port_set([*self.udp.ranges, *other.udp.ranges]),
        )

    def __sub__(self, other: Traffic) -> Traffic:
        return Traffic(
            self.icmp and not other.icmp,
            PortSet(tuple(_without(self.tcp.ranges, other.tcp.ranges))),
            PortSet(tuple(_without(self.udp.ranges, other.udp.ranges))),
        )

    def __and__(self, other: Traffic) -> Traffic:
        return self - (self - other)

    @property
    def words(self) -> str:
        """For a person, as verdicts have it: `icmp; tcp 80,443`."""
        return Allowed(self.icmp, self.tcp, self.udp).words

    @property
    def spelled(self) -> tuple[str, ...]:
        """As a policy has it, the shortest way."""
        if self == ALL_TRAFFIC:
            return ("all",)
        found = ["icmp"] if self.icmp else []
        for name, ports in (("tcp", self.tcp), ("udp", self.udp)):
            if ports:
                found.append(name if ports.is_all else f"{name}/{ports}")
        return tuple(found)


NOTHING = Traffic()
ALL_TRAFFIC = Traffic(True, _ALL_PORTS, _ALL_PORTS)


def _read(text: str) -> Traffic:
    if not _FORM.match(text):
        raise ValueError("it is icmp, tcp, udp, all, or ports from 1 to 65535 such as tcp/80,443 or udp/8000-8100")
    protocol, _, ports = text.partition("/")
    match protocol:
        case "all":
            return ALL_TRAFFIC
        case "icmp":
            return Traffic(icmp=True)
    named = port_set([_range(part) for part in ports.split(",")]) if ports else _ALL_PORTS
    return Traffic(tcp=named) if protocol == "tcp" else Traffic(udp=named)


def _range(text: str) -> tuple[int, int]:
    low, _, high = text.partition("-")
    first, last = int(low), int(high or low)
    if first > last:
        raise ValueError(f"the range {text} ends before it begins")
    return first, last


def _without(ranges: Ranges, taken: Ranges) -> Iterator[tuple[int, int]]:
    """The ranges but for those taken away; both are sorted and disjoint."""
    for low, high in ranges:
        start = low
        for first, last in taken:
            if last < start:
                continue
            if first > high:
                break
            if first > start:
                yield start, first - 1
            start = last + 1
        if start <= high:
            yield start, high
