"""All pairs at once: the requests of every source to every destination through the host's rules, and the replies back.

The result is exact for every pair that it covers; pairs that it does not cover are named, and the interpreter decides
them. The kernel's behaviour is that of the interpreter's modules, told over sets: net/ipv4/ip_forward.c,
net/bridge/br_netfilter_hooks.c, net/netfilter/core.c, nf_conntrack_core.c.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from diag.kernel import sysctl
from diag.kernel.topology import Topology
from diag.model.address import Family
from diag.model.docker import DockerNetwork
from diag.model.flow import Protocol
from diag.model.netfilter import ChainType, Hook, TableFamily
from diag.model.netns import Netns
from diag.model.snapshot import Snapshot
from diag.symbolic.pairs import Pairs
from diag.symbolic.rules import Blocker, Outcome, RuleWalker
from diag.symbolic.space import Set
from diag.symbolic.stacks import Way, plain_stacks
from diag.symbolic.view import Packet, View

_CONNTRACK = -200
_NAT = {Hook.PREROUTING: -100, Hook.POSTROUTING: 100}
_LINK_FAMILIES = frozenset({TableFamily.BRIDGE, TableFamily.NETDEV, TableFamily.ARP})


@dataclass(frozen=True, slots=True)
class Kind:
    """What a set of flows has in common."""

    delivered: bool
    """And answered."""
    routed: bool = False
    """By the host, from one bridge to another."""
    blocker: str = ""
    """What stops them, where something does."""
    reply: bool = False
    """The reply is stopped, not the request."""
    networks: tuple[str, str, bool] = ("", "", False)
    """What Docker says of the networks between: of the source's, the destination's, and whether they are one."""
    covered: bool = True
    """Whether the engine can tell; else the interpreter decides."""


@dataclass(frozen=True, slots=True)
class Solution:
    """The flows of all pairs of plain stacks, by kind: disjoint sets that together are all."""

    pairs: Pairs
    kinds: tuple[tuple[Kind, Set], ...]


def solve(snapshot: Snapshot, topology: Topology) -> Solution | None:
    """None where the engine covers no pair of the host."""
    host = snapshot.netns.get("host")
    if host is None or host.ruleset.missing.get(TableFamily.IP) or _has_link_rules(snapshot):
        return None
    stacks = plain_stacks(snapshot, topology)
    return _Solver(snapshot, topology, host, Pairs(stacks)).solve() if stacks else None


def _has_link_rules(snapshot: Snapshot) -> bool:
    tables = (table for netns in snapshot.netns.values() for table in netns.ruleset.tables)
    device_hooks = (Hook.INGRESS, Hook.EGRESS)
    return any(
        chain.base is not None
        and (chain.rules or chain.base.policy_drop)
        and (table.family in _LINK_FAMILIES or chain.base.hook in device_hooks)
        for table in tables
        for chain in table.chains.values()
    )


class _Solver:
    def __init__(self, snapshot: Snapshot, topology: Topology, host: Netns, pairs: Pairs) -> None:
        self.pairs = pairs
        self.space = pairs.space
        self.host = host
        self.rules = RuleWalker(host.ruleset)
        self.docker = {n.bridge_name: n for n in snapshot.networks if n.driver == "bridge"}
        self.kinds: dict[Kind, Set] = {}
        self.unclear = self.space.empty
        self._filtered = self.space.empty
        """Pairs on one bridge whose packets meet iptables there."""
        self._closed = self.space.empty
        """Pairs whose packets come in where the host does not forward."""
        self._closed_back = self.space.empty
        self._ask_sysctls(topology)

    def _ask_sysctls(self, topology: Topology) -> None:
        for name in self.pairs.bridges:
            link = topology.link("host", name)
            called = (
                True if link is not None and link.nf_call_iptables else sysctl.bridge_nf_call(self.host, Family.IPV4)
            )
            forwards = sysctl.forwarding(self.host, Family.IPV4, name)
            mine = self.pairs.from_bridge[name]
            if called is None or forwards is None:
                self.unclear = self.unclear | mine | self.pairs.to_bridge[name]
            if called:
                self._filtered = self._filtered | mine
            if not forwards:
                self._closed = self._closed | mine
                self._closed_back = self._closed_back | self.pairs.to_bridge[name]

    def solve(self) -> Solution:
        forth, back = self.pairs.request, self.pairs.reply
        self.unclear = self.unclear | forth[Way.OTHER]
        nowhere = forth[Way.NONE] & ~self.unclear
        self._add(Kind(delivered=False, blocker="no way"), nowhere)
        direct, gateway = forth[Way.DIRECT] & ~self.unclear, forth[Way.GATEWAY] & ~self.unclear
        arrived = self._through(Packet.REQUEST, direct, gateway)
        self.unclear = self.unclear | self.space.pairs_with(arrived & self._uneven())
        arrived = arrived & ~self.unclear
        self._add(Kind(delivered=False, blocker="no way", reply=True), arrived & back[Way.NONE])
        answered = self._through(Packet.REPLY, arrived & back[Way.DIRECT], arrived & back[Way.GATEWAY])
        if self.rules.rejects:
            self._third_packet(answered)
        self._add(Kind(delivered=True), answered & forth[Way.DIRECT])
        self._add(Kind(delivered=True, routed=True), answered & forth[Way.GATEWAY])
        return self._solution()

    def _uneven(self) -> Set:
        """Pairs whose reply takes another way than the request."""
        forth, back = self.pairs.request, self.pairs.reply
        same = (forth[Way.DIRECT] & back[Way.DIRECT]) | (forth[Way.GATEWAY] & back[Way.GATEWAY]) | back[Way.NONE]
        return ~same

    def _third_packet(self, answered: Set) -> None:
        """A rule that rejects the ACK ends a connection that a process would have taken."""
        outcome = self._outcome()
        forth, answered = self.pairs.request, answered & self.space.protocol[Protocol.TCP]
        self._hooks(Packet.THIRD, answered & forth[Way.DIRECT] & self._filtered, answered & forth[Way.GATEWAY], outcome)
        for blocker, flows in outcome.stopped.items():
            if blocker.rejects:
                self.unclear = self.unclear | self.space.pairs_with(flows)
        self.unclear = self.unclear | self.space.pairs_with(outcome.unclear)

    def _through(self, packet: Packet, direct: Set, gateway: Set) -> Set:
        """What gets through the host; the rest is noted with what stops it."""
        outcome = self._outcome()
        unfiltered = direct & ~self._filtered
        passed = self._hooks(packet, direct & self._filtered, gateway, outcome)
        self.unclear = self.unclear | self.space.pairs_with(outcome.unclear)
        for blocker, flows in outcome.stopped.items():
            self._stop(blocker, flows, reply=packet is Packet.REPLY)
        return (passed | unfiltered) & ~self.unclear

    def _hooks(self, packet: Packet, bridged: Set, routed: Set, outcome: Outcome) -> Set:
        passed = self._hook(packet, Hook.PREROUTING, bridged | routed, outcome)
        closed = self._closed_back if packet is Packet.REPLY else self._closed
        refused = passed & routed & closed
        if refused != self.space.empty:
            outcome.stop(Blocker("forwarding is off"), refused)
            passed = passed & ~refused
        passed = self._hook(packet, Hook.FORWARD, passed, outcome)
        return self._hook(packet, Hook.POSTROUTING, passed, outcome)

    def _hook(self, packet: Packet, hook: Hook, flows: Set, outcome: Outcome) -> Set:
        """Every base chain at a hook in the kernel's order. NAT chains see the first packet only."""
        views = {
            tracked: View(self.pairs, self.host, packet, hook, tracked=tracked)
            for tracked in ((False, True) if hook is Hook.PREROUTING else (True,))
        }
        chains = [(priority, table, chain) for priority, table, chain in self.rules.base_chains(hook, ChainType.FILTER)]
        if packet is Packet.REQUEST and hook in _NAT:
            chains += [(_NAT[hook], table, chain) for _, table, chain in self.rules.base_chains(hook, ChainType.NAT)]
        for priority, table, chain in sorted(chains, key=lambda item: item[0]):
            if flows == self.space.empty:
                break
            early = hook is Hook.PREROUTING and priority < _CONNTRACK
            flows = self.rules.run(views[not early], table, chain, flows, outcome)
        return flows

    def _outcome(self) -> Outcome:
        return Outcome(self.space.empty, self.space.empty, self.space.empty)

    def _stop(self, blocker: Blocker, flows: Set, *, reply: bool) -> None:
        """Told apart by what Docker says of the networks between, on which the reason hangs."""
        for networks, between in self._between():
            self._add(Kind(delivered=False, blocker=blocker.key, reply=reply, networks=networks), flows & between)

    def _between(self) -> Iterator[tuple[tuple[str, str, bool], Set]]:
        pairs = self.pairs
        one = self.space.union(pairs.from_bridge[b] & pairs.to_bridge[b] for b in pairs.bridges)
        out_of: dict[str, Set] = {}
        into: dict[str, Set] = {}
        for bridge in pairs.bridges:
            traits = _traits(self.docker.get(bridge))
            out_of[traits] = out_of.get(traits, self.space.empty) | pairs.from_bridge[bridge]
            into[traits] = into.get(traits, self.space.empty) | pairs.to_bridge[bridge]
        for near, sources in out_of.items():
            for far, destinations in into.items():
                both = sources & destinations
                yield (near, far, False), both & ~one
                yield (near, far, True), both & one

    def _add(self, kind: Kind, flows: Set) -> None:
        if flows != self.space.empty:
            self.kinds[kind] = self.kinds.get(kind, self.space.empty) | flows

    def _solution(self) -> Solution:
        clear = ~self.unclear
        found = [(kind, flows & clear) for kind, flows in self.kinds.items()]
        found = [(kind, flows) for kind, flows in found if flows != self.space.empty]
        if self.unclear != self.space.empty:
            found.append((Kind(delivered=False, covered=False), self.unclear))
        return Solution(self.pairs, tuple(found))


def _traits(network: DockerNetwork | None) -> str:
    if network is None:
        return "no network"
    return " ".join(word for word, on in (("internal", network.internal), ("icc", network.icc)) if on)
