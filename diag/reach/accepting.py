"""What an accept rule has to match to let through what rules stop: as iptables has it, and as the model does."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from diag.model.address import Family, Ip
from diag.model.flow import ICMP, ICMPV6, TCP, UDP, Protocol
from diag.model.netfilter import Field, Match, Ranges, Within
from diag.reach.windows import Span, port_set

_MULTIPORT = 15
"""Ports that xt_multiport takes, each end of a range counted."""
_NUMBERS = {Protocol.TCP: TCP, Protocol.UDP: UDP}


class Wanted(Struct, frozen=True):
    """The flows of one caller to one address that are to be accepted."""

    options: str
    """`-s 10.0.0.2 -d 10.0.0.3 -p tcp --dport 5432`."""
    matches: tuple[Match, ...]


def wanted(source: Ip, destination: Ip, stopped: Iterable[Span]) -> Wanted:
    """Of flows that are stopped those alone, where one rule can say so; else all between the two."""
    addresses = f"-s {source} -d {destination}"
    ends = (_is(Field.SADDR, source.value), _is(Field.DADDR, destination.value))
    options, matches = _traffic(source.family, list(stopped))
    return Wanted(f"{addresses} {options}".rstrip(), (*ends, *matches))


def _is(field: Field, value: int) -> Match:
    return Within(field, ((value, value),))


def _traffic(family: Family, stopped: list[Span]) -> tuple[str, tuple[Match, ...]]:
    protocols = {span.protocol for span in stopped}
    if len(protocols) != 1:
        return "", ()
    (protocol,) = protocols
    if protocol is Protocol.ICMP:
        name, number = ("icmp", ICMP) if family is Family.IPV4 else ("ipv6-icmp", ICMPV6)
        return f"-p {name}", (_is(Field.PROTOCOL, number),)
    options, number = f"-p {protocol.value}", _NUMBERS[protocol]
    ports = port_set([both for span in stopped for both in span.ranges])
    if not ports.is_all:
        spelled = _spelled(ports.ranges)
        if not spelled:
            return "", ()
        return f"{options} {spelled}", (_is(Field.PROTOCOL, number), Within(Field.DPORT, ports.ranges))
    return options, (_is(Field.PROTOCOL, number),)


def _spelled(ranges: Ranges) -> str:
    """Empty: more than one rule can take."""
    listed = [str(low) if low == high else f"{low}:{high}" for low, high in ranges]
    if len(listed) == 1:
        return f"--dport {listed[0]}"
    return f"-m multiport --dports {','.join(listed)}" if len(":".join(listed).split(":")) <= _MULTIPORT else ""
