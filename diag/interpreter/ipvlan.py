"""Links of ipvlan in the modes l3 and l3s: no layer 2, and the parent's stack is their router.

A packet for another link on the same parent goes straight there; any other is routed and filtered as if the parent's
namespace had made it. What comes in by the parent for one of its links is taken before the parent's own stack (l3) or
after its input hook (l3s). Sources: Documentation/networking/ipvlan.rst, drivers/net/ipvlan/ipvlan_core.c and
ipvlan_l3s.c.
"""

from __future__ import annotations

from abc import abstractmethod

from msgspec.structs import replace

from diag.interpreter.bridging import Bridging
from diag.interpreter.hooks import Devices
from diag.interpreter.outcome import Arrived, Cause, Failed, Outcome
from diag.interpreter.packet import Frame, Packet, Passage
from diag.kernel.topology import L3_MODES, Attachment
from diag.model.address import Ip
from diag.model.flow import HopKind
from diag.model.message import say
from diag.model.netfilter import Hook
from diag.model.netns import Link, LinkKind


class Ipvlan(Bridging):
    """What ipvlan does instead of asking for a neighbour."""

    @abstractmethod
    def _output(self, netns: str, packet: Packet, passage: Passage, oif: str = "") -> Outcome:
        """A packet that starts in a namespace, by any device or by one."""

    def _transmit(self, netns: str, oif: str, packet: Packet, nexthop: Ip, *, at_source: bool) -> Outcome:
        link = self.world.link(netns, oif)
        if link is None or not _is_l3(link):
            return Bridging._transmit(self, netns, oif, packet, nexthop, at_source=at_source)
        parent = self.world.topology.parent(netns, link)
        if parent is None or not parent[1].up:
            detail = say(
                "the parent of {oif} of {who} is down or not in the capture", oif=oif, who=self.world.label(netns)
            )
            return Failed(Cause.NOT_CAPTURED, netns, packet, detail, link.evidence, oif=oif)
        space, name = parent[0].id, parent[1].name
        frame = self._frame(netns, oif, Attachment(netns, oif), packet.family)
        left = self._leave(netns, oif, Attachment(netns, oif), packet, frame)
        if isinstance(left, Failed):
            return left
        other = self._slave(space, name, left) if link.mode_flag != "vepa" else None
        if other is None:
            return self._by_parent(netns, space, name, left)
        if link.mode_flag == "private":
            detail = say("{parent} keeps its ipvlan links apart (private)", parent=name)
            return Failed(Cause.NO_NEIGHBOUR, netns, left, detail, link.evidence, oif=oif)
        self._note(
            HopKind.ROUTE,
            space,
            say("{parent} hands it from {oif} to {who}", parent=name, oif=oif, who=self.world.label(other.netns)),
            link.evidence,
        )
        return Bridging._receive(self, other, left, frame, netns, netns)

    def _by_parent(self, netns: str, space: str, name: str, packet: Packet) -> Outcome:
        """ipvlan_process_outbound(): the sender learns nothing of what becomes of it."""
        self._routed = True
        text = say(
            "{who} sends it on for {sender} by {link} (ipvlan)",
            who=self.world.label(space),
            sender=self.world.label(netns),
            link=name,
        )
        self._note(HopKind.ROUTE, space, text)
        own = packet.marked(0) if space != netns else packet
        outcome = self._output(space, own, Passage(), name)
        if isinstance(outcome, Failed) and outcome.at_source:
            return replace(outcome, at_source=False, error=None)
        return outcome

    def _receive(self, target: Attachment, packet: Packet, frame: Frame, came_from: str, sender: str) -> Outcome:
        if not self.world.topology.is_parent(target.netns, target.link):
            return Bridging._receive(self, target, packet, frame, came_from, sender)
        slave = None if target.port else self._slave(target.netns, target.link, packet)
        if slave is not None and self._mode(slave) == "l3":
            return Bridging._receive(self, slave, packet, frame, target.netns, sender)
        if not any(child.mode == "l3s" for _, child in self.world.topology.children(target.netns, target.link)):
            return Bridging._receive(self, target, packet, frame, came_from, sender)
        result = self._come_up(target, packet, frame, came_from, sender)
        if isinstance(result, Failed):
            return result
        slave = self._slave(target.netns, target.link, result)
        if slave is None:
            return self._route_input(target.netns, target.link, result, self._passage)
        passed = self._hook(target.netns, Hook.INPUT, result, self._passage, Devices(target.link))
        if isinstance(passed, Failed):
            return passed
        self._note(
            HopKind.DELIVER,
            slave.netns,
            say("{who} takes it on {link} (ipvlan l3s)", who=self.world.label(slave.netns), link=slave.link),
        )
        return Arrived(slave.netns, slave.link, passed, self._routed, self._dnat)

    def _slave(self, netns: str, parent: str, packet: Packet) -> Attachment | None:
        """The link on a parent that has the packet's destination (ipvlan_addr_lookup())."""
        for where, child in self.world.topology.children(netns, parent):
            if _is_l3(child) and child.up and any(a.ip == packet.destination for a in child.addresses):
                return Attachment(where, child.name)
        return None

    def _mode(self, place: Attachment) -> str:
        link = self.world.link(place.netns, place.link)
        return link.mode if link is not None else ""


def _is_l3(link: Link) -> bool:
    return link.kind is LinkKind.IPVLAN and link.mode in L3_MODES
