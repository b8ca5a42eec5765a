"""Is a packet's source one that may come in here? net/ipv4/fib_frontend.c."""

from __future__ import annotations

from diag.interpreter.choices import Choices
from diag.interpreter.outcome import Cause, Failed
from diag.interpreter.packet import Packet
from diag.interpreter.world import World
from diag.kernel.fib import FibQuery
from diag.kernel.source_validation import passes_rp_filter
from diag.model.address import Family
from diag.model.message import say


def validate_source(
    world: World, choices: Choices, netns: str, iif: str, packet: Packet, oif: str = ""
) -> Failed | None:
    """fib_validate_source(): own addresses from outside, and rp_filter.

    The way back is looked up as if the answer came in by `oif`, where the packet is to leave.
    """
    if packet.family is Family.IPV6 or iif == "lo":
        return None
    fib, switches = world.fib(netns, packet.family), world.switches(netns, iif)
    if not switches.accept_local and fib.is_local(packet.saddr):
        detail = say(
            "{who} drops packets from outside that carry its own address {source}",
            who=world.label(netns),
            source=packet.source,
        )
        return Failed(Cause.MARTIAN, netns, packet, detail, iif=iif)
    mark = packet.mark if switches.src_valid_mark else 0
    back = fib.lookup(FibQuery(packet.saddr, packet.daddr, iif=oif or "lo", mark=mark))
    mode = switches.rp_filter
    passes = passes_rp_filter(back, iif, mode)
    if passes is None:
        cause = say("rp_filter of {iif} in {who} was not captured", iif=iif, who=world.label(netns))
        mode = 1
        passes = not choices.ask(("rp_filter", netns, iif), cause)
    if passes:
        return None
    name = f"net.ipv4.conf.{iif}.rp_filter"
    space = world.netns(netns)
    evidence = space.sysctl_evidence.get(name) or space.sysctl_evidence.get("net.ipv4.conf.all.rp_filter")
    detail = say(
        "{who} has no route back to {source} by {iif} (rp_filter = {mode})",
        who=world.label(netns),
        source=packet.source,
        iif=iif,
        mode=mode,
    )
    return Failed(Cause.RP_FILTER, netns, packet, detail, evidence, iif=iif)
