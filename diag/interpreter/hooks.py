"""What all parts of a walk share: its record, and a packet at one hook of one namespace."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from diag.interpreter.chains import ALL_PRIORITIES, HookRun, Stopped
from diag.interpreter.choices import Choices
from diag.interpreter.conntrack import ConntrackTable
from diag.interpreter.matching import Context, Window
from diag.interpreter.outcome import Cause, Failed
from diag.interpreter.packet import BROADCAST, Connection, Frame, Packet, Port, PortKind
from diag.interpreter.world import World
from diag.kernel.source_address import select_source
from diag.model.address import Family, Prefix
from diag.model.flow import Hop, HopKind
from diag.model.netfilter import CtState, Hook, Ranges, TableFamily
from diag.model.netns import Nexthop, Route, RouteType
from diag.model.provenance import Evidence


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
    frame: Frame | None = None
    """The header in which it came; None for a packet that starts here."""
    answers_by: str = ""
    """The bridge's port out of which a refusal goes straight back (nft_reject_bridge.c)."""


@dataclass(slots=True)
class Hooks:
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
            self.world.ephemeral(netns),
            hook=hook,
            kernel=self.world.kernel,
            frame=passage.frame,
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
        table = self.world.link_hooks(netns, family)
        if not table.filters(hook):
            return packet
        context = Context(
            packet,
            netns,
            self.world.fib(netns, packet.family),
            self.choices,
            self.window,
            devices.iif,
            devices.oif,
            hook=hook,
            kernel=self.world.kernel,
            frame=frame,
            link_layer=True,
            ibrname=self._master(netns, devices.iif),
            obrname=self._master(netns, devices.oif),
            pkttype=self._packet_type(netns, frame, devices.iif),
        )
        run = HookRun(table, hook, context, ConntrackTable(), self.hops.append, lambda: None)
        stopped = run.run(tracked=True, priorities=priorities)
        return context.packet if stopped is None else self._stopped(netns, stopped, context)

    def _packet_type(self, netns: str, frame: Frame, iif: str) -> int | None:
        """eth_type_trans() and br_handle_frame(): whom the frame is for, as its input interface sees it."""
        if frame.outgoing:
            return 0
        if frame.daddr is None:
            return None
        if frame.daddr == BROADCAST:
            return 1
        if frame.daddr >> 40 & 1:
            return 2
        own = (self.world.mac(netns, iif), self.world.mac(netns, self._master(netns, iif)))
        return 0 if frame.daddr in own else 3

    def _master(self, netns: str, name: str) -> str:
        link = self.world.link(netns, name) if name else None
        return link.master if link is not None else ""

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

    def _note(
        self, kind: HopKind, netns: str, text: str, evidence: Evidence | None = None, hook: str = "", chain: str = ""
    ) -> None:
        self.hops.append(Hop(kind, netns, text, evidence, hook, chain))
