"""Frames between namespaces: every device and bridge on the way with its rules.

A frame that leaves a bridge's own device starts at the bridge's output hook; one that a bridge carries from port to port
meets prerouting, forward and postrouting; one for the bridge itself prerouting and input. iptables sees bridged packets
in between where br_netfilter calls it. Sources: net/bridge/br_forward.c, br_input.c, br_netfilter_hooks.c,
net/netfilter/nf_tables_core.c, net/core/dev.c (ingress and egress).
"""

from __future__ import annotations

from msgspec.structs import replace

from diag.interpreter.chains import ALL_PRIORITIES
from diag.interpreter.hooks import Devices, Hooks
from diag.interpreter.outcome import Cause, Failed
from diag.interpreter.packet import ETHER_TYPES, Frame, Packet, Passage
from diag.kernel.topology import Attachment, Crossing
from diag.model.address import Family
from diag.model.flow import HopKind
from diag.model.message import say
from diag.model.netfilter import Hook, TableFamily
from diag.model.netns import LinkKind

_BEFORE = (ALL_PRIORITIES[0], 0)
_AFTER = (1, ALL_PRIORITIES[1])
"""Of br_netfilter's own hooks, whose priority is 0 (NF_BR_PRI_BRNF)."""


class Frames(Hooks):
    """The way over links and bridges. Every step gives the packet, or why it stops there."""

    def _frame(self, netns: str, oif: str, target: Attachment, family: Family) -> Frame:
        return Frame(self.world.mac(netns, oif), self.world.mac(target.netns, target.link), ETHER_TYPES[family])

    def _leave(self, netns: str, oif: str, target: Attachment, packet: Packet, frame: Frame) -> Packet | Failed:
        """From the stack out of a device."""
        if not self.world.has_link_rules:
            return packet
        own = replace(frame, outgoing=True)
        result = self._egress(netns, oif, packet, own)
        link = self.world.link(netns, oif)
        if isinstance(result, Failed) or link is None or link.kind is not LinkKind.BRIDGE:
            return result
        port = self.world.topology.egress_port(netns, oif, target)
        for hook in (Hook.OUTPUT, Hook.POSTROUTING):
            result = self._link_hook(netns, TableFamily.BRIDGE, hook, result, own, Devices(oif=port))
            if isinstance(result, Failed):
                return result
        return self._egress(netns, port, result, own)

    def _egress(self, netns: str, dev: str, packet: Packet, frame: Frame) -> Packet | Failed:
        if not self.world.has_link_rules:
            return packet
        unknown = self._parent_rules(netns, dev, packet)
        if unknown is not None:
            return unknown
        return self._link_hook(netns, TableFamily.NETDEV, Hook.EGRESS, packet, frame, Devices(oif=dev))

    def _ingress(self, netns: str, dev: str, packet: Packet, frame: Frame) -> Packet | Failed:
        if not self.world.has_link_rules:
            return packet
        unknown = self._parent_rules(netns, dev, packet)
        if unknown is not None:
            return unknown
        return self._link_hook(netns, TableFamily.NETDEV, Hook.INGRESS, packet, frame, Devices(dev))

    def _parent_rules(self, netns: str, dev: str, packet: Packet) -> Failed | None:
        """Frames of a macvlan or ipvlan may pass its parent's rules too, by its mode and the other end."""
        link = self.world.link(netns, dev)
        if link is None or link.kind not in (LinkKind.MACVLAN, LinkKind.IPVLAN):
            return None
        found = self.world.topology.parent(netns, link)
        if found is None or not self.world.has_device_rules(found[0].id, found[1].name):
            return None
        cause = say(
            "whether frames of {dev} meet the netdev chains on {parent} is not modelled", dev=dev, parent=found[1].name
        )
        if self.choices.ask(("parent", netns, dev), cause):
            return Failed(Cause.NOT_MODELLED, netns, packet, cause)
        return None

    def _enter(self, netns: str, port: str, packet: Packet, frame: Frame) -> Packet | Failed:
        """Into a bridge by a port, up to where br_netfilter takes over."""
        if not self.world.has_link_rules:
            return packet
        result = self._ingress(netns, port, packet, frame)
        if isinstance(result, Failed):
            return result
        return self._link_hook(netns, TableFamily.BRIDGE, Hook.PREROUTING, result, frame, Devices(port), _BEFORE)

    def _entered(self, netns: str, port: str, packet: Packet, frame: Frame) -> Packet | Failed:
        """What is left of the bridge's prerouting after br_netfilter."""
        if not self.world.has_link_rules:
            return packet
        return self._link_hook(netns, TableFamily.BRIDGE, Hook.PREROUTING, packet, frame, Devices(port), _AFTER)

    def _local_in(self, netns: str, port: str, bridge: str, packet: Packet, frame: Frame) -> Packet | Failed:
        """To the bridge's own device."""
        if not self.world.has_link_rules:
            return packet
        result = self._link_hook(netns, TableFamily.BRIDGE, Hook.INPUT, packet, frame, Devices(port))
        return result if isinstance(result, Failed) else self._ingress(netns, bridge, result, frame)

    def _pass_on(self, crossing: Crossing, packet: Packet, passage: Passage) -> Packet | Failed:
        """From port to port, once the bridge has decided where to."""
        netns, frame = crossing.netns, passage.frame
        assert frame is not None
        devices = Devices(crossing.in_port, crossing.out_port)
        nf = Devices(crossing.bridge, crossing.bridge, crossing.out_port)
        called = bool(passage.physin)
        result = self._link_hook(netns, TableFamily.BRIDGE, Hook.FORWARD, packet, frame, devices, _BEFORE)
        if called and not isinstance(result, Failed):
            result = self._hook(netns, Hook.FORWARD, result, passage, nf)
        if not isinstance(result, Failed):
            result = self._link_hook(netns, TableFamily.BRIDGE, Hook.FORWARD, result, frame, devices, _AFTER)
        if not isinstance(result, Failed):
            out = Devices(oif=crossing.out_port)
            result = self._link_hook(netns, TableFamily.BRIDGE, Hook.POSTROUTING, result, frame, out)
        if called and not isinstance(result, Failed):
            result = self._hook(netns, Hook.POSTROUTING, result, passage, replace(nf, iif=""))
        return result if isinstance(result, Failed) else self._egress(netns, crossing.out_port, result, frame)

    def _come_in(
        self, crossing: Crossing, packet: Packet, frame: Frame, sender: str, *, same_netns: bool
    ) -> Packet | Failed:
        """Into a bridge that will carry it on; whoever calls looks whether its destination was rewritten."""
        netns = crossing.netns
        if not same_netns:
            packet = packet.marked(0)
        called = not frame.arp and self._bridge_nf(netns, crossing.bridge, packet.family)
        physin = crossing.in_port if called else ""
        passage = self._passage = Passage(physin=physin, sender=sender, frame=frame)
        stopped = self._start_crossing(crossing, packet)
        if stopped is not None:
            return stopped
        result = self._enter(netns, crossing.in_port, packet, frame)
        if called and not isinstance(result, Failed):
            result = self._hook(netns, Hook.PREROUTING, result, passage, Devices(crossing.bridge))
        return result

    def _go_on(self, crossing: Crossing, packet: Packet, passage: Passage) -> Packet | Failed:
        """What follows where it was not rewritten."""
        assert passage.frame is not None
        result = self._entered(crossing.netns, crossing.in_port, packet, passage.frame)
        return result if isinstance(result, Failed) else self._pass_on(crossing, result, passage)

    def _come_up(self, place: Attachment, packet: Packet, frame: Frame, came_from: str, sender: str) -> Packet | Failed:
        """Up to layer 3, through prerouting; a bridged packet that is rewritten there comes back at once."""
        netns, link, port = place.netns, place.link, place.port
        if netns != came_from:
            packet = packet.marked(0)
        called = bool(port) and not frame.arp and self._bridge_nf(netns, link, packet.family)
        passage = self._passage = Passage(physin=port if called else "", sender=sender, frame=frame)
        if not port:
            result = self._ingress(netns, link, packet, frame)
        else:
            result = self._enter(netns, port, packet, frame)
            if called and not isinstance(result, Failed):
                before = result.daddr
                result = self._hook(netns, Hook.PREROUTING, result, passage, Devices(link))
                if isinstance(result, Failed) or result.daddr != before:
                    return result
            if not isinstance(result, Failed):
                result = self._entered(netns, port, result, frame)
            if not isinstance(result, Failed):
                result = self._local_in(netns, port, link, result, frame)
        if called or frame.arp or isinstance(result, Failed):
            return result
        return self._hook(netns, Hook.PREROUTING, result, passage, Devices(link))

    def _start_crossing(self, crossing: Crossing, packet: Packet) -> Failed | None:
        """Record it; a bridge that filters VLANs may stop the frame."""
        link = self.world.link(crossing.netns, crossing.bridge)
        text = say(
            "bridge {bridge} carries it from {in_port} to {out_port}",
            bridge=crossing.bridge,
            in_port=crossing.in_port,
            out_port=crossing.out_port,
        )
        self._note(HopKind.BRIDGE, crossing.netns, text, link.evidence if link else None)
        if link is None or not link.vlan_filtering:
            return None
        cause = say("VLAN filtering on {bridge} is not modelled", bridge=crossing.bridge)
        if self.choices.ask(("vlan", crossing), cause):
            return Failed(Cause.NOT_CAPTURED, crossing.netns, packet, cause)
        return None

    def _bridge_nf(self, netns: str, name: str, family: Family) -> bool:
        bridge = self.world.link(netns, name)
        if bridge is not None and (bridge.nf_call_iptables if family is Family.IPV4 else bridge.nf_call_ip6tables):
            return True
        value = self.world.stack(netns, family).bridge_nf
        if value is not None:
            return value
        cause = say("whether bridged packets meet iptables (net.bridge.bridge-nf-call-iptables) was not captured")
        return self.choices.ask(("bridge-nf", netns, family), cause)
