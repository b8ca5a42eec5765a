"""How the walk of one packet ends."""

from __future__ import annotations

from msgspec import Struct

from diag.interpreter.chains import Stopped
from diag.interpreter.packet import Packet
from diag.kernel.icmp_errors import IcmpError
from diag.model.address import Ip
from diag.model.enums import Word
from diag.model.message import templates
from diag.model.provenance import Evidence


class Cause(Word):
    """What stopped a packet, in kernel terms."""

    RULE = "rule"
    """A netfilter rule or policy: `stopped` has it."""
    NO_ROUTE = "no-route"
    BLACKHOLE = "blackhole"
    UNREACHABLE_ROUTE = "unreachable-route"
    PROHIBIT = "prohibit"
    BROADCAST = "broadcast"
    FORWARDING_OFF = "forwarding-off"
    RP_FILTER = "rp-filter"
    MARTIAN = "martian"
    NO_NEIGHBOUR = "no-neighbour"
    LOOP = "loop"
    LEFT_HOST = "left-host"
    NOT_CAPTURED = "not-captured"
    NOT_MODELLED = "not-modelled"
    WRONG_SOCKET = "wrong-socket"
    """A reply that fits no socket of the caller: its source is not the address that was called."""


class Arrived(Struct, frozen=True):
    """The packet reached a local socket layer."""

    netns: str
    iif: str
    packet: Packet
    routed: bool
    """It was forwarded by at least one router on the way."""
    dnat: bool
    """Its destination was rewritten on the way."""


class Failed(Struct, frozen=True):
    """The packet did not."""

    cause: Cause
    netns: str
    packet: Packet
    detail: str
    """A clause for a person."""
    evidence: Evidence | None = None
    stopped: Stopped | None = None
    error: IcmpError | None = None
    """The ICMP error that a router sends back."""
    at_source: bool = False
    """It failed in the sender's own stack, so that the sender's system call sees it."""
    iif: str = ""
    oif: str = ""
    nexthop: Ip | None = None
    discovery: Stopped | None = None
    """For NO_NEIGHBOUR: the rule that stopped neighbour discovery."""
    obstacles: tuple[str, ...] = ()
    """For NO_NEIGHBOUR: what kept the question from getting further, as `kind:netns:link`."""


Outcome = Arrived | Failed


def speaks_of_the_capture(cause: str) -> bool:
    """Whether something unknown was not captured, rather than not modelled."""
    return any("captured" in template for template in templates(cause))
