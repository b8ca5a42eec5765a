"""The walk: every namespace is a router, and a packet goes through it as through the kernel.

One walk runs under fixed answers to what is unknown (:mod:`diag.interpreter.choices`). Sources of the behaviour:
net/ipv4/route.c, ip_input.c, ip_forward.c, ip_output.c, arp.c, fib_frontend.c, net/bridge/br_netfilter_hooks.c,
drivers/net/veth.c and their IPv6 siblings.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

from diag.interpreter.chains import HookRun, Stopped
from diag.interpreter.choices import Choices
from diag.interpreter.conntrack import ConntrackTable
from diag.interpreter.matching import Context, Window
from diag.interpreter.outcome import Arrived, Cause, Failed, Outcome
from diag.interpreter.packet import ACK, RST, Connection, Packet
from diag.interpreter.world import World
from diag.kernel import icmp_errors, sysctl
from diag.kernel.fib import FibQuery, RouteNotCapturedError
from diag.kernel.source_address import select_source
from diag.kernel.topology import Attachment, Crossing
from diag.model.address import Family, Ip, Prefix
from diag.model.flow import ICMP, ICMPV6, Hop, HopKind
from diag.model.netfilter import CtState, Hook, TableFamily
from diag.model.netns import BridgePort, LinkKind, Nexthop, Route, RouteType
from diag.model.provenance import Evidence

_SOLICITED_NODE = Ip.parse("ff02::1:ff00:0").value
_LOOPBACK_V4 = range(127 << 24, 128 << 24)


class Devices(NamedTuple):
    """The interfaces that a hook sees."""

    iif: str = ""
    oif: str = ""
    physout: str = ""


@dataclass(slots=True)
class Passage:
    """What the kernel keeps with a packet while it is in one namespace."""

    connection: Connection | None = None
    direction: int = 0
    state: int = CtState.INVALID
    """A packet that has not met conntrack counts as INVALID (nft_ct.c, xt_conntrack.c)."""
    untracked: bool = False
    tracked: bool = False
    physin: str = ""
    """The bridge's port by which it came, where bridged packets meet iptables."""
    sender: str = ""
    """The namespace that put the frame on the link."""


