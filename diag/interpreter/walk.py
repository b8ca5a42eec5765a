"""The walk: every namespace is a router, and a packet goes through it as through the kernel.

One walk runs under fixed answers to what is unknown (:mod:`diag.interpreter.choices`). Sources of the behaviour:
net/ipv4/route.c, ip_input.c, ip_forward.c, ip_output.c, arp.c, fib_frontend.c, net/bridge/br_netfilter_hooks.c,
drivers/net/veth.c and their IPv6 siblings.
"""

from __future__ import annotations

from msgspec.structs import replace

from diag.interpreter.hooks import Devices
from diag.interpreter.ipvlan import Ipvlan
from diag.interpreter.outcome import Arrived, Cause, Failed, Outcome
from diag.interpreter.packet import ACK, RST, Packet, Passage
from diag.interpreter.source_validation import validate_source
from diag.kernel import icmp_errors
from diag.kernel.fib import FibQuery, RouteNotCapturedError
from diag.model.address import Family, Ip, is_loopback
from diag.model.flow import ICMP, ICMPV6, TCP, UDP, HopKind
from diag.model.message import said, say
from diag.model.netfilter import CtState, Hook
from diag.model.netns import Nexthop, Route, RouteType

_LOOPBACK = Nexthop("lo")
_WAYS = frozenset({RouteType.LOCAL, RouteType.UNICAST})
"""Types of routes that a packet can take."""


