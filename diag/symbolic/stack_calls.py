"""What stacks, and what is beyond the uplink, call: each other and the host."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from diag.model.flow import Protocol
from diag.model.netns import LinkKind
from diag.symbolic.calls import Calls, Ground
from diag.symbolic.host_ports import HostPorts, HostSockets
from diag.symbolic.kinds import UNHEARD, Kind, Kinds
from diag.symbolic.product import Product
from diag.symbolic.rules import Translation
from diag.symbolic.space import Set
from diag.symbolic.stacks import NOWHERE, Way
from diag.symbolic.view import Packet


class StackCalls(Calls):
    """Every pair of a stack and a destination."""

    def __init__(self, ground: Ground) -> None:
        super().__init__(ground)
        self.diverted: dict[Translation, Product] = {}
        self.diverting: Set = self.space.all
        """Flows to the host that get another destination, as far as they are in the latter."""
        self.proxied: Set = self.space.empty
        """Flows that docker-proxy takes."""
        self.unbound: Set = self.space.empty
        """Those of UDP that a socket takes which is bound to no address."""

    def solve(self) -> Kinds:
        """All flows, by kind."""
        forth = self.pairs.request
        self.unclear = self.unclear | forth[Way.OTHER] | self.ground.unheard | self.ground.picked.refused
        for blocker, flows in self._without_way(forth[Way.NONE] & ~self.unclear):
            self.add(Kind(delivered=False, blocker=blocker), flows)
        for way in NOWHERE[1:]:
            self.add(Kind(delivered=False, blocker=f"the way is {way.value}"), forth[way] & ~self.unclear)
        plain, masked = map(self.vanish, self._requests())
        answered = self.answered(plain, masked)
        if self.ground.rules.rejects or self.ground.own_rules.rejects:
            self._third_packets(answered, masked)
        self.deliver(answered & ~forth[Way.GATEWAY], routed=False)
        self.deliver(answered & forth[Way.GATEWAY], routed=True)
        return self.found(self.space.flows)

    def answered(self, plain: Set, masked: Set) -> Set:
        """Of requests that arrived those whose answer gets back."""
        back = self.pairs.reply
        self.give_up(plain & self._uneven() | masked & ~self.pairs.answers_masks)
        plain, masked = plain & ~self.unclear, masked & ~self.unclear
        gone = self.space.union(back[way] for way in (*NOWHERE, Way.LOST))
        self.add(Kind(delivered=False, blocker="no way", reply=True), plain & gone)
        return self._replies(plain & ~gone, masked=False) | self._replies(masked, masked=True)

    def _without_way(self, flows: Set) -> Iterator[tuple[str, Set]]:
        """Flows without a route by what that means: their source has no link, internal networks alone, or others."""
        if flows == self.space.empty:
            return
        internal = {network.name: network.internal for network in self.ground.snapshot.networks}
        networks: dict[str, set[bool]] = defaultdict(set)
        for container in self.ground.snapshot.containers:
            found = self.ground.snapshot.netns_of.get(container.name, "")
            networks[found].update(internal.get(endpoint.network, False) for endpoint in container.endpoints)
        apart: dict[str, list[int]] = defaultdict(list)
        for number, stack in enumerate(self.pairs.stacks):
            links = self.ground.snapshot.netns[stack.netns].links or ()
            linked = any(link.kind is not LinkKind.LOOPBACK for link in links)
            kind = "no link" if not linked else "internal" if networks[stack.netns] == {True} else "no way"
            apart[kind].append(number)
        for kind, numbers in apart.items():
            yield kind, flows & self.space.sources_among(numbers)

    def _requests(self) -> tuple[Set, Set]:
        """The flows whose request arrives: with its own source address, and with the host's."""
        forth, outcome, filtered = self.pairs.request, self.outcome(), self.ground.filtered
        nowhere = self.space.union(forth[way] for way in NOWHERE)
        left = self.leave(Packet.REQUEST, ~nowhere & ~self.unclear)
        self.lose(left & forth[Way.LOST])
        direct, gateway, up = (forth[way] & left for way in (Way.DIRECT, Way.GATEWAY, Way.UP))
        direct = self.vanish(direct)  # before any rule: its neighbour is asked for first
        if self.ground.rules_are_lost:
            met = filtered | self.ground.filtered_perhaps
            self.add(Kind(delivered=False, unknown=True), direct & met | gateway | up)
            direct, gateway, up = direct & ~met, self.space.empty, self.space.empty
        self._meet_perhaps(Packet.REQUEST, direct)
        inside, passed = self.hooks(Packet.REQUEST, direct & filtered, gateway, up, outcome)
        self.diverted = outcome.diverted
        self.diverting = outcome.diverting if outcome.diverting is not None else self.space.all
        diverted = outcome.elsewhere
        self.add(Kind(delivered=False, elsewhere=True), diverted & up)
        self.give_up(diverted & (~up | outcome.may_stop) | outcome.masked & direct)
        self.note(outcome, reply=False)
        lost = passed & gateway & self.pairs.sent[Way.LOST]
        self.lose(lost)
        passed = passed & ~lost
        taken = self._opened(inside)
        masked = self.arrive(Packet.REQUEST, passed & outcome.masked & ~self.unclear, masked=True)
        plain = passed & ~outcome.masked | direct & ~filtered | taken
        return self.arrive(Packet.REQUEST, plain & ~self.unclear), masked & ~self.unclear

    def _meet_perhaps(self, packet: Packet, direct: Set) -> None:
        """Frames of which it is not known whether they meet the host's rules: what would not pass these may be stopped."""
        flows, outcome = direct & self.ground.filtered_perhaps, self.outcome()
        if flows == self.space.empty:
            return
        _, passed = self.hooks(packet, flows, self.space.empty, self.space.empty, outcome)
        self.give_up(outcome.unclear | outcome.masked | outcome.elsewhere)
        self.doubtful = self.doubtful | outcome.may_stop | flows & ~passed

    def _opened(self, inside: Set) -> Set:
        """Of the flows that get to the host itself those that a process of its own would take, and answer."""
        taken = self.space.protocol[Protocol.ICMP]
        proxied = bound = self.space.empty
        sockets = HostSockets(self.ground.snapshot, self.ground.family)
        alike: dict[tuple[Protocol, HostPorts], list[int]] = defaultdict(list)
        for number, port in enumerate(self.pairs.ports):
            for protocol in (Protocol.TCP, Protocol.UDP) if port.netns == "host" else ():
                alike[protocol, sockets.at(protocol, port.address)].append(number)
        for (protocol, ports), numbers in alike.items():
            here = self.space.destinations_among(numbers) & self.space.protocol[protocol]
            taken = taken | (here & self.space.ports(ports.own))
            bound = bound | (here & self.space.ports(ports.bound))
            proxied = proxied | (here & self.space.ports(ports.proxied))
        self.give_up(inside & proxied & self.doubtful)
        self.proxied = inside & proxied
        self.add(Kind(delivered=False, elsewhere=True), self.proxied)
        self.add(Kind(delivered=False, blocker=UNHEARD), inside & ~taken & ~proxied)
        self.unbound = self.space.protocol[Protocol.UDP] & ~bound
        return self.from_called(inside & taken)

    def from_called(self, taken: Set) -> Set:
        """Of the flows that a process of the host takes those that it answers from the address that was called."""
        unbound = taken & self.unbound
        self.give_up(unbound & self.pairs.by_gateway_perhaps)
        astray = unbound & self.pairs.by_gateway
        self.add(Kind(delivered=False, blocker="the answer comes from another address", reply=True), astray)
        return taken & ~astray

    def _replies(self, flows: Set, *, masked: bool) -> Set:
        """The flows whose reply gets back."""
        if flows == self.space.empty:
            return flows
        forth, outcome, filtered = self.pairs.request, self.outcome(), self.ground.filtered
        left = self.leave(Packet.REPLY, flows, masked=masked)
        direct, gateway, up = (left & forth[way] for way in (Way.DIRECT, Way.GATEWAY, Way.UP))
        self._meet_perhaps(Packet.REPLY, direct)
        _, passed = self.hooks(Packet.REPLY, direct & filtered, gateway, up, outcome, masked=masked)
        self.note(outcome, reply=True)
        return self.arrive(Packet.REPLY, (passed | (direct & ~filtered)) & ~self.unclear)

    def _third_packets(self, answered: Set, masked: Set) -> None:
        forth, tcp = self.pairs.request, answered & self.space.protocol[Protocol.TCP]
        for flows, disguised in ((tcp & ~masked, False), (tcp & masked, True)):
            if self.ground.own_rules.rejects:
                self.leave(Packet.THIRD, flows)
                self.arrive(Packet.THIRD, flows, masked=disguised)
            if not self.ground.rules.rejects:
                continue
            outcome = self.outcome()
            direct, gateway, up = (flows & forth[way] for way in (Way.DIRECT, Way.GATEWAY, Way.UP))
            met = direct & (self.ground.filtered | self.ground.filtered_perhaps)
            self.hooks(Packet.THIRD, met, gateway, up, outcome, masked=disguised)
            self.note_refusals(outcome)

    def _uneven(self) -> Set:
        """Pairs whose reply takes another way than the request."""
        forth, back = self.pairs.request, self.pairs.reply
        same = self.space.union(back[way] for way in (*NOWHERE, Way.LOST))
        for way in (Way.DIRECT, Way.GATEWAY, Way.UP):
            same = same | (forth[way] & back[way])
        return ~same
