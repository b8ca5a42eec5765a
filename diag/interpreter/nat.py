"""What a NAT statement binds a connection to, and how clashing ports are moved out of the way.

Semantics: net/netfilter/nf_nat_core.c (get_unique_tuple(), nf_nat_l4proto_unique_tuple(), nf_nat_alloc_null_binding()),
nf_nat_masquerade.c, nf_nat_redirect.c, net/netfilter/xt_NETMAP.c.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from msgspec.structs import replace

from diag.interpreter.conntrack import ConntrackTable
from diag.interpreter.matching import Context, lookup
from diag.interpreter.packet import Connection, Port, PortKind, Tuple
from diag.kernel.hooks import ENTRY_HOOKS
from diag.model.address import Family, Ip
from diag.model.flow import TCP, UDP
from diag.model.message import say
from diag.model.netfilter import CtStatus, DataMap, Hook, Nat, NatKind, NfTable

MAX_ADDRESSES = 8
"""Addresses of a NAT range that are tried one by one; a larger range is not modelled."""


class Bound(Enum):
    """How a binding ends."""

    DONE = "done"
    NO_ADDRESS = "no-address"
    """There is no address to take, and the kernel drops."""
    CLASH = "clash"
    """No free port: the new entry cannot be confirmed (__nf_conntrack_confirm()), and the kernel drops."""
    UNMODELLED = "unmodelled"


def map_data(data: DataMap, table: NfTable, context: Context) -> tuple[tuple[int, int], ...]:
    """What a map gives for the packet: per dimension a range; empty where it gives nothing that can be told."""
    named = table.sets.get(data.map_name)
    if named is None or named.unmodelled:
        return ()
    element = lookup(named, data.fields, context)
    return element.data if element is not None else ()


def look_up(nat: Nat, table: NfTable, context: Context) -> Nat:
    """The statement with the addresses and ports that its maps hold for the packet."""
    if nat.address_map is not None:
        found = map_data(nat.address_map, table, context)
        if not found:
            return replace(nat, unmodelled=say("a map whose value cannot be told"))
        low, high = (Ip(context.packet.family, value) for value in found[0])
        nat = replace(nat, addresses=((low, high),), ports=found[1] if len(found) > 1 else nat.ports)
    if nat.port_map is not None:
        found = map_data(nat.port_map, table, context)
        if not found:
            return replace(nat, unmodelled=say("a map whose value cannot be told"))
        nat = replace(nat, ports=found[0])
    return nat


def _random(port: Port, within: tuple[int, int] | None = None) -> Port:
    """Another port: of the range, else of the group that the old one is in (nf_nat_l4proto_unique_tuple())."""
    if within is not None:
        return Port(-1, PortKind.RANDOM, *within)
    if port.kind == PortKind.EPHEMERAL or port.value >= 1024:
        return Port(-1, PortKind.RANDOM, 1024, 65535)
    return Port(-1, PortKind.RANDOM, 1, 1023)


class NatBinder:
    """Binds the connection of the packet at one hook."""

    def __init__(
        self,
        context: Context,
        conntrack: ConntrackTable,
        hook: Hook,
        masquerade_address: Callable[[Context], int | None],
    ) -> None:
        self.context = context
        self.conntrack = conntrack
        self.hook = hook
        self.masquerade_address = masquerade_address

    def bind(self, connection: Connection, nat: Nat) -> Bound:
        """Carry out a NAT statement."""
        if nat.unmodelled:
            return Bound.UNMODELLED
        current = connection.reply.inverse()
        destination = nat.kind in (NatKind.DNAT, NatKind.REDIRECT) or (
            nat.kind is NatKind.NETMAP and self.hook in ENTRY_HOOKS
        )
        addresses = self._addresses(nat, current.daddr if destination else current.saddr)
        if not addresses:
            return Bound.NO_ADDRESS
        if len(addresses) > MAX_ADDRESSES:
            return Bound.UNMODELLED
        if not destination and len(addresses) > 1 and current.saddr in addresses:
            address = current.saddr
        else:
            address = self._one_of(addresses)
        port = self._port(nat, current.dport if destination else current.sport, destination=destination)
        if destination:
            changed = replace(current, daddr=address, dport=port)
            if self._taken(connection, changed.inverse()):
                return Bound.CLASH
        else:
            changed = replace(current, saddr=address, sport=port)
            if self._taken(connection, changed.inverse()):
                if nat.ports is not None and nat.ports[0] == nat.ports[1]:
                    return Bound.CLASH
                changed = replace(changed, sport=_random(current.sport, nat.ports))
        self.conntrack.rewrite_reply(connection, changed.inverse(), CtStatus.DNAT if destination else CtStatus.SNAT)
        return Bound.DONE

    def bind_null(self, connection: Connection) -> None:
        """No statement bound the source: it keeps its port unless another connection has it."""
        if self._taken(connection, connection.reply):
            current = connection.reply.inverse()
            changed = replace(current, sport=_random(current.sport))
            self.conntrack.rewrite_reply(connection, changed.inverse(), CtStatus.SNAT)

    def _taken(self, connection: Connection, reply: Tuple) -> bool:
        """nf_nat_used_tuple(): whether replies would be taken for packets of another connection."""
        if reply.protocol not in (TCP, UDP):
            return False
        return self.conntrack.is_taken(reply, connection, self.context.window)

    def _one_of(self, addresses: list[int]) -> int:
        for address in addresses[1:]:
            where = Ip(self.context.packet.family, address)
            if self.context.ask(say("which address of a NAT range is taken depends on a hash"), key=("nat", where)):
                return address
        return addresses[0]

    def _port(self, nat: Nat, port: Port, *, destination: bool) -> Port:
        if nat.random and not destination:
            return _random(port, nat.ports)
        if nat.ports is None:
            return port
        if self.context.port_within(port, (nat.ports,)):
            return port
        if destination or nat.ports[0] == nat.ports[1]:
            return Port(nat.ports[0])
        return _random(port, nat.ports)

    def _addresses(self, nat: Nat, current: int) -> list[int]:
        match nat.kind:
            case NatKind.MASQUERADE:
                return [a for a in (self.masquerade_address(self.context),) if a is not None]
            case NatKind.REDIRECT:
                return [a for a in (self._redirect_address(),) if a is not None]
            case NatKind.NETMAP:
                first, last = nat.addresses[0]
                return [first.value | (current & (first.value ^ last.value))]
        if not nat.addresses:
            return [current]
        found: list[int] = []
        for first, last in nat.addresses:
            found += range(first.value, min(last.value, first.value + MAX_ADDRESSES) + 1)
        return found

    def _redirect_address(self) -> int | None:
        """The first address of the input interface, loopback for packets that start here (nf_nat_redirect.c)."""
        family = self.context.packet.family
        if self.hook is Hook.OUTPUT:
            return Ip.parse("127.0.0.1" if family is Family.IPV4 else "::1").value
        for link in self.context.surroundings.fib.netns.links or ():
            if link.name == self.context.iif:
                for address in link.addresses:
                    if address.ip.family is family and not address.secondary:
                        return address.ip.value
        return None