class Walk(Ipvlan):
    """The packets of one flow, there and back, under one set of answers."""

    def send(self, netns: str, packet: Packet) -> Outcome:
        """A packet that the namespace's own stack makes; its source address may still be 0 (to be chosen)."""
        self._routed = self._dnat = False
        self._note(HopKind.SEND, netns, say("{who} sends {packet}", who=self.world.label(netns), packet=packet))
        try:
            return self._output(netns, packet, Passage())
        except RouteNotCapturedError as missing:
            return Failed(Cause.NOT_CAPTURED, netns, packet, said(missing))

    def send_reset(self, netns: str, cause: Packet) -> Outcome:
        """The TCP reset of `REJECT --reject-with tcp-reset` (nf_send_reset()), attached to the refused connection.

        For a frame from a bridge's port it goes straight back out of that port, past every hook.
        """
        self._routed = self._dnat = False
        reset = replace(cause.reply(), tcp_flags=RST | ACK)
        refused = self._passage
        try:
            if not refused.physin:
                return self._output(netns, reset, self._attached())
            route = self.world.fib(netns, cause.family).lookup(FibQuery(reset.daddr, reset.saddr))
        except RouteNotCapturedError as missing:
            return Failed(Cause.NOT_CAPTURED, netns, reset, said(missing))
        failed = self._refused_by_route(netns, reset, route, at_source=False)
        return failed if failed is not None else self._out_of_port(netns, refused.physin, reset)

    def _out_of_port(self, netns: str, port: str, answer: Packet) -> Outcome:
        """Straight out of a bridge's port, back to whoever sent the refused frame."""
        for place in self.world.topology.segment(netns, port).attachments:
            if place.netns == self._passage.sender:
                return self._carry(netns, port, place, answer)
        return Failed(Cause.NOT_MODELLED, netns, answer, say("the way back by {port} is not known", port=port))

    def _attached(self) -> Passage:
        """An answer belongs to the connection of the packet that it answers (nf_conntrack_attach())."""
        refused = self._passage
        if refused.connection is None:
            return Passage()
        return Passage(refused.connection, 1 - refused.direction, CtState.RELATED, tracked=True)

    def send_error(self, netns: str, cause: Packet, code: int) -> Outcome:
        """The ICMP error that a router sends about a packet it refused; conntrack calls it RELATED.

        It is attached to the refused packet's connection (icmp_glue_bits() and nf_ct_attach()).
        """
        protocol, kind = (ICMP, 3) if cause.family is Family.IPV4 else (ICMPV6, 1)
        error = Packet(cause.family, 0, cause.saddr, protocol, icmp_type=kind, icmp_code=code, about=cause.tuple)
        attached = self._attached()
        self._routed = self._dnat = False
        try:
            if self.world.fib(netns, cause.family).is_local(cause.daddr):
                error = error.sent_from(cause.daddr)
            else:
                chosen = self.choose_source(netns, error)
                if isinstance(chosen, Failed):
                    return chosen
                error = chosen
            return self._output(netns, error, attached)
        except RouteNotCapturedError as missing:
            return Failed(Cause.NOT_CAPTURED, netns, error, said(missing))

    def choose_source(self, netns: str, packet: Packet) -> Packet | Failed:
        """Give the packet the source address that connect() would, or say what connect() says."""
        if self.world.netns(netns).links is None:
            return Failed(
                Cause.NOT_CAPTURED,
                netns,
                packet,
                say("the links of {who} were not captured", who=self.world.label(netns)),
            )
        try:
            route = self.world.fib(netns, packet.family).lookup(FibQuery(packet.daddr))
        except RouteNotCapturedError as missing:
            return Failed(Cause.NOT_CAPTURED, netns, packet, said(missing))
        refused = self._refused_by_route(netns, packet, route, at_source=True)
        if refused is not None:
            return refused
        assert route is not None
        nexthop = self._nexthop(netns, route)
        saddr = self.world.stack(netns, packet.family).sources.select(route, nexthop, packet.daddr)
        if saddr is None:
            detail = say(
                "{who} has no {family} address to send from", who=self.world.label(netns), family=packet.family.label
            )
            return Failed(Cause.NO_ROUTE, netns, packet, detail, route.evidence, at_source=True)
        return packet.sent_from(saddr)

    # Output

    def _output(self, netns: str, packet: Packet, passage: Passage, oif: str = "") -> Outcome:
        self._passage = passage
        fib = self.world.fib(netns, packet.family)
        route = fib.lookup(FibQuery(packet.daddr, packet.saddr, oif=oif, mark=packet.mark))
        refused = self._refused_by_route(netns, packet, route, at_source=True)
        if refused is not None:
            return refused
        assert route is not None
        way = self._way(netns, route)
        before = packet
        result = self._hook(netns, Hook.OUTPUT, packet, passage, Devices(oif=way.dev))
        if isinstance(result, Failed):
            return replace(result, at_source=True)
        packet = result
        if (packet.daddr, packet.saddr, packet.mark) != (before.daddr, before.saddr, before.mark):
            self._dnat |= packet.daddr != before.daddr
            route = fib.lookup(FibQuery(packet.daddr, packet.saddr, mark=packet.mark))
            refused = self._refused_by_route(netns, packet, route, at_source=True)
            if refused is not None:
                return refused
            assert route is not None
            way = self._way(netns, route)
        oif = way.dev
        if oif != "lo" and is_loopback(packet.family, packet.saddr):
            localnet = packet.family is Family.IPV6 or self.world.switches(netns, oif).route_localnet
            if not localnet:
                detail = say(
                    "a packet from {source} may not leave by {oif} (route_localnet is off)",
                    source=packet.source,
                    oif=oif,
                )
                return Failed(Cause.MARTIAN, netns, packet, detail, at_source=True, oif=oif)
        self._note_route(netns, packet, route, way)
        return self._postrouting(netns, packet, passage, way.gateway, Devices(oif=oif))

    def _way(self, netns: str, route: Route) -> Nexthop:
        """The way out for what starts here."""
        return _LOOPBACK if route.type is RouteType.LOCAL else self._nexthop(netns, route)

    def _refused_by_route(self, netns: str, packet: Packet, route: Route | None, *, at_source: bool) -> Failed | None:
        if route is not None and route.type in _WAYS:
            return None
        who = self.world.label(netns)
        if route is None:
            detail = say("{who} has no route to {destination}", who=who, destination=packet.destination)
            error = icmp_errors.NET_UNREACHABLE if packet.family is Family.IPV4 else icmp_errors.V6_NO_ROUTE
            return Failed(Cause.NO_ROUTE, netns, packet, detail, at_source=at_source, error=error)
        text = say(
            "{who} has a {type} route for {destination}", who=who, type=route.type.value, destination=packet.destination
        )
        match route.type:
            case RouteType.BLACKHOLE:
                return Failed(Cause.BLACKHOLE, netns, packet, text, route.evidence, at_source=at_source)
            case RouteType.UNREACHABLE:  # IPv6: ip6_pkt_discard()
                error = icmp_errors.HOST_UNREACHABLE if packet.family is Family.IPV4 else icmp_errors.V6_NO_ROUTE
                return Failed(
                    Cause.UNREACHABLE_ROUTE, netns, packet, text, route.evidence, at_source=at_source, error=error
                )
            case RouteType.PROHIBIT:
                error = icmp_errors.FILTERED if packet.family is Family.IPV4 else icmp_errors.V6_PROHIBITED
                return Failed(Cause.PROHIBIT, netns, packet, text, route.evidence, at_source=at_source, error=error)
            case RouteType.BROADCAST | RouteType.MULTICAST | RouteType.ANYCAST | RouteType.NAT | RouteType.THROW:
                detail = say(
                    "{destination} is a {type} address for {who}",
                    destination=packet.destination,
                    type=route.type.value,
                    who=who,
                )
                return Failed(Cause.BROADCAST, netns, packet, detail, route.evidence, at_source=at_source)
            case _:
                return None

    def _route_input(self, netns: str, iif: str, packet: Packet, passage: Passage) -> Outcome:
        family = packet.family
        if iif != "lo" and (is_loopback(family, packet.saddr) or is_loopback(family, packet.daddr)):
            localnet = family is Family.IPV4 and self.world.switches(netns, iif).route_localnet
            if not localnet:
                detail = say("{who} drops loopback addresses that come from outside", who=self.world.label(netns))
                return Failed(Cause.MARTIAN, netns, packet, detail, iif=iif)
        route = self.world.fib(netns, family).lookup(FibQuery(packet.daddr, packet.saddr, iif=iif, mark=packet.mark))
        if route is not None and route.type is RouteType.LOCAL:
            invalid = validate_source(self.world, self.choices, netns, iif, packet)
            if invalid is not None:
                return invalid
            result = self._hook(netns, Hook.INPUT, packet, passage, Devices(iif))
            if isinstance(result, Failed):
                return result
            if result.mark and netns.startswith("netns/") and packet.protocol in (TCP, UDP):
                detail = say(
                    "{netns} marks it for IPVS, Docker's load balancer, whose table is not captured", netns=netns
                )
                return Failed(Cause.NOT_CAPTURED, netns, result, detail, iif=iif)
            link = self.world.link(netns, iif)
            text = say("{who} takes it on {iif}", who=self.world.label(netns), iif=iif)
            self._note(HopKind.DELIVER, netns, text, link.evidence if link else None)
            return Arrived(netns, iif, result, self._routed, self._dnat)
        if not self._may_forward(netns, iif, packet):
            name = "net.ipv4.ip_forward" if packet.family is Family.IPV4 else "net.ipv6.conf.all.forwarding"
            detail = say(
                "{who} does not forward packets that come in by {iif} ({name} is off)",
                who=self.world.label(netns),
                iif=iif,
                name=name,
            )
            space = self.world.netns(netns)
            evidence = space.sysctl_evidence.get(f"net.ipv4.conf.{iif}.forwarding") or space.sysctl_evidence.get(name)
            return Failed(Cause.FORWARDING_OFF, netns, packet, detail, evidence, iif=iif)
        refused = self._refused_by_route(netns, packet, route, at_source=False)
        if refused is not None:
            return refused
        assert route is not None
        way = self._nexthop(netns, route)
        invalid = validate_source(self.world, self.choices, netns, iif, packet, way.dev)
        return invalid if invalid is not None else self._forward(netns, iif, packet, passage, route, way)

    def _may_forward(self, netns: str, iif: str, packet: Packet) -> bool:
        value = self.world.switches(netns, iif).forwards(packet.family)
        if value is not None:
            return value
        cause = say(
            "whether {who} forwards {family} was not captured", who=self.world.label(netns), family=packet.family.label
        )
        return self.choices.ask(("forwarding", netns, packet.family), cause)

    def _forward(self, netns: str, iif: str, packet: Packet, passage: Passage, route: Route, way: Nexthop) -> Outcome:
        if packet.ttl <= 1:
            return Failed(Cause.LOOP, netns, packet, say("the packet goes in circles until its time to live is over"))
        packet = replace(packet, ttl=packet.ttl - 1)
        devices = Devices(iif, way.dev)
        self._routed = True
        self._note_route(netns, packet, route, way)
        result = self._hook(netns, Hook.FORWARD, packet, passage, devices)
        if isinstance(result, Failed):
            return result
        return self._postrouting(netns, result, passage, way.gateway, devices)

    def _postrouting(
        self, netns: str, packet: Packet, passage: Passage, gateway: Ip | None, devices: Devices
    ) -> Outcome:
        """A forwarded packet still shows its input interface here (ip_output()); one that starts here has none."""
        oif, at_source = devices.oif, not devices.iif
        result = self._hook(netns, Hook.POSTROUTING, packet, passage, devices, gateway)
        if isinstance(result, Failed):
            return replace(result, at_source=True) if at_source else result
        if oif == "lo":
            after = self._hook(netns, Hook.PREROUTING, result, passage, Devices("lo"))
            return after if isinstance(after, Failed) else self._route_input(netns, "lo", after, passage)
        nexthop = gateway if gateway is not None else result.destination
        return self._transmit(netns, oif, result, nexthop, at_source=at_source)

    def _note_route(self, netns: str, packet: Packet, route: Route, way: Nexthop) -> None:
        who = self.world.label(netns)
        if route.type is RouteType.LOCAL:
            text = say("{destination} is {who}'s own address", destination=packet.destination, who=who)
        else:
            text = (
                say(
                    "{who} routes it out of {dev} via {gateway} ({route})",
                    who=who,
                    dev=way.dev,
                    gateway=way.gateway,
                    route=route.destination,
                )
                if way.gateway
                else say("{who} routes it out of {dev} ({route})", who=who, dev=way.dev, route=route.destination)
            )
        self._note(HopKind.ROUTE, netns, text, route.evidence)
