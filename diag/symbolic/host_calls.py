"""What the host itself calls, from its address on the bridge of each destination."""

from __future__ import annotations

from diag.model.flow import Protocol
from diag.model.netfilter import Hook
from diag.symbolic.calls import Calls
from diag.symbolic.kinds import Kind, Kinds
from diag.symbolic.stacks import NOWHERE, Way
from diag.symbolic.view import Packet


class HostCalls(Calls):
    """Every destination, whatever the source: sources are meaningless here."""

    from_host = True

    def solve(self) -> Kinds:
        """All flows, by kind."""
        known, nowhere = self.pairs.mask_where(lambda _ip: True) & ~self.pairs.beyond, self.space.empty
        near = known & (self.pairs.answers_masks | self.pairs.unseen) & self.pairs.routed & ~self.ground.unheard
        near = near & ~self.ground.picked.called
        near = near | (known & self.pairs.sent[Way.LOST])
        for way in NOWHERE:
            self.add(Kind(delivered=False, blocker=f"the way is {way.value}"), self.pairs.sent[way])
            nowhere = nowhere | self.pairs.sent[way]
        self.unclear = ~(near | nowhere)
        if self.ground.rules_are_lost:
            self.add(Kind(delivered=False, unknown=True), near)
            return self.found(self.space.flows)
        outcome = self.outcome()
        sent = self.hook(Packet.REQUEST, Hook.OUTPUT, near, outcome)
        sent = self.hook(Packet.REQUEST, Hook.POSTROUTING, sent, outcome)
        self.give_up(outcome.masked | outcome.elsewhere)
        self.note(outcome, reply=False)
        self.lose(sent & self.pairs.sent[Way.LOST])
        sent = sent & ~self.pairs.sent[Way.LOST]
        sent = self.vanish(self.arrive(Packet.REQUEST, sent & ~self.unclear, masked=True))
        left = self.leave(Packet.REPLY, sent, masked=True)
        outcome = self.outcome()
        back = self.hook(Packet.REPLY, Hook.PREROUTING, left, outcome)
        back = self.hook(Packet.REPLY, Hook.INPUT, back, outcome)
        self.note(outcome, reply=True)
        third = back & self.space.protocol[Protocol.TCP]
        if self.ground.own_rules.rejects:
            self.arrive(Packet.THIRD, third, masked=True)
        if self.ground.rules.rejects:
            outcome = self.outcome()
            third = self.hook(Packet.THIRD, Hook.OUTPUT, third, outcome)
            self.hook(Packet.THIRD, Hook.POSTROUTING, third, outcome)
            self.note_refusals(outcome)
        self.deliver(back, routed=False)
        return self.found(self.space.flows)
