"""Flows to published ports, once DNAT has given them their new destination."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from diag.model.flow import Protocol
from diag.model.netfilter import Hook
from diag.symbolic.calls import Calls, Ground
from diag.symbolic.kinds import Kind, Kinds
from diag.symbolic.product import Product, union
from diag.symbolic.rules import Outcome, Translation
from diag.symbolic.space import Set
from diag.symbolic.stacks import Way
from diag.symbolic.view import Packet


class TranslatedCalls(Calls):
    """What a flow to the host turns into: its caller, the container's address and the container's port.

    How it fares from there does not hang on what was called, as far as no rule asks conntrack for that. Flows that are not
    diverted in truth are solved with the others, and nobody asks for them.
    """

    translated = True

    def __init__(self, ground: Ground, diverted: Mapping[Translation, Product]) -> None:
        super().__init__(ground)
        self._diverted = diverted

    def solve(self) -> Kinds:
        """The flows that there are, by kind."""
        everything = union(self.space, self._turned()) & self.space.flows
        if everything == self.space.empty:
            return ()
        self.unclear = self.unclear | self.ground.unheard | self.ground.picked.refused | ~self._plain()
        back, outcome = self.pairs.reply, self.outcome()
        passed = self._there(Packet.REQUEST, everything & ~self.unclear, outcome)
        self.note(outcome, reply=False)
        masked = self.arrive(Packet.REQUEST, passed & outcome.masked & ~self.unclear, masked=True)
        plain = self.arrive(Packet.REQUEST, passed & ~outcome.masked & ~self.unclear)
        plain, masked = self.vanish(plain & ~self.unclear), self.vanish(masked & ~self.unclear)
        self.give_up(plain & ~(back[Way.GATEWAY] | back[Way.NONE]) | masked & ~self.pairs.answers_masks)
        plain, masked = plain & ~self.unclear, masked & ~self.unclear
        self.add(Kind(delivered=False, blocker="no way", reply=True), plain & back[Way.NONE])
        for flows, disguised in ((plain & ~back[Way.NONE], False), (masked, True)):
            self.deliver(self._answered(flows, masked=disguised), routed=True)
        return self.found(everything)

    def _turned(self) -> Iterator[Product]:
        numbers: dict[int, list[int]] = defaultdict(list)
        for number, port in enumerate(self.pairs.ports):
            numbers[port.ip].append(number)
        callers: dict[tuple[Set, bool], Set] = {}
        for translation, flows in self._diverted.items():
            there = self.space.destinations_among(numbers[translation.ip])
            any_port = translation.port is not None
            if (flows.pairs, any_port) not in callers:
                callers[flows.pairs, any_port] = self.space.anywhere(flows.pairs, any_port=any_port)
            ports = self.space.all
            if flows.ports is not None:
                ports = self.space.anywhere(flows.ports, any_port=any_port)
            if translation.port is not None:
                ports = ports & self.space.ports(((translation.port, translation.port),))
            yield Product(there & callers[flows.pairs, any_port], ports)

    def _plain(self) -> Set:
        """Pairs of a caller with one link and no rules, which would see what was called, and a container on another bridge."""
        pairs = self.pairs
        unruled = [number for number, stack in enumerate(pairs.stacks) if not stack.filters]
        single = self.space.sources_among(number for number in unruled if len(pairs.stacks[number].ports) == 1)
        return (
            (single | pairs.split_of(unruled)) & pairs.routed & ~self.ground.one_link & ~pairs.to_host & ~pairs.beyond
        )

    def _there(self, packet: Packet, flows: Set, outcome: Outcome, *, masked: bool = False) -> Set:
        """What the host sends on of packets from the caller."""
        passed = self.hook(packet, Hook.PREROUTING, flows, outcome, masked=masked)
        self.give_up(passed & self.ground.picked.sent_on)
        passed = self.hook(packet, Hook.FORWARD, self.forward(packet, passed, outcome), outcome, masked=masked)
        return self.hook(packet, Hook.POSTROUTING, passed, outcome, masked=masked)

    def _answered(self, flows: Set, *, masked: bool) -> Set:
        """The flows whose reply gets back."""
        if flows == self.space.empty:
            return flows
        nothing = self.space.empty
        left, outcome = self.leave(Packet.REPLY, flows, masked=masked), self.outcome()
        _, back = self.hooks(Packet.REPLY, nothing, left, nothing, outcome, masked=masked)
        self.note(outcome, reply=True)
        third = back & self.space.protocol[Protocol.TCP]
        if self.ground.own_rules.rejects:
            self.arrive(Packet.THIRD, third, masked=masked)
        if self.ground.rules.rejects:
            outcome = self.outcome()
            self._there(Packet.THIRD, third, outcome, masked=masked)
            self.note_refusals(outcome)
        return back & ~self.unclear
