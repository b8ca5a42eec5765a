"""All pairs at once: the requests of every source to every destination through the host's rules, and the replies back.

The result is exact for every pair that it covers; pairs that it does not cover are named, and the interpreter decides
them. The kernel's behaviour is that of the interpreter's modules, told over sets: net/ipv4/ip_forward.c,
net/bridge/br_netfilter_hooks.c, net/netfilter/core.c, nf_conntrack_core.c.
"""

from __future__ import annotations

from collections import defaultdict
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
from diag.symbolic.host_ports import HostPorts, HostSockets
from diag.symbolic.pairs import Pairs
from diag.symbolic.rules import Blocker, Outcome, RuleWalker
from diag.symbolic.space import Set
from diag.symbolic.stacks import Way, ends, plain_stacks
from diag.symbolic.view import Packet, View

_CONNTRACK = -200
_NAT = {Hook.PREROUTING: -100, Hook.OUTPUT: -100, Hook.INPUT: 100, Hook.POSTROUTING: 100}
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
    elsewhere: bool = False
    """They are for the host, and a container takes them: by DNAT or docker-proxy."""
    networks: tuple[str, str, bool] = ("", "", False)
    """What Docker says of the networks between: of the source's, the destination's, and whether they are one."""
    covered: bool = True
    """Whether the engine can tell; else the interpreter decides."""


Kinds = tuple[tuple[Kind, Set], ...]


@dataclass(frozen=True, slots=True)
class Solution:
    """The flows of all pairs of plain stacks, by kind: disjoint sets that together are all."""

    pairs: Pairs
    kinds: Kinds
    from_host: Kinds
    """The host's own flows to every destination, whatever the source."""


