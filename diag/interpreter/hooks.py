"""What all parts of a walk share: its record, and a packet at one hook of one namespace."""

from __future__ import annotations

from bisect import bisect_left

from msgspec import Struct, field

from diag.interpreter.chains import ALL_PRIORITIES, HookRun, Stopped
from diag.interpreter.choices import Choices
from diag.interpreter.conntrack import ConntrackTable
from diag.interpreter.matching import Context, LinkView, Window
from diag.interpreter.outcome import Cause, Failed, speaks_of_the_capture
from diag.interpreter.packet import BROADCAST, Frame, Packet, Passage, Port, PortKind
from diag.interpreter.world import World
from diag.kernel.hooks import ENTRY_HOOKS
from diag.model.address import Ip
from diag.model.flow import Hop, HopKind
from diag.model.message import Message, say
from diag.model.netfilter import Hook, Ranges, TableFamily
from diag.model.netns import Nexthop, Route
from diag.model.provenance import Evidence


class Devices(Struct, frozen=True, gc=False):
    """The interfaces that a hook sees."""

    iif: str = ""
    oif: str = ""
    physout: str = ""


class Hooks(Struct):
    """The state of one walk, and its way through netfilter."""

    world: World
    choices: Choices
    window: Window = field(default_factory=Window)
    hops: list[Hop] = field(default_factory=list)
    conntrack: dict[str, ConntrackTable] = field(default_factory=dict)
    _passage: Passage = field(default_factory=Passage)
    """Of the packet on its way, in the namespace where it is."""
    _routed: bool = False
    _dnat: bool = False

    def window_of(self, port: Port, ranges: Ranges) -> bool:
        """Whether a port is in the ranges, sorted and apart; the window shrinks if it is the one that was asked for."""
        place = bisect_left(ranges, (port.value, 0))
        near = ranges[max(0, place - 1) : place + 2]
        if port.kind == PortKind.ASKED:
            return self.window.within(port.value, near)
        return any(low <= port.value <= high for low, high in near)

    def _nexthop(self, netns: str, route: Route) -> Nexthop:
        ways = self.world.fib(netns, route.destination.family).nexthops(route)
        for nexthop in ways[1:]:
            cause = say(
                "which way a packet takes over the multipath route {destination} of {netns} depends on a hash",
                destination=route.destination,
                netns=netns,
            )
            if self.choices.ask(("nexthop", netns, str(route.destination), nexthop), cause):
                return nexthop
        return ways[0]

    def _hook(
        self,
        netns: str,
        hook: Hook,
        packet: Packet,
        passage: Passage,
        devices: Devices,
        gateway: Ip | None = None,
    ) -> Packet | Failed:
        stack = self.world.stack(netns, packet.family)
        steps = stack.hooks.steps(hook, tracked=passage.tracked)
        if not steps:
            return packet
        conntrack = self.conntrack.get(netns)
        if conntrack is None:
            conntrack = self.conntrack[netns] = ConntrackTable()
        context = Context(
            packet,
            hook,
            passage,
            stack.surroundings,
            self.choices,
            self.window,
            devices.iif,
            devices.oif,
            devices.physout,
            gateway=gateway,
        )
        stopped = HookRun(stack.hooks, hook, context, conntrack, self.hops.append, self._masquerade_address).run(steps)
        if hook in ENTRY_HOOKS:
            passage.tracked = True
        return context.packet if stopped is None else self._stopped(netns, stopped, context)

    def _masquerade_address(self, context: Context) -> int | None:
        """What the output interface would send from (nf_nat_masquerade_ipv4())."""
        packet = context.packet
        sources = self.world.stack(context.surroundings.netns, packet.family).sources
        return sources.on_the_way(Nexthop(context.oif, context.gateway), packet.daddr)

    def _link_hook(
        self,
        netns: str,
        family: TableFamily,
        hook: Hook,
        packet: Packet,
        frame: Frame,
        devices: Devices,
        priorities: tuple[int, int] = ALL_PRIORITIES,
    ) -> Packet | Failed:
        """A frame at a hook of the bridge, netdev or arp family. These have no connections and no NAT."""
        if not self.world.has_link_rules:
            return packet
        table = self.world.link_hooks(netns, family)
        if not table.filters(hook):
            return packet
        link = LinkView(
            self._master(netns, devices.iif),
            self._master(netns, devices.oif),
            self._packet_type(netns, family, frame, devices.iif),
        )
        surroundings = self.world.stack(netns, packet.family).surroundings
        passage = Passage(frame=frame)
        context = Context(
            packet,
            hook,
            passage,
            surroundings,
            self.choices,
            self.window,
            devices.iif,
            devices.oif,
            devices.physout,
            link,
            frame.arp,
        )
        run = HookRun(table, hook, context, ConntrackTable(), self.hops.append, self._masquerade_address)
        stopped = run.run(table.steps(hook, tracked=True, priorities=priorities))
        return context.packet if stopped is None else self._stopped(netns, stopped, context)

    def _packet_type(self, netns: str, family: TableFamily, frame: Frame, iif: str) -> int | None:
        """eth_type_trans() and br_handle_frame(): whom the frame is for, as its input interface sees it."""
        if frame.outgoing:
            return 0
        if frame.daddr is None:
            return None
        if frame.daddr == BROADCAST:
            return 1
        if frame.daddr >> 40 & 1:
            return 2
        if frame.daddr == self.world.mac(netns, iif):
            return 0
        to_bridge = family is TableFamily.BRIDGE and frame.daddr == self.world.mac(netns, self._master(netns, iif))
        return 0 if to_bridge else 3

    def _master(self, netns: str, name: str) -> str:
        link = self.world.link(netns, name) if name else None
        return link.master if link is not None else ""

    def _stopped(self, netns: str, stopped: Stopped, context: Context) -> Failed:
        if stopped.unknown:
            cause = Cause.NOT_CAPTURED if speaks_of_the_capture(stopped.unknown) else Cause.NOT_MODELLED
            return Failed(cause, netns, context.packet, stopped.unknown, stopped.evidence)
        detail = _deciding(stopped)
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

    def _note(
        self, kind: HopKind, netns: str, text: str, evidence: Evidence | None = None, hook: str = "", chain: str = ""
    ) -> None:
        self.hops.append(Hop(kind, netns, text, evidence, hook, chain))


def _deciding(stopped: Stopped) -> Message:
    """The policy or the rule, and what it does, as a clause."""
    if stopped.rule is None:
        return say("the policy of {table} {chain} drops it", table=stopped.table, chain=stopped.chain)
    if stopped.reject:
        return say("rule {number} of {chain} rejects it", number=stopped.rule_number, chain=stopped.chain)
    return say("rule {number} of {chain} drops it", number=stopped.rule_number, chain=stopped.chain)
