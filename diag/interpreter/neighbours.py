"""Whose link answers for a next hop, and whether the question and its answer get there."""

from __future__ import annotations

from msgspec import field
from msgspec.structs import replace

from diag.interpreter.frames import Frames
from diag.interpreter.hooks import Devices
from diag.interpreter.outcome import Cause, Failed
from diag.interpreter.packet import BROADCAST, ETHER_ARP, ETHER_TYPES, Frame, Packet, Passage
from diag.interpreter.source_validation import validate_source
from diag.kernel import icmp_errors
from diag.kernel.fib import FibQuery, RouteNotCapturedError
from diag.kernel.topology import Attachment, Crossing
from diag.model.address import Family, Ip
from diag.model.flow import ICMPV6
from diag.model.message import say
from diag.model.netfilter import Hook, TableFamily
from diag.model.netns import LinkKind, RouteType

_SOLICITED_NODE = Ip.parse("ff02::1:ff00:0").value
_MULTICAST_MAC = 0x3333 << 32
_REQUEST, _REPLY = 1, 2
_SOLICITATION, _ADVERTISEMENT = 135, 136
_HOP_LIMIT = 255
"""Of a message that no router has passed on."""


class Neighbours(Frames):
    """ARP (arp.c) and neighbour discovery (ndisc.c), or a permanent entry instead."""

    _neighbours: set[tuple[str, str, int]] = field(default_factory=set)
    """Whom a namespace has heard of by a question: namespace, link, address."""

    def _resolve(self, netns: str, oif: str, packet: Packet, nexthop: Ip, *, at_source: bool) -> Attachment | Failed:
        """Whose link answers for the next hop: ARP or neighbour discovery, or a permanent entry."""
        permanent = self.world.permanent_mac(netns, oif, nexthop)
        answering: list[Attachment] = []
        refused: list[Failed] = []
        for attachment in self._answers(netns, oif, nexthop, permanent):
            refusal = None if permanent else self._refuses_to_answer(attachment, nexthop, packet, asker=netns)
            if refusal is None:
                answering.append(attachment)
            else:
                refused.append(refusal)
        for other in answering[1:]:
            cause = say(
                "{nexthop} is answered by {one} and {other} alike",
                nexthop=nexthop,
                one=answering[0].netns,
                other=other.netns,
            )
            if self.choices.ask(("duplicate", netns, str(nexthop), other), cause):
                return other
        if answering:
            if permanent:
                return answering[0]
            return self._unless_discovery_fails(netns, oif, answering[0], packet, nexthop, at_source=at_source)
        if refused:
            return refused[0]
        if not permanent:
            for attachment in self.world.topology.segment(netns, oif).attachments:
                unknown = self._may_stand_in(netns, attachment, packet, nexthop)
                if unknown is not None:
                    return unknown
        return self._nobody(netns, oif, packet, nexthop, at_source=at_source)

    def _answers(self, netns: str, oif: str, nexthop: Ip, permanent: str) -> tuple[Attachment, ...]:
        """Who has the next hop's address, or the MAC address of a permanent entry for it."""
        key = (netns, oif, nexthop.family, nexthop.value)
        found = self.world.answers.get(key)
        if found is None:
            attachments = self.world.topology.segment(netns, oif).attachments
            if not permanent and not nexthop.is_loopback:
                may = self.world.may_answer(nexthop) | self.world.topology.proxies[nexthop.family]
                attachments = tuple([a for a in attachments if a.netns in may])
            others = [a for a in attachments if a.link != oif or a.netns != netns]
            if permanent:
                found = tuple([a for a in others if self._has_mac(a, permanent)])
            else:
                found = tuple([a for a in others if self._owns(a, nexthop) or self._stands_in(a, nexthop)])
            self.world.answers[key] = found
        return found

    def _has_mac(self, attachment: Attachment, mac: str) -> bool:
        link = self.world.link(attachment.netns, attachment.link)
        return link is not None and link.mac == mac

    def _unless_discovery_fails(
        self, netns: str, oif: str, found: Attachment, packet: Packet, nexthop: Ip, *, at_source: bool
    ) -> Attachment | Failed:
        """The question and its answer meet the rules of both ends and of the bridges between.

        Who is asked learns who asked, so that the way back needs no question at first. What was learned so has to be
        verified by a question of one's own within seconds (NUD_DELAY, neighbour.c): where only one side can ask, the
        other one's entry comes and goes.
        """
        nothing_between = not self._rules_between(netns, found, nexthop.family)
        if nothing_between and packet.family is Family.IPV4:  # ARP asks even without an address
            return found
        asker = self._asking_address(netns, oif, packet)
        if asker is None:
            detail = say(
                "{oif} of {who} has no address to ask for {nexthop} from",
                oif=oif,
                who=self.world.label(netns),
                nexthop=nexthop,
            )
            return Failed(
                Cause.NO_NEIGHBOUR, netns, packet, detail, error=icmp_errors.V6_ADDRESS, nexthop=nexthop, oif=oif
            )
        asked = (found.netns, found.link, packet.saddr) in self._neighbours
        if asked or nothing_between:
            return found
        learned = (netns, oif, nexthop.value) in self._neighbours
        kept = self.hops, self._passage, self._dnat
        self.hops = []
        back = self._back(netns, oif, found)
        stopped = self._ask(netns, oif, found, asker, nexthop)
        if stopped is None:
            self._neighbours.add((found.netns, found.link, asker))
            stopped = self._answer(found.netns, found.link, back, nexthop, asker)
        if stopped is not None and not learned:
            taught = self._ask(found.netns, found.link, back, nexthop.value, Ip(nexthop.family, asker)) is None
            learned = taught or any(
                self._question(netns, oif, found, back, other, nexthop) is None
                for other in self._own_addresses(netns, oif, nexthop.family)
                if other != asker
            )
        self.hops, self._passage, self._dnat = kept
        if stopped is None:
            return found
        who = self.world.label(netns)
        cause = say(
            "{who} cannot ask for {nexthop}: it knows the address only for a while after other traffic between them",
            who=who,
            nexthop=nexthop,
        )
        if learned and self.choices.ask(("taught", netns, oif, nexthop), cause):
            return found
        what = say("neighbour discovery") if nexthop.family is Family.IPV6 else say("ARP")
        return replace(
            stopped,
            cause=stopped.cause if stopped.stopped is None else Cause.NO_NEIGHBOUR,
            netns=netns,
            packet=packet,
            detail=say(
                "{nexthop} is not found: of its {what}, {detail}", nexthop=nexthop, what=what, detail=stopped.detail
            ),
            error=icmp_errors.host_unreachable(nexthop.family),
            at_source=at_source,
            nexthop=nexthop,
            stopped=None,
            discovery=stopped.stopped,
        )

    def _rules_between(self, netns: str, found: Attachment, family: Family) -> bool:
        if self.world.has_link_rules:
            return True
        if family is Family.IPV4:
            return False
        places = {netns, found.netns, *(c.netns for c in found.crossings)}
        return any(self.world.filters(place, family) for place in places)

    def _back(self, netns: str, link: str, found: Attachment) -> Attachment:
        """The way from a place back to where the frame came from."""
        crossings = tuple(Crossing(c.netns, c.bridge, c.out_port, c.in_port) for c in reversed(found.crossings))
        return Attachment(netns, link, crossings, self.world.topology.egress_port(netns, link, found))

    def _own_addresses(self, netns: str, oif: str, family: Family) -> list[int]:
        """From which a namespace may ask on a link, by what it wants to send."""
        link = self.world.link(netns, oif)
        return [a.ip.value for a in link.addresses if a.ip.family is family and not a.tentative] if link else []

    def _question(
        self, netns: str, oif: str, found: Attachment, back: Attachment, asker: int, nexthop: Ip
    ) -> Failed | None:
        """A question from an address, and its answer; None: both get there."""
        stopped = self._ask(netns, oif, found, asker, nexthop)
        return stopped if stopped is not None else self._answer(found.netns, found.link, back, nexthop, asker)

    def _asking_address(self, netns: str, oif: str, packet: Packet) -> int | None:
        """The source of a question: the packet's, if it is one's own (IPv6: the link's own), else one of the link's:
        arp_solicit(), ndisc_solicit(). ARP also asks without one."""
        link = self.world.link(netns, oif)
        own = [a.ip for a in link.addresses if a.ip.family is packet.family] if link else []
        if packet.family is Family.IPV6:
            if packet.source in own:
                return packet.saddr
            return next((ip.value for ip in own if ip.is_link_local), None)
        if self.world.fib(netns, packet.family).is_local(packet.saddr):
            return packet.saddr
        return own[0].value if own else 0

    def _ask(self, netns: str, oif: str, found: Attachment, saddr: int, wanted: Ip) -> Failed | None:
        own = self.world.mac(netns, oif)
        if wanted.family is Family.IPV4:
            message = Packet(Family.IPV4, saddr, wanted.value, 0)
            return self._message(netns, oif, found, message, Frame(own, BROADCAST, ETHER_ARP, _REQUEST))
        group = _SOLICITED_NODE | (wanted.value & 0xFFFFFF)
        message = Packet(Family.IPV6, saddr, group, ICMPV6, icmp_type=_SOLICITATION, ttl=_HOP_LIMIT)
        to = _MULTICAST_MAC | (group & 0xFFFFFFFF)
        return self._message(netns, oif, found, message, Frame(own, to, ETHER_TYPES[Family.IPV6]))

    def _answer(self, netns: str, oif: str, found: Attachment, answered: Ip, daddr: int) -> Failed | None:
        plain = self._frame(netns, oif, found, answered.family)
        if answered.family is Family.IPV4:
            frame = Frame(plain.saddr, plain.daddr, ETHER_ARP, _REPLY)
            return self._message(netns, oif, found, Packet(Family.IPV4, answered.value, daddr, 0), frame)
        message = Packet(Family.IPV6, answered.value, daddr, ICMPV6, icmp_type=_ADVERTISEMENT, ttl=_HOP_LIMIT)
        return self._message(netns, oif, found, message, plain)

    def _message(self, netns: str, oif: str, found: Attachment, packet: Packet, frame: Frame) -> Failed | None:
        """Through every hook on the way, to the input of the place where it is wanted; None: it gets there."""
        result: Packet | Failed = packet
        if frame.arp:
            result = self._link_hook(netns, TableFamily.ARP, Hook.OUTPUT, packet, frame, Devices(oif=oif))
        else:
            passage = Passage()
            for hook in (Hook.OUTPUT, Hook.POSTROUTING):
                if not isinstance(result, Failed):
                    result = self._hook(netns, hook, result, passage, Devices(oif=oif))
        if not isinstance(result, Failed):
            result = self._leave(netns, oif, found, result, frame)
        where = netns
        for crossing in found.crossings:
            if isinstance(result, Failed):
                return result
            result = self._come_in(crossing, result, frame, netns, same_netns=crossing.netns == where)
            where = crossing.netns
            if not isinstance(result, Failed):
                result = self._go_on(crossing, result, self._passage)
        if not isinstance(result, Failed):
            result = self._come_up(found, result, frame, where, netns)
        if isinstance(result, Failed):
            return result
        devices = Devices(found.link)
        if frame.arp:
            result = self._link_hook(found.netns, TableFamily.ARP, Hook.INPUT, result, frame, devices)
        else:
            result = self._hook(found.netns, Hook.INPUT, result, self._passage, devices)
        if isinstance(result, Failed):
            return result
        return self._void(found.netns, result)

    def _void(self, netns: str, message: Packet) -> Failed | None:
        """Whoever gets a message of IPv6 that may have come through a router does not look at it: ndisc_rcv()."""
        if message.family is Family.IPV4 or message.ttl == _HOP_LIMIT:
            return None
        detail = say(
            "a rule set the hop limit to {value}, and only {wanted} counts", value=message.ttl, wanted=_HOP_LIMIT
        )
        return Failed(Cause.NO_NEIGHBOUR, netns, message, detail)

    def _nobody(self, netns: str, oif: str, packet: Packet, nexthop: Ip, *, at_source: bool) -> Failed:
        segment = self.world.topology.segment(netns, oif)
        obstacles = tuple(f"{o.kind}:{o.netns}:{o.link}" for o in segment.obstacles)
        evidence = None
        elsewhere = self._on_another_host(netns, oif, packet, nexthop)
        if elsewhere is not None:
            return elsewhere
        for obstacle in segment.obstacles:
            if obstacle.kind == "unknown-peer":
                cause = say(
                    "{nexthop} may be behind {link}: {detail}",
                    nexthop=nexthop,
                    link=obstacle.link,
                    detail=obstacle.detail,
                )
                if self.choices.ask(("peer", obstacle.netns, obstacle.link), cause):
                    return Failed(Cause.NOT_CAPTURED, netns, packet, cause, oif=oif)
        for container, _ in self.world.endpoints.get(nexthop, ()):
            owner = self.world.snapshot.netns_of.get(container.name)
            if owner is not None and self.world.netns(owner).links is None:
                cause = say("{nexthop} is {who}, whose links were not captured", nexthop=nexthop, who=container.name)
                if self.choices.ask(("links", owner), cause):
                    return Failed(Cause.NOT_CAPTURED, netns, packet, cause, oif=oif)
        link = self.world.link(netns, oif)
        if link is None:
            return Failed(
                Cause.NOT_CAPTURED,
                netns,
                packet,
                say("link {oif} of {netns} was not captured", oif=oif, netns=netns),
                oif=oif,
            )
        evidence = link.evidence
        if segment.external:
            detail = say("the packet leaves the host by {oif}, and what is beyond was not captured", oif=oif)
            return Failed(Cause.LEFT_HOST, netns, packet, detail, evidence, oif=oif, nexthop=nexthop)
        detail = say(
            "nothing answers for {nexthop} on {oif} of {who}", nexthop=nexthop, oif=oif, who=self.world.label(netns)
        )
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
            mac = self.world.permanent_mac(obstacle.netns, obstacle.link, nexthop)
            for entry in self.world.netns(obstacle.netns).fdb if mac else ():
                if entry.mac == mac and entry.dev == obstacle.link:
                    detail = say(
                        "{nexthop} is on another host, {host}, whose bundle was not captured with this one",
                        nexthop=nexthop,
                        host=entry.dst,
                    )
                    return Failed(Cause.NOT_CAPTURED, netns, packet, detail, entry.evidence, oif=oif, nexthop=nexthop)
        return None

    def _owns(self, attachment: Attachment, nexthop: Ip) -> bool:
        """Whether the namespace there answers for the address: arp_process() and ndisc_recv_ns()."""
        link = self.world.link(attachment.netns, attachment.link)
        if link is None:
            return False
        own = [a.ip for a in link.addresses if not a.tentative]
        if nexthop.family is Family.IPV6:
            return nexthop in own
        switches = self.world.switches(attachment.netns, link.name)
        if nexthop.is_loopback and not switches.route_localnet:
            return False
        try:
            fib = self.world.fib(attachment.netns, nexthop.family)
            route = fib.lookup(FibQuery(nexthop.value, iif=link.name))
        except RouteNotCapturedError:
            return nexthop in own
        if route is None or route.type is not RouteType.LOCAL:
            return False
        ignore = switches.arp_ignore
        return ignore == 0 or (ignore in (1, 2, 3) and nexthop in own)

    def _stands_in(self, attachment: Attachment, nexthop: Ip) -> bool | None:
        """Whether the namespace there answers for an address that it forwards to by another link: arp_fwd_proxy().

        None: not known.
        """
        if attachment.netns not in self.world.topology.proxies[nexthop.family]:
            return False
        switches = self.world.switches(attachment.netns, attachment.link)
        if nexthop.family is Family.IPV6:
            return None if switches.proxy_ndp else False
        if not switches.proxy_arp or switches.forwards_ipv4 is False:
            return False
        fib = self.world.fib(attachment.netns, nexthop.family)
        if switches.forwards_ipv4 is None or not fib.by_destination:  # it looks the asker up too
            return None
        try:
            route = fib.lookup(FibQuery(nexthop.value, iif=attachment.link))
        except RouteNotCapturedError:
            return None
        if route is None or route.type is not RouteType.UNICAST:
            return False
        elsewhere = {hop.dev != attachment.link for hop in route.nexthops}
        return elsewhere.pop() if len(elsewhere) == 1 else None

    def _may_stand_in(self, netns: str, attachment: Attachment, packet: Packet, nexthop: Ip) -> Failed | None:
        if self._stands_in(attachment, nexthop) is not None:
            return None
        who = self.world.label(attachment.netns)
        what = say("proxy NDP") if nexthop.family is Family.IPV6 else say("proxy ARP")
        cause = say("whether {who} answers for {nexthop} ({what}) is not known", who=who, nexthop=nexthop, what=what)
        if not self.choices.ask(("proxy", attachment.netns, attachment.link, nexthop), cause):
            return None
        return Failed(Cause.NOT_CAPTURED, netns, packet, cause)

    def _refuses_to_answer(self, attachment: Attachment, nexthop: Ip, packet: Packet, *, asker: str) -> Failed | None:
        """ARP is answered only where a packet from the asker would be accepted (source validation, rp_filter)."""
        if not self.world.fib(asker, packet.family).is_local(packet.saddr):
            return None
        asked = packet.sent_to(nexthop.value)
        return validate_source(self.world, self.choices, attachment.netns, attachment.link, asked)