def solve(snapshot: Snapshot, topology: Topology, world: str = "") -> Solution | None:
    """None where the engine covers no pair of the host. `world` is the namespace beyond its uplink, if there is one."""
    host = snapshot.netns.get("host")
    if host is None or host.ruleset.missing.get(TableFamily.IP) or _has_link_rules(snapshot):
        return None
    stacks = plain_stacks(snapshot, topology)
    if not stacks:
        return None
    pairs = Pairs(stacks, ends(snapshot, topology, stacks, world))
    return _Solver(snapshot, topology, host, pairs).solve()


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
        self.snapshot = snapshot
        own = {a.ip.value for link in host.links or () for a in link.addresses if a.ip.family is Family.IPV4}
        self.rules = RuleWalker(host.ruleset, own)
        self._views: dict[tuple[Packet, Hook, bool, bool, bool], View] = {}
        self._from_host = False
        """Whose flows are under way: the host's own, or those of stacks."""
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
        self._add(Kind(delivered=False, blocker="no way"), forth[Way.NONE] & ~self.unclear)
        plain, masked = self._requests()
        self._give_up(plain & self._uneven() | masked & ~self.pairs.answers_masks)
        plain, masked = plain & ~self.unclear, masked & ~self.unclear
        self._add(Kind(delivered=False, blocker="no way", reply=True), plain & back[Way.NONE])
        answered = self._replies(plain & ~back[Way.NONE], masked=False) | self._replies(masked, masked=True)
        if self.rules.rejects:
            self._third_packets(answered, masked)
        self._add(Kind(delivered=True), answered & ~forth[Way.GATEWAY])
        self._add(Kind(delivered=True, routed=True), answered & forth[Way.GATEWAY])
        kinds = self._found()
        return Solution(self.pairs, kinds, self._host_calls())

    def _host_calls(self) -> Kinds:
        """What the host itself reaches, from its address on the bridge of each destination."""
        self.kinds, self._views, self._from_host = {}, {}, True
        near = self.pairs.mask_where(lambda _ip: True) & self.pairs.answers_masks & ~self.pairs.beyond
        self.unclear = ~near
        outcome = self._outcome()
        sent = self._hook(Packet.REQUEST, Hook.OUTPUT, near, outcome, masked=False)
        sent = self._hook(Packet.REQUEST, Hook.POSTROUTING, sent, outcome, masked=False)
        self._give_up(outcome.masked | outcome.diverted)
        self._note(outcome, reply=False)
        outcome = self._outcome()
        back = self._hook(Packet.REPLY, Hook.PREROUTING, sent & ~self.unclear, outcome, masked=False)
        back = self._hook(Packet.REPLY, Hook.INPUT, back, outcome, masked=False)
        self._note(outcome, reply=True)
        if self.rules.rejects:
            outcome = self._outcome()
            third = back & self.space.protocol[Protocol.TCP]
            third = self._hook(Packet.THIRD, Hook.OUTPUT, third, outcome, masked=False)
            self._hook(Packet.THIRD, Hook.POSTROUTING, third, outcome, masked=False)
            self._give_up(self.space.union(flows for blocker, flows in outcome.stopped.items() if blocker.rejects))
            self._give_up(outcome.unclear)
        self._add(Kind(delivered=True), back)
        return self._found()

    def _requests(self) -> tuple[Set, Set]:
        """The flows whose request arrives: with its own source address, and with the host's."""
        forth, outcome = self.pairs.request, self._outcome()
        direct, gateway, up = (forth[way] & ~self.unclear for way in (Way.DIRECT, Way.GATEWAY, Way.UP))
        unfiltered = direct & ~self._filtered
        inside, passed = self._hooks(Packet.REQUEST, direct & self._filtered, gateway, up, outcome)
        self._add(Kind(delivered=False, elsewhere=True), outcome.diverted & up)
        self._give_up(outcome.diverted & ~up | outcome.masked & direct)
        self._note(outcome, reply=False)
        taken = self._opened(inside)
        masked = passed & outcome.masked
        return (passed & ~masked | unfiltered | taken) & ~self.unclear, masked & ~self.unclear

    def _opened(self, inside: Set) -> Set:
        """Of the flows that get to the host itself those that a process of its own would take."""
        taken = self.space.protocol[Protocol.ICMP]
        proxied = self.space.empty
        sockets = HostSockets(self.snapshot)
        alike: dict[tuple[Protocol, HostPorts], list[int]] = defaultdict(list)
        for number, port in enumerate(self.pairs.ports):
            for protocol in (Protocol.TCP, Protocol.UDP) if port.netns == "host" else ():
                alike[protocol, sockets.at(protocol, port.address)].append(number)
        for (protocol, ports), numbers in alike.items():
            here = self.space.destinations_among(numbers) & self.space.protocol[protocol]
            taken = taken | (here & self.space.ports(ports.own))
            proxied = proxied | (here & self.space.ports(ports.proxied))
        self._add(Kind(delivered=False, elsewhere=True), inside & proxied)
        self._add(Kind(delivered=False, blocker="nobody listens"), inside & ~taken & ~proxied)
        return inside & taken

    def _replies(self, flows: Set, *, masked: bool) -> Set:
        """The flows whose reply gets back."""
        if flows == self.space.empty:
            return flows
        forth, outcome = self.pairs.request, self._outcome()
        direct, gateway, up = (flows & forth[way] for way in (Way.DIRECT, Way.GATEWAY, Way.UP))
        _, passed = self._hooks(Packet.REPLY, direct & self._filtered, gateway, up, outcome, masked=masked)
        self._note(outcome, reply=True)
        return (passed | (direct & ~self._filtered)) & ~self.unclear

    def _third_packets(self, answered: Set, masked: Set) -> None:
        """A rule that rejects the ACK ends a connection that a process would have taken."""
        forth, tcp = self.pairs.request, answered & self.space.protocol[Protocol.TCP]
        for flows, disguised in ((tcp & ~masked, False), (tcp & masked, True)):
            outcome = self._outcome()
            direct, gateway, up = (flows & forth[way] for way in (Way.DIRECT, Way.GATEWAY, Way.UP))
            self._hooks(Packet.THIRD, direct & self._filtered, gateway, up, outcome, masked=disguised)
            for blocker, stopped in outcome.stopped.items():
                if blocker.rejects:
                    self._give_up(stopped)
            self._give_up(outcome.unclear)

    def _uneven(self) -> Set:
        """Pairs whose reply takes another way than the request."""
        forth, back = self.pairs.request, self.pairs.reply
        same = back[Way.NONE]
        for way in (Way.DIRECT, Way.GATEWAY, Way.UP):
            same = same | (forth[way] & back[way])
        return ~same

    def _give_up(self, flows: Set) -> None:
        """Leave their pairs to the interpreter."""
        if flows != self.space.empty:
            self.unclear = self.unclear | self.space.pairs_with(flows)

    def _note(self, outcome: Outcome, *, reply: bool) -> None:
        self._give_up(outcome.unclear)
        for blocker, flows in outcome.stopped.items():
            self._stop(blocker, flows, reply=reply)

    def _hooks(
        self, packet: Packet, bridged: Set, routed: Set, up: Set, outcome: Outcome, *, masked: bool = False
    ) -> tuple[Set, Set]:
        """What gets up to the host itself, and what goes through it; replies of the host are among the latter."""
        back = packet is Packet.REPLY
        start = bridged | routed if back else bridged | routed | up
        passed = self._hook(packet, Hook.PREROUTING, start, outcome, masked=masked)
        refused = passed & routed & (self._closed_back if back else self._closed)
        if refused != self.space.empty:
            outcome.stop(Blocker("forwarding is off"), refused)
            passed = passed & ~refused
        inside = self.space.empty
        if back:
            sent = self._hook(packet, Hook.OUTPUT, up, outcome, masked=masked)
        else:
            inside, sent = self._hook(packet, Hook.INPUT, passed & up, outcome, masked=masked), self.space.empty
        passed = self._hook(packet, Hook.FORWARD, passed & ~up, outcome, masked=masked)
        return inside, self._hook(packet, Hook.POSTROUTING, passed | sent, outcome, masked=masked)

    def _hook(self, packet: Packet, hook: Hook, flows: Set, outcome: Outcome, *, masked: bool) -> Set:
        """Every base chain at a hook in the kernel's order. NAT chains see the first packet only, and the first binding wins."""
        chains = [(priority, table, chain) for priority, table, chain in self.rules.base_chains(hook, ChainType.FILTER)]
        if packet is Packet.REQUEST and hook in _NAT:
            chains += [(_NAT[hook], table, chain) for _, table, chain in self.rules.base_chains(hook, ChainType.NAT)]
        for priority, table, chain in sorted(chains, key=lambda item: item[0]):
            if flows == self.space.empty:
                break
            bound = flows & outcome.masked
            if priority > _NAT.get(hook, priority):
                outcome.unclear = outcome.unclear | bound
            view = self._view(packet, hook, priority, masked=masked)
            flows = bound | self.rules.run(view, table, chain, flows & ~bound, outcome)
        return flows

    def _view(self, packet: Packet, hook: Hook, priority: int, *, masked: bool) -> View:
        early = hook in (Hook.PREROUTING, Hook.OUTPUT) and priority < _CONNTRACK
        to_host = masked and packet is Packet.REPLY and hook is Hook.PREROUTING and priority < _NAT[hook]
        key = (packet, hook, early, masked, to_host)
        if key not in self._views:
            self._views[key] = View(
                self.pairs,
                self.host,
                packet,
                hook,
                tracked=not early,
                masked=masked,
                to_host=to_host,
                from_host=self._from_host,
            )
        return self._views[key]

    def _outcome(self) -> Outcome:
        return Outcome.none(self.space.empty)

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
        rest = self.space.all
        for near, sources in out_of.items():
            for far, destinations in into.items():
                both = sources & destinations
                rest = rest & ~both
                yield (near, far, False), both & ~one
                yield (near, far, True), both & one
        yield ("", "", False), rest

    def _add(self, kind: Kind, flows: Set) -> None:
        if flows != self.space.empty:
            self.kinds[kind] = self.kinds.get(kind, self.space.empty) | flows

    def _found(self) -> Kinds:
        """The kinds, which together are all flows: what is in none would be a mistake here, and is left to the interpreter."""
        self._give_up(self.space.flows & ~self.space.union(self.kinds.values()))
        clear = ~self.unclear
        found = [(kind, flows & clear) for kind, flows in self.kinds.items()]
        found = [(kind, flows) for kind, flows in found if flows != self.space.empty]
        if self.unclear != self.space.empty:
            found.append((Kind(delivered=False, covered=False), self.unclear))
        return tuple(found)


def _traits(network: DockerNetwork | None) -> str:
    if network is None:
        return "no network"
    return " ".join(word for word, on in (("internal", network.internal), ("icc", network.icc)) if on)
