"""Policy rules of the host that look at where packets come from: what they may send another way is left to the interpreter.

A second uplink answers from its own address by its own gateway, a VPN takes a network's packets. No rule picks a packet
that has another source and came in by another link (fib4_rule_match(), fib6_rule_match()). A socket has no source yet when
it asks for its first route.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from diag.kernel import sysctl
from diag.kernel.fib import Fib, FibQuery, RouteNotCapturedError
from diag.kernel.source_validation import passes_rp_filter
from diag.kernel.topology import Topology
from diag.model.address import Family
from diag.model.flow import Protocol
from diag.model.netfilter import Ranges
from diag.model.netns import Netns
from diag.symbolic.pairs import Pairs
from diag.symbolic.space import Set


class Picked(Struct, frozen=True):
    """Pairs of which policy rules may send some packet another way."""

    sent_on: Set
    """What the host sends on, or the answer to it."""
    answered: Set
    """What the host itself answers."""
    called: Set
    """What the host itself calls; sources are meaningless."""
    refused: Set
    """What crosses a bridge on which the host may not answer ARP, since it would send elsewhere what it answers."""


def picked(pairs: Pairs, host: Netns, topology: Topology, one_link: Set) -> Picked:
    """By the host's policy rules; `one_link`: pairs on one bridge."""
    nothing = pairs.space.empty
    rules = host.rules.get(pairs.family) or ()
    sources = tuple((rule.source.first, rule.source.last) for rule in rules if rule.source is not None)
    links = sorted({rule.iif for rule in rules if rule.iif})
    if not (sources or links):
        return Picked(nothing, nothing, nothing, nothing)
    called = pairs.daddr(sources)
    near = [bridge for bridge, ip in pairs.masks.items() if any(low <= ip <= high for low, high in sources)]
    # A socket of UDP that is bound to no address may answer from the one on the caller's link.
    unbound = _across(pairs, near) & pairs.space.protocol[Protocol.UDP]
    silent = list(_silent(pairs, host, topology, sources))
    return Picked(
        (pairs.saddr(sources) | called & ~pairs.to_host | _across(pairs, links)) & ~one_link,
        (called | unbound) & pairs.to_host,
        called | pairs.mask(sources) | pairs.space.union(pairs.to_bridge[bridge] for bridge in silent),
        _across(pairs, silent) & ~one_link,
    )


def _across(pairs: Pairs, links: list[str]) -> Set:
    """Pairs of which one side is on one of the host's links."""
    return pairs.space.union(by[link] for by in (pairs.from_bridge, pairs.to_bridge) for link in links if link in by)


def _silent(pairs: Pairs, host: Netns, topology: Topology, sources: Ranges) -> Iterator[str]:
    """Bridges and uplinks on which somebody's question for an address that is picked fails rp_filter (arp_process())."""
    if pairs.family is Family.IPV6:
        return
    fib = Fib(host, pairs.family)
    for bridge in pairs.bridges:
        link = topology.link("host", bridge)
        mode = sysctl.rp_filter(host, bridge)
        if link is None or mode == 0:
            continue
        asked = [a.ip.value for a in link.addresses if any(low <= a.ip.value <= high for low, high in sources)]
        askers = [port.ip for port in pairs.ports if port.bridge == bridge and port.netns != "host"]
        if not all(_answers(fib, asker, address, bridge, mode) for asker in askers for address in asked):
            yield bridge


def _answers(fib: Fib, asker: int, address: int, link: str, mode: int | None) -> bool:
    """Whether it answers for certain: what is sent from the address to who asks for it must leave by the link, or at all."""
    try:
        back = fib.lookup(FibQuery(asker, address))
    except RouteNotCapturedError:
        return False
    return bool(passes_rp_filter(back, link, mode))
