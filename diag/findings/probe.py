"""What the host's FORWARD hooks do with one new packet, as the interpreter sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field
from msgspec.structs import replace

from diag.interpreter.chains import HookRun, Stopped
from diag.interpreter.choices import Choices, TooManyUnknownsError, every_run
from diag.interpreter.conntrack import ConntrackTable
from diag.interpreter.matching import Context, Window
from diag.interpreter.packet import SYN, Connection, Packet, Passage, Port
from diag.interpreter.world import World
from diag.model.address import Family, Ip
from diag.model.flow import TCP, Hop
from diag.model.netfilter import CtState, CtStatus, Hook
from diag.model.netns import RouteType

if TYPE_CHECKING:
    from diag.findings.check import Facts

_CLIENT_PORT = Port(40000)


class Probe(Struct, frozen=True):
    """A new packet on its way from one interface to another."""

    iif: str
    oif: str
    source: Ip
    destination: Ip
    protocol: int = TCP
    port: int = 443
    called: tuple[Ip, int] | None = None
    """The address and port that the caller used, where DNAT has rewritten them."""


class Answer(Struct):
    """How one run ends."""

    choices: Choices
    stopped: Stopped | None
    hops: list[Hop] = field(default_factory=list)


def forwarded(world: World, probe: Probe) -> Answer | None:
    """What becomes of the packet at the forward hook; None where that cannot be told."""

    def run(choices: Choices) -> Answer:
        stack = world.stack("host", probe.source.family)
        packet = Packet(
            probe.source.family,
            probe.source.value,
            probe.destination.value,
            probe.protocol,
            _CLIENT_PORT,
            Port(probe.port),
            tcp_flags=SYN if probe.protocol == TCP else 0,
        )
        original = packet.tuple
        connection = Connection(original, original.inverse(), dst_done=True)
        if probe.called is not None:
            address, port = probe.called
            connection.original = replace(original, daddr=address.value, dport=Port(port))
            connection.status |= CtStatus.DNAT
        passage = Passage(connection, 0, CtState.NEW, tracked=True)
        hops: list[Hop] = []
        context = Context(packet, Hook.FORWARD, passage, stack.surroundings, choices, Window(), probe.iif, probe.oif)
        steps = stack.hooks.steps(Hook.FORWARD, tracked=True)
        stopped = HookRun(stack.hooks, Hook.FORWARD, context, ConntrackTable(), hops.append, lambda _: None).run(steps)
        return Answer(choices, stopped, hops)

    try:
        answers = every_run(run)
    except TooManyUnknownsError:
        return None
    first = answers[0]
    agreed = all(_deciding(a) == _deciding(first) for a in answers)
    return first if agreed and (first.stopped is None or not first.stopped.unknown) else None


def _deciding(answer: Answer) -> object:
    return answer.stopped and (answer.stopped.evidence, answer.stopped.unknown)


def uplink_of(facts: Facts, family: Family) -> str | None:
    """The host's interface towards everywhere; None where there is none."""
    for route in facts.host.routes.get(family) or ():
        if route.destination.length == 0 and route.type is RouteType.UNICAST and route.table == "main":
            for nexthop in route.nexthops:
                if nexthop.dev in facts.host_links:
                    return nexthop.dev
    return None
