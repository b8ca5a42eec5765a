"""Bridges: frames from port to port, and what br_netfilter makes of rewritten ones."""

from __future__ import annotations

from abc import abstractmethod

from msgspec.structs import replace

from diag.interpreter.neighbours import Neighbours
from diag.interpreter.outcome import Cause, Failed, Outcome
from diag.interpreter.packet import Frame, Packet, Passage
from diag.interpreter.source_validation import validate_source
from diag.kernel.fib import FibQuery
from diag.kernel.topology import Attachment, Crossing
from diag.model.address import Family, Ip
from diag.model.message import say
from diag.model.netns import BridgePort, RouteType


class Bridging(Neighbours):
    """From one namespace's layer 3 to the next one's."""

    @abstractmethod
    def _route_input(self, netns: str, iif: str, packet: Packet, passage: Passage) -> Outcome:
        """Layer 3 takes it: to the namespace itself, or on."""

    @abstractmethod
    def _may_forward(self, netns: str, iif: str, packet: Packet) -> bool:
        """Whether the namespace forwards what comes in by a device."""

    def _transmit(self, netns: str, oif: str, packet: Packet, nexthop: Ip, *, at_source: bool) -> Outcome:
        found = self._resolve(netns, oif, packet, nexthop, at_source=at_source)
        if isinstance(found, Failed):
            return found
        return self._carry(netns, oif, found, packet)

    def _carry(self, netns: str, oif: str, target: Attachment, packet: Packet) -> Outcome:
        """Through the bridges between here and the attachment, then up."""
        frame = self._frame(netns, oif, target, packet.family)
        result = self._leave(netns, oif, target, packet, frame)
        where = netns
        for crossing in target.crossings:
            if isinstance(result, Failed):
                return result
            before = result.daddr
            result = self._come_in(crossing, result, frame, netns, same_netns=crossing.netns == where)
            where = crossing.netns
            if isinstance(result, Failed):
                return result
            if result.daddr != before:
                self._dnat = True
                return self._bridged_dnat(crossing.netns, crossing.bridge, crossing.in_port, result, self._passage)
            result = self._go_on(crossing, result, self._passage)
        return result if isinstance(result, Failed) else self._receive(target, result, frame, where, netns)

    def _receive(self, target: Attachment, packet: Packet, frame: Frame, came_from: str, sender: str) -> Outcome:
        """It comes up to layer 3."""
        result = self._come_up(target, packet, frame, came_from, sender)
        if isinstance(result, Failed):
            return result
        passage = self._passage
        if result.daddr != packet.daddr:
            self._dnat = True
            if passage.physin:
                return self._bridged_dnat(target.netns, target.link, target.port, result, passage)
        return self._route_input(target.netns, target.link, result, passage)

    def _bridged_dnat(self, netns: str, bridge: str, in_port: str, packet: Packet, passage: Passage) -> Outcome:
        """br_nf_pre_routing_finish(): a rewritten frame stays on the bridge if its route does, else it is routed."""
        assert passage.frame is not None
        entered = self._entered(netns, in_port, packet, passage.frame)
        if isinstance(entered, Failed):
            return entered
        packet = entered
        fib = self.world.fib(netns, packet.family)
        route = fib.lookup(FibQuery(packet.daddr, packet.saddr, iif=bridge, mark=packet.mark))
        if route is None or route.type is not RouteType.UNICAST or self._nexthop(netns, route).dev != bridge:
            return self._rewritten_up(netns, bridge, in_port, packet, passage)
        if packet.family is Family.IPV4:  # ip_route_input() refuses for a host that does not forward
            if not self._may_forward(netns, bridge, packet):
                return self._rewritten_up(netns, bridge, in_port, packet, passage)
            invalid = validate_source(self.world, self.choices, netns, bridge, packet, bridge)
            if invalid is not None:
                return invalid
        gateway = self._nexthop(netns, route).gateway
        found = self._resolve(netns, bridge, packet, gateway or packet.destination, at_source=False)
        if isinstance(found, Failed):
            return found
        out_port = self.world.topology.egress_port(netns, bridge, found)
        refused = self._not_out_of(netns, bridge, in_port, out_port, packet)
        if refused is not None:
            return refused
        passage.frame = replace(passage.frame, daddr=self.world.mac(found.netns, found.link))
        result = self._pass_on(Crossing(netns, bridge, in_port, out_port), packet, passage)
        if isinstance(result, Failed):
            return result
        return self._receive(replace(found, port=""), result, passage.frame, netns, netns)

    def _rewritten_up(self, netns: str, bridge: str, in_port: str, packet: Packet, passage: Passage) -> Outcome:
        """To layer 3, in a frame that is the bridge's own now."""
        assert passage.frame is not None
        passage.frame = replace(passage.frame, daddr=self.world.mac(netns, bridge))
        result = self._local_in(netns, in_port, bridge, packet, passage.frame)
        return result if isinstance(result, Failed) else self._route_input(netns, bridge, result, passage)

    def _not_out_of(self, netns: str, bridge: str, in_port: str, out_port: str, packet: Packet) -> Failed | None:
        """should_deliver() of br_forward.c."""
        port, came = self._port(netns, out_port), self._port(netns, in_port)
        if out_port == in_port and not self._hairpin(netns, out_port):
            detail = say(
                "{bridge} does not send a frame back out of {out_port} (hairpin is off)",
                bridge=bridge,
                out_port=out_port,
            )
        elif port and port.isolated and came and came.isolated:
            detail = say(
                "{in_port} and {out_port} are isolated ports of {bridge}",
                in_port=in_port,
                out_port=out_port,
                bridge=bridge,
            )
        else:
            return None
        return Failed(Cause.NO_NEIGHBOUR, netns, packet, detail, iif=bridge, oif=bridge)

    def _hairpin(self, netns: str, name: str) -> bool:
        port = self._port(netns, name)
        if port is not None and port.hairpin is not None:
            return port.hairpin
        return self.choices.ask(("hairpin", netns, name), say("hairpin mode of {name} was not captured", name=name))

    def _port(self, netns: str, name: str) -> BridgePort | None:
        link = self.world.link(netns, name)
        return link.port if link is not None else None
