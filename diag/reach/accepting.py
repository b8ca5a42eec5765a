"""What an accept rule has to match to let through what rules stop: as iptables has it, and as the model does."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from diag.model.address import Family, Ip
from diag.model.flow import Protocol
from diag.model.netfilter import Field, Match, Ranges, Within
from diag.reach.windows import Span, port_set

_MULTIPORT = 15
"""Ports that xt_multiport takes, each end of a range counted."""


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
    named = "ipv6-icmp" if protocol is Protocol.ICMP and family is Family.IPV6 else protocol.value
    options, matches = f"-p {named}", (_is(Field.PROTOCOL, protocol.number(family)),)
    ports = port_set([both for span in stopped for both in span.ranges])
    if protocol is Protocol.ICMP or ports.is_all:
        return options, matches
    spelled = _spelled(ports.ranges)
    return (f"{options} {spelled}", (*matches, Within(Field.DPORT, ports.ranges))) if spelled else ("", ())


def _spelled(ranges: Ranges) -> str:
    """Empty: more than one rule can take."""
    listed = [str(low) if low == high else f"{low}:{high}" for low, high in ranges]
    if len(listed) == 1:
        return f"--dport {listed[0]}"
    return f"-m multiport --dports {','.join(listed)}" if len(":".join(listed).split(":")) <= _MULTIPORT else ""