@dataclass(slots=True)
class Walk:
    """The packets of one flow, there and back, under one set of answers."""

    world: World
    choices: Choices
    window: Window = field(default_factory=Window)
    hops: list[Hop] = field(default_factory=list)
    conntrack: dict[str, ConntrackTable] = field(default_factory=dict)
    _passage: Passage = field(default_factory=Passage)
    """Of the packet on its way, in the namespace where it is."""
    _routed: bool = False
    _dnat: bool = False
    _neighbours: set[tuple[str, str, int]] = field(default_factory=set)
    """Whom a namespace has heard of by a solicitation: namespace, link, IPv6 address."""

    def send(self, netns: str, packet: Packet) -> Outcome:
        """A packet that the namespace's own stack makes; its source address may still be 0 (to be chosen)."""
        self._routed = self._dnat = False
        self._note(HopKind.SEND, netns, f"{self.world.label(netns)} sends {packet}")
        try:
            return self._output(netns, packet, Passage())
        except RouteNotCapturedError as missing:
            return Failed(Cause.NOT_CAPTURED, netns, packet, str(missing))

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
            return Failed(Cause.NOT_CAPTURED, netns, reset, str(missing))
        failed = self._refused_by_route(netns, reset, route, at_source=False)
        if failed is not None:
            return failed
        for place in self.world.topology.segment(netns, refused.physin).attachments:
            if place.netns == refused.sender:
                return self._carry(netns, place, reset)
        detail = f"the way back by {refused.physin} is not known"
        return Failed(Cause.NOT_MODELLED, netns, reset, detail)

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
                error = replace(error, saddr=cause.daddr)
            else:
                chosen = self.choose_source(netns, error)
                if isinstance(chosen, Failed):
                    return chosen
                error = chosen
            return self._output(netns, error, attached)
        except RouteNotCapturedError as missing:
            return Failed(Cause.NOT_CAPTURED, netns, error, str(missing))

    def choose_source(self, netns: str, packet: Packet) -> Packet | Failed:
        """Give the packet the source address that connect() would, or say what connect() says."""
        if self.world.netns(netns).links is None:
            return Failed(
                Cause.NOT_CAPTURED, netns, packet, f"the links of {self.world.label(netns)} were not captured"
            )
        try:
            route = self.world.fib(netns, packet.family).lookup(FibQuery(packet.daddr))
        except RouteNotCapturedError as missing:
            return Failed(Cause.NOT_CAPTURED, netns, packet, str(missing))
        refused = self._refused_by_route(netns, packet, route, at_source=True)
        if refused is not None:
            return refused
        assert route is not None
        nexthop = self._nexthop(netns, route)
        saddr = select_source(self.world.netns(netns), packet.family, route, nexthop, packet.daddr)
        if saddr is None:
            detail = f"{self.world.label(netns)} has no {packet.family.label} address to send from"
            return Failed(Cause.NO_ROUTE, netns, packet, detail, route.evidence, at_source=True)
        return replace(packet, saddr=saddr)

    # Output

    def _output(self, netns: str, packet: Packet, passage: Passage) -> Outcome:
        self._passage = passage
        fib = self.world.fib(netns, packet.family)
        route = fib.lookup(FibQuery(packet.daddr, packet.saddr, mark=packet.mark))
        refused = self._refused_by_route(netns, packet, route, at_source=True)
        if refused is not None:
            return refused
        assert route is not None
        oif = self._out_device(netns, route)
        before = packet
        result = self._hook(netns, Hook.OUTPUT, packet, passage, Devices(oif=oif))
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
            oif = self._out_device(netns, route)
        localnet = packet.family is Family.IPV6 or sysctl.route_localnet(self.world.netns(netns), oif)
        if oif != "lo" and _is_loopback(packet.family, packet.saddr) and not localnet:
            detail = f"a packet from {packet.source} may not leave by {oif} (route_localnet is off)"
            return Failed(Cause.MARTIAN, netns, packet, detail, at_source=True, oif=oif)
        self._note_route(netns, packet, route)
        return self._postrouting(netns, packet, passage, route, Devices(oif=oif))

    def _out_device(self, netns: str, route: Route) -> str:
        if route.type is RouteType.LOCAL:
            return "lo"
        return self._nexthop(netns, route).dev

    def _nexthop(self, netns: str, route: Route) -> Nexthop:
        alive = [self._connected(netns, n) for n in route.nexthops if not n.dead] or list(route.nexthops)
        if not alive:
            return Nexthop("lo" if route.type is RouteType.LOCAL else "")
        for nexthop in alive[1:]:
            cause = (
                f"which way a packet takes over the multipath route {route.destination} of {netns} depends on a hash"
            )
            if self.choices.ask(("nexthop", netns, str(route.destination), nexthop), cause):
                return nexthop
        return alive[0]

    def _connected(self, netns: str, nexthop: Nexthop) -> Nexthop:
        """An IPv4 gateway that is one of the namespace's own addresses means a directly connected network
        (fib_check_nh_v4_gw(), rt_set_nexthop())."""
        gateway = nexthop.gateway
        if (
            gateway is None
            or gateway.family is Family.IPV6
            or not self.world.fib(netns, gateway.family).is_local(gateway.value)
        ):
            return nexthop
        return replace(nexthop, gateway=None)

    def _refused_by_route(self, netns: str, packet: Packet, route: Route | None, *, at_source: bool) -> Failed | None:
        who = self.world.label(netns)
        if route is None:
            detail = f"{who} has no route to {packet.destination}"
            error = icmp_errors.NET_UNREACHABLE if packet.family is Family.IPV4 else icmp_errors.V6_NO_ROUTE
            return Failed(Cause.NO_ROUTE, netns, packet, detail, at_source=at_source, error=error)
        text = f"{who} has a {route.type.value} route for {packet.destination}"
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
                detail = f"{packet.destination} is a {route.type.value} address for {who}"
                return Failed(Cause.BROADCAST, netns, packet, detail, route.evidence, at_source=at_source)
            case RouteType.LOCAL | RouteType.UNICAST:
                return None

    # Input

    def _receive(self, netns: str, link: str, packet: Packet, came_from: str, port: str = "") -> Outcome:
        """A frame comes up to layer 3 on a link; on a bridge by one of its ports, it meets PREROUTING in the bridge."""
        if netns != came_from:
            packet = replace(packet, mark=0)
        if self.world.unmodelled_rules(netns, families=frozenset({TableFamily.NETDEV}), dev=link):
            cause = f"netdev chains on {link} of {netns} are not modelled"
            if self.choices.ask(("netdev", netns, link), cause):
                return Failed(Cause.NOT_CAPTURED, netns, packet, cause)
        bridged = bool(port) and self._bridge_nf(netns, link, packet.family)
        passage = self._passage = Passage(physin=port if bridged else "", sender=came_from)
        result = self._hook(netns, Hook.PREROUTING, packet, passage, Devices(link))
        if isinstance(result, Failed):
            return result
        if result.daddr != packet.daddr:
            self._dnat = True
            if bridged:
                return self._bridged_dnat(netns, link, result, passage)
        return self._route_input(netns, link, result, passage)

    def _route_input(self, netns: str, iif: str, packet: Packet, passage: Passage) -> Outcome:
        space = self.world.netns(netns)
        fib = self.world.fib(netns, packet.family)
        if iif != "lo" and (packet.family is Family.IPV6 or not sysctl.route_localnet(space, iif)):
            for value in (packet.saddr, packet.daddr):
                if _is_loopback(packet.family, value):
                    detail = f"{self.world.label(netns)} drops loopback addresses that come from outside"
                    return Failed(Cause.MARTIAN, netns, packet, detail, iif=iif)
        route = fib.lookup(FibQuery(packet.daddr, packet.saddr, iif=iif, mark=packet.mark))
        if route is not None and route.type is RouteType.LOCAL:
            invalid = self._validate_source(netns, iif, packet)
            if invalid is not None:
                return invalid
            result = self._hook(netns, Hook.INPUT, packet, passage, Devices(iif))
            if isinstance(result, Failed):
                return result
            link = self.world.link(netns, iif)
            text = f"{self.world.label(netns)} takes it on {iif}"
            self._note(HopKind.DELIVER, netns, text, link.evidence if link else None)
            return Arrived(netns, iif, result, self._routed, self._dnat)
        if not self._may_forward(netns, iif, packet):
            name = "net.ipv4.ip_forward" if packet.family is Family.IPV4 else "net.ipv6.conf.all.forwarding"
            detail = f"{self.world.label(netns)} does not forward packets that come in by {iif} ({name} is off)"
            evidence = space.sysctl_evidence.get(f"net.ipv4.conf.{iif}.forwarding") or space.sysctl_evidence.get(name)
            return Failed(Cause.FORWARDING_OFF, netns, packet, detail, evidence, iif=iif)
        refused = self._refused_by_route(netns, packet, route, at_source=False)
        if refused is not None:
            return refused
        assert route is not None
        invalid = self._validate_source(netns, iif, packet, self._nexthop(netns, route).dev)
        return invalid if invalid is not None else self._forward(netns, iif, packet, passage, route)

    def _may_forward(self, netns: str, iif: str, packet: Packet) -> bool:
        value = sysctl.forwarding(self.world.netns(netns), packet.family, iif)
        if value is not None:
            return value
        cause = f"whether {self.world.label(netns)} forwards {packet.family.label} was not captured"
        return self.choices.ask(("forwarding", netns, packet.family), cause)

    def _validate_source(self, netns: str, iif: str, packet: Packet, oif: str = "") -> Failed | None:
        """fib_validate_source(): own addresses from outside, and rp_filter.

        The way back is looked up as if the answer came in by `oif`, where the packet is to leave.
        """
        if packet.family is Family.IPV6 or iif == "lo":
            return None
        space = self.world.netns(netns)
        fib = self.world.fib(netns, packet.family)
        if fib.is_local(packet.saddr) and not sysctl.accept_local(space, iif):
            detail = f"{self.world.label(netns)} drops packets from outside that carry its own address {packet.source}"
            return Failed(Cause.MARTIAN, netns, packet, detail, iif=iif)
        mark = packet.mark if sysctl.src_valid_mark(space, iif) else 0
        back = fib.lookup(FibQuery(packet.saddr, packet.daddr, iif=oif or "lo", mark=mark))
        if back is not None and back.type is RouteType.UNICAST and any(n.dev == iif for n in back.nexthops):
            return None
        mode = sysctl.rp_filter(space, iif)
        loose_fails = back is None or back.type is not RouteType.UNICAST
        if mode is None:
            cause = f"rp_filter of {iif} in {self.world.label(netns)} was not captured"
            mode = 1 if self.choices.ask(("rp_filter", netns, iif), cause) else 0
        if mode == 0 or (mode == 2 and not loose_fails):
            return None
        name = f"net.ipv4.conf.{iif}.rp_filter"
        evidence = space.sysctl_evidence.get(name) or space.sysctl_evidence.get("net.ipv4.conf.all.rp_filter")
        detail = f"{self.world.label(netns)} has no route back to {packet.source} by {iif} (rp_filter = {mode})"
        return Failed(Cause.RP_FILTER, netns, packet, detail, evidence, iif=iif)

    def _forward(self, netns: str, iif: str, packet: Packet, passage: Passage, route: Route) -> Outcome:
        if packet.ttl <= 1:
            return Failed(Cause.LOOP, netns, packet, "the packet goes in circles until its time to live is over")
        packet = replace(packet, ttl=packet.ttl - 1)
        oif = self._nexthop(netns, route).dev
        self._routed = True
        self._note_route(netns, packet, route)
        result = self._hook(netns, Hook.FORWARD, packet, passage, Devices(iif, oif))
        if isinstance(result, Failed):
            return result
        return self._postrouting(netns, result, passage, route, Devices(iif, oif))

    def _postrouting(self, netns: str, packet: Packet, passage: Passage, route: Route, devices: Devices) -> Outcome:
        """A forwarded packet still shows its input interface here (ip_output()); one that starts here has none."""
        oif, at_source = devices.oif, not devices.iif
        result = self._hook(netns, Hook.POSTROUTING, packet, passage, devices, route)
        if isinstance(result, Failed):
            return replace(result, at_source=at_source)
        if oif == "lo":
            after = self._hook(netns, Hook.PREROUTING, result, passage, Devices("lo"))
            return after if isinstance(after, Failed) else self._route_input(netns, "lo", after, passage)
        gateway = self._nexthop(netns, route).gateway
        nexthop = gateway if gateway is not None else result.destination
        return self._transmit(netns, oif, result, nexthop, at_source=at_source)

    # Link layer

    def _transmit(self, netns: str, oif: str, packet: Packet, nexthop: Ip, *, at_source: bool) -> Outcome:
        found = self._resolve(netns, oif, packet, nexthop, at_source=at_source)
        if isinstance(found, Failed):
            return found
        return self._carry(netns, found, packet)

    def _resolve(self, netns: str, oif: str, packet: Packet, nexthop: Ip, *, at_source: bool) -> Attachment | Failed:
        """Whose link answers for the next hop: ARP or neighbour discovery, or a permanent entry."""
        segment = self.world.topology.segment(netns, oif)
        permanent = self._permanent_mac(netns, oif, nexthop)
        answering: list[Attachment] = []
        refused: list[Failed] = []
        for attachment in segment.attachments:
            if (attachment.netns, attachment.link) == (netns, oif):
                continue
            if permanent:
                link = self.world.link(attachment.netns, attachment.link)
                if link is not None and link.mac == permanent:
                    answering.append(attachment)
            elif self._owns(attachment, nexthop):
                refusal = self._refuses_to_answer(attachment, nexthop, packet, asker=netns)
                if refusal is None:
                    answering.append(attachment)
                else:
                    refused.append(refusal)
        for other in answering[1:]:
            where = f"{answering[0].netns} and {other.netns}"
            if self.choices.ask(("duplicate", netns, str(nexthop), other), f"{nexthop} is answered by {where} alike"):
                return other
        if answering:
            if nexthop.family is Family.IPV6 and not permanent:
                return self._unless_discovery_fails(netns, oif, answering[0], packet, nexthop)
            return self._unless_arp_rules(netns, answering[0], packet)
        if refused:
            return refused[0]
        return self._nobody(netns, oif, packet, nexthop, at_source=at_source)

    def _unless_arp_rules(self, netns: str, found: Attachment, packet: Packet) -> Attachment | Failed:
        """Tables of the arp family may keep the question or its answer away."""
        for place in (netns, found.netns):
            if self.world.unmodelled_rules(place, families=frozenset({TableFamily.ARP})):
                cause = f"tables of the arp family in {place} are not modelled"
                if self.choices.ask(("arp", place), cause):
                    return Failed(Cause.NOT_CAPTURED, place, packet, cause)
        return found

    def _unless_discovery_fails(
        self, netns: str, oif: str, found: Attachment, packet: Packet, nexthop: Ip
    ) -> Attachment | Failed:
        """Neighbour discovery is ICMPv6 and meets the rules of both ends and of the bridges between (ndisc.c).

        Who receives a solicitation learns who sent it, so that the way back needs none.
        """
        asker = self._asking_address(netns, oif, packet)
        if asker is None:
            detail = f"{oif} of {self.world.label(netns)} has no address to ask for {nexthop} from"
            return Failed(
                Cause.NO_NEIGHBOUR, netns, packet, detail, error=icmp_errors.V6_ADDRESS, nexthop=nexthop, oif=oif
            )
        if not any(self.world.filters(place, Family.IPV6) for place in self._places(netns, found)):
            return found
        if (found.netns, found.link, packet.saddr) in self._neighbours or (
            netns,
            oif,
            nexthop.value,
        ) in self._neighbours:
            return found
        kept = self.hops, self._passage, self._dnat
        self.hops = []
        back = self._back(netns, oif, found)
        stopped = self._solicit(netns, oif, found, asker, nexthop.value)
        if stopped is None:
            self._neighbours.add((found.netns, found.link, asker))
            stopped = self._advertise(found.netns, found.link, back, nexthop.value, asker)
        taught = stopped is not None and self._solicit(found.netns, found.link, back, nexthop.value, asker) is None
        self.hops, self._passage, self._dnat = kept
        if stopped is None:
            return found
        cause = (
            f"neighbour discovery of {nexthop} fails, but {nexthop} may have asked for {self.world.label(netns)} before"
        )
        if taught and self.choices.ask(("taught", netns, oif, nexthop), cause):
            return found
        return replace(
            stopped,
            cause=Cause.NO_NEIGHBOUR,
            netns=netns,
            packet=packet,
            detail=f"{nexthop} is not found: of its neighbour discovery, {stopped.detail}",
            error=icmp_errors.V6_ADDRESS,
            nexthop=nexthop,
            stopped=None,
            discovery=stopped.stopped,
        )

    def _places(self, netns: str, found: Attachment) -> set[str]:
        return {netns, found.netns, *(c.netns for c in found.crossings)}

    def _back(self, netns: str, link: str, found: Attachment) -> Attachment:
        """The way from a place back to where the frame came from."""
        crossings = tuple(Crossing(c.netns, c.bridge, c.out_port, c.in_port) for c in reversed(found.crossings))
        return Attachment(netns, link, crossings, self.world.topology.egress_port(netns, link, found))

    def _asking_address(self, netns: str, oif: str, packet: Packet) -> int | None:
        """The source of a solicitation: the packet's, if it is the link's own, else the link-local address (ndisc_solicit())."""
        link = self.world.link(netns, oif)
        own = [a.ip for a in link.addresses if a.ip.family is Family.IPV6] if link else []
        if packet.source in own:
            return packet.saddr
        return next((ip.value for ip in own if ip.is_link_local), None)

    def _solicit(self, netns: str, oif: str, found: Attachment, saddr: int, wanted: int) -> Failed | None:
        group = _SOLICITED_NODE | (wanted & 0xFFFFFF)
        return self._neighbour_message(
            netns, oif, found, Packet(Family.IPV6, saddr, group, ICMPV6, icmp_type=135, ttl=255)
        )

    def _advertise(self, netns: str, oif: str, found: Attachment, saddr: int, daddr: int) -> Failed | None:
        return self._neighbour_message(
            netns, oif, found, Packet(Family.IPV6, saddr, daddr, ICMPV6, icmp_type=136, ttl=255)
        )

    def _neighbour_message(self, netns: str, oif: str, found: Attachment, packet: Packet) -> Failed | None:
        """Through every hook on the way, to the input of the place where it is wanted; None: it gets there."""
        passage = Passage()
        result: Packet | Outcome = packet
        for hook in (Hook.OUTPUT, Hook.POSTROUTING):
            result = self._hook(netns, hook, packet, passage, Devices(oif=oif))
            if isinstance(result, Failed):
                return result
        for crossing in found.crossings:
            if self._bridge_nf(crossing.netns, crossing.bridge, Family.IPV6):
                result = self._bridged(crossing, replace(packet, mark=0), netns)
                if isinstance(result, Failed):
                    return result
        passage = Passage(
            physin=found.port if found.port and self._bridge_nf(found.netns, found.link, Family.IPV6) else ""
        )
        for hook in (Hook.PREROUTING, Hook.INPUT):
            result = self._hook(found.netns, hook, replace(packet, mark=0), passage, Devices(found.link))
            if isinstance(result, Failed):
                return result
        return None

    def _nobody(self, netns: str, oif: str, packet: Packet, nexthop: Ip, *, at_source: bool) -> Failed:
        segment = self.world.topology.segment(netns, oif)
        obstacles = tuple(f"{o.kind}:{o.netns}:{o.link}" for o in segment.obstacles)
        evidence = None
        elsewhere = self._on_another_host(netns, oif, packet, nexthop)
        if elsewhere is not None:
            return elsewhere
        for obstacle in segment.obstacles:
            if obstacle.kind == "unknown-peer":
                cause = f"{nexthop} may be behind {obstacle.link}: {obstacle.detail}"
                if self.choices.ask(("peer", obstacle.netns, obstacle.link), cause):
                    return Failed(Cause.NOT_CAPTURED, netns, packet, cause, oif=oif)
        link = self.world.link(netns, oif)
        if link is None:
            return Failed(Cause.NOT_CAPTURED, netns, packet, f"link {oif} of {netns} was not captured", oif=oif)
        evidence = link.evidence
        if segment.external:
            detail = f"the packet leaves the host by {oif}, and what is beyond was not captured"
            return Failed(Cause.LEFT_HOST, netns, packet, detail, evidence, oif=oif, nexthop=nexthop)
        detail = f"nothing answers for {nexthop} on {oif} of {self.world.label(netns)}"
        error = icmp_errors.host_unreachable(packet.family)
        return Failed(
            Cause.NO_NEIGHBOUR,
            netns,
            packet,
            detail,
            evidence,
            error=error,
            at_source=at_source,
            oif=oif,
            nexthop=nexthop,
            obstacles=obstacles,
        )

    def _on_another_host(self, netns: str, oif: str, packet: Packet, nexthop: Ip) -> Failed | None:
        """The next hop is behind a VXLAN link whose neighbours and forwarding entries name its host (libnetwork, overlay)."""
        for obstacle in self.world.topology.segment(netns, oif).obstacles:
            link = self.world.link(obstacle.netns, obstacle.link)
            if link is None or link.kind is not LinkKind.VXLAN:
                continue
            mac = self._permanent_mac(obstacle.netns, obstacle.link, nexthop)
            for entry in self.world.netns(obstacle.netns).fdb if mac else ():
                if entry.mac == mac and entry.dev == obstacle.link:
                    detail = f"{nexthop} is on another host, {entry.dst}, whose bundle was not captured with this one"
                    return Failed(Cause.NOT_CAPTURED, netns, packet, detail, entry.evidence, oif=oif, nexthop=nexthop)
        return None

    def _permanent_mac(self, netns: str, oif: str, nexthop: Ip) -> str:
        for neighbour in self.world.netns(netns).neighbours:
            if neighbour.ip == nexthop and neighbour.dev == oif and neighbour.state == "PERMANENT":
                return neighbour.mac
        return ""

    def _owns(self, attachment: Attachment, nexthop: Ip) -> bool:
        """Whether the namespace there answers for the address: arp_process() and ndisc_recv_ns()."""
        space = self.world.netns(attachment.netns)
        link = self.world.link(attachment.netns, attachment.link)
        if link is None:
            return False
        own = [a.ip for a in link.addresses if not a.tentative]
        if nexthop.family is Family.IPV6:
            return nexthop in own
        if _is_loopback(nexthop.family, nexthop.value) and not sysctl.route_localnet(space, link.name):
            return False
        try:
            fib = self.world.fib(attachment.netns, nexthop.family)
            route = fib.lookup(FibQuery(nexthop.value, iif=link.name))
        except RouteNotCapturedError:
            return nexthop in own
        if route is None or route.type is not RouteType.LOCAL:
            return False
        ignore = sysctl.arp_ignore(space, link.name)
        return ignore == 0 or (ignore in (1, 2, 3) and nexthop in own)

    def _refuses_to_answer(self, attachment: Attachment, nexthop: Ip, packet: Packet, *, asker: str) -> Failed | None:
        """ARP is answered only where a packet from the asker would be accepted (source validation, rp_filter)."""
        if not self.world.fib(asker, packet.family).is_local(packet.saddr):
            return None
        return self._validate_source(attachment.netns, attachment.link, replace(packet, daddr=nexthop.value))

    def _carry(self, netns: str, target: Attachment, packet: Packet) -> Outcome:
        """Through the bridges between here and the attachment, then up."""
        for position, crossing in enumerate(target.crossings):
            link = self.world.link(crossing.netns, crossing.bridge)
            evidence = link.evidence if link else None
            text = f"bridge {crossing.bridge} carries it from {crossing.in_port} to {crossing.out_port}"
            self._note(HopKind.BRIDGE, crossing.netns, text, evidence)
            unmodelled = self._unmodelled_bridge(crossing, link is not None and link.vlan_filtering)
            if unmodelled and self.choices.ask(("bridge", crossing, position), unmodelled):
                return Failed(Cause.NOT_CAPTURED, crossing.netns, packet, unmodelled)
            if not self._bridge_nf(crossing.netns, crossing.bridge, packet.family):
                continue
            result = self._bridged(crossing, packet, netns)
            if isinstance(result, (Arrived, Failed)):
                return result
            packet = result
        return self._receive(target.netns, target.link, packet, netns, target.port)

    def _unmodelled_bridge(self, crossing: Crossing, vlan_filtering: bool) -> str:
        """What may stop a bridged frame and is not modelled; empty for nothing."""
        if self.world.unmodelled_rules(crossing.netns, families=frozenset({TableFamily.BRIDGE})):
            return f"tables of the bridge family in {crossing.netns} are not modelled"
        return f"VLAN filtering on {crossing.bridge} is not modelled" if vlan_filtering else ""

    def _bridge_nf(self, netns: str, name: str, family: Family) -> bool:
        bridge = self.world.link(netns, name)
        if bridge is not None and (bridge.nf_call_iptables if family is Family.IPV4 else bridge.nf_call_ip6tables):
            return True
        value = sysctl.bridge_nf_call(self.world.netns(netns), family)
        if value is not None:
            return value
        cause = "whether bridged packets meet iptables (net.bridge.bridge-nf-call-iptables) was not captured"
        return self.choices.ask(("bridge-nf", netns, family), cause)

    def _bridged(self, crossing: Crossing, packet: Packet, sender: str) -> Packet | Outcome:
        """A bridged packet meets iptables: br_nf_pre_routing(), br_nf_forward(), br_nf_post_routing()."""
        netns, bridge = crossing.netns, crossing.bridge
        packet = replace(packet, mark=0)
        passage = self._passage = Passage(physin=crossing.in_port, sender=sender)
        before = packet
        result = self._hook(netns, Hook.PREROUTING, packet, passage, Devices(bridge))
        if isinstance(result, Failed):
            return result
        packet = result
        if packet.daddr != before.daddr:
            self._dnat = True
            return self._bridged_dnat(netns, bridge, packet, passage)
        return self._bridge_forward(crossing, packet, passage)

    def _bridge_forward(self, crossing: Crossing, packet: Packet, passage: Passage) -> Packet | Failed:
        netns, bridge = crossing.netns, crossing.bridge
        devices = Devices(bridge, bridge, crossing.out_port)
        result = self._hook(netns, Hook.FORWARD, packet, passage, devices)
        if isinstance(result, Failed):
            return result
        return self._hook(netns, Hook.POSTROUTING, result, passage, devices._replace(iif=""))

    def _bridged_dnat(self, netns: str, bridge: str, packet: Packet, passage: Passage) -> Outcome:
        """br_nf_pre_routing_finish(): a rewritten frame stays on the bridge if its route does, else it is routed."""
        fib = self.world.fib(netns, packet.family)
        route = fib.lookup(FibQuery(packet.daddr, packet.saddr, iif=bridge, mark=packet.mark))
        if route is None or route.type is not RouteType.UNICAST or self._nexthop(netns, route).dev != bridge:
            return self._route_input(netns, bridge, packet, passage)
        if packet.family is Family.IPV4:  # ip_route_input() refuses for a host that does not forward
            if not self._may_forward(netns, bridge, packet):
                return self._route_input(netns, bridge, packet, passage)
            invalid = self._validate_source(netns, bridge, packet, bridge)
            if invalid is not None:
                return invalid
        gateway = self._nexthop(netns, route).gateway
        found = self._resolve(netns, bridge, packet, gateway or packet.destination, at_source=False)
        if isinstance(found, Failed):
            return found
        out_port = self.world.topology.egress_port(netns, bridge, found)
        moved = Crossing(netns, bridge, passage.physin, out_port)
        port = self._port(netns, out_port)
        if out_port == passage.physin and not self._hairpin(netns, out_port):
            detail = f"{bridge} does not send a frame back out of {out_port} (hairpin is off)"
            return Failed(Cause.NO_NEIGHBOUR, netns, packet, detail, iif=bridge, oif=bridge)
        came = self._port(netns, passage.physin)
        if port and port.isolated and came and came.isolated:
            detail = f"{passage.physin} and {out_port} are isolated ports of {bridge}"
            return Failed(Cause.NO_NEIGHBOUR, netns, packet, detail, iif=bridge, oif=bridge)
        result = self._bridge_forward(moved, packet, passage)
        if isinstance(result, Failed):
            return result
        return self._receive(found.netns, found.link, result, netns)

    def _hairpin(self, netns: str, name: str) -> bool:
        port = self._port(netns, name)
        if port is not None and port.hairpin is not None:
            return port.hairpin
        return self.choices.ask(("hairpin", netns, name), f"hairpin mode of {name} was not captured")

    def _port(self, netns: str, name: str) -> BridgePort | None:
        link = self.world.link(netns, name)
        return link.port if link is not None else None

    # Hooks

    def _hook(
        self,
        netns: str,
        hook: Hook,
        packet: Packet,
        passage: Passage,
        devices: Devices,
        route: Route | None = None,
    ) -> Packet | Failed:
        space = self.world.netns(netns)
        context = Context(
            packet,
            netns,
            self.world.fib(netns, packet.family),
            self.choices,
            self.window,
            devices.iif,
            devices.oif,
            passage.physin,
            devices.physout,
            passage.connection,
            passage.direction,
            passage.state,
            sysctl.local_port_range(space),
            hook=hook,
            kernel=self.world.kernel,
        )

        def masquerade() -> int | None:
            gateway = self._nexthop(netns, route).gateway if route is not None else None
            nexthop = Nexthop(devices.oif, gateway)
            plain = Route(Prefix(packet.family, 0, 0), RouteType.UNICAST, "main")
            return select_source(space, packet.family, plain, nexthop, packet.daddr)

        run = HookRun(
            self.world.hooks(netns, packet.family),
            hook,
            context,
            self.conntrack.setdefault(netns, ConntrackTable()),
            self.hops.append,
            masquerade,
        )
        run.untracked = passage.untracked
        stopped = run.run(tracked=passage.tracked)
        passage.connection, passage.direction, passage.state = context.connection, context.direction, context.state
        passage.untracked = run.untracked
        passage.tracked = passage.tracked or hook in (Hook.PREROUTING, Hook.OUTPUT)
        if stopped is None:
            return context.packet
        return self._stopped(netns, stopped, context)

    def _stopped(self, netns: str, stopped: Stopped, context: Context) -> Failed:
        if stopped.unknown:
            cause = Cause.NOT_CAPTURED if "captured" in stopped.unknown else Cause.NOT_MODELLED
            return Failed(cause, netns, context.packet, stopped.unknown, stopped.evidence)
        verb = "rejects" if stopped.reject else "drops"
        if stopped.rule is None:
            detail = f"the policy of {stopped.table} {stopped.chain} {verb} it"
        else:
            detail = f"rule {stopped.rule_number} of {stopped.chain} {verb} it"
        self._note(HopKind.DROP, netns, detail, stopped.evidence, stopped.hook.value, stopped.chain)
        return Failed(
            Cause.RULE,
            netns,
            context.packet,
            detail,
            stopped.evidence,
            stopped,
            iif=context.iif,
            oif=context.oif,
        )

    # Record

    def _note(
        self, kind: HopKind, netns: str, text: str, evidence: Evidence | None = None, hook: str = "", chain: str = ""
    ) -> None:
        self.hops.append(Hop(kind, netns, text, evidence, hook, chain))

    def _note_route(self, netns: str, packet: Packet, route: Route) -> None:
        who = self.world.label(netns)
        if route.type is RouteType.LOCAL:
            text = f"{packet.destination} is {who}'s own address"
        else:
            nexthop = self._nexthop(netns, route)
            by = f" via {nexthop.gateway}" if nexthop.gateway else ""
            text = f"{who} routes it out of {nexthop.dev}{by} ({route.destination})"
        self._note(HopKind.ROUTE, netns, text, route.evidence)


def _is_loopback(family: Family, value: int) -> bool:
    return value in _LOOPBACK_V4 if family is Family.IPV4 else value == 1
