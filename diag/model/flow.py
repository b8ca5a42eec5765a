"""A flow that is asked about, and the trace that answers."""

from __future__ import annotations

from msgspec import Struct

from diag.model.address import Family, Ip
from diag.model.enums import Word
from diag.model.provenance import Evidence
from diag.model.reasons import Disposition, Reason, Symptom

ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58
"""IP protocol numbers."""


class Protocol(Word):
    """What `diag trace` and `diag explain` can be asked about; `icmp` is an echo request of either family."""

    ICMP = "icmp"
    TCP = "tcp"
    UDP = "udp"

    def number(self, family: Family) -> int:
        match self:
            case Protocol.TCP:
                return TCP
            case Protocol.UDP:
                return UDP
            case Protocol.ICMP:
                return ICMP if family is Family.IPV4 else ICMPV6


class Flow(Struct, frozen=True):
    """One request as an application makes it: the kernel chooses the source address and port."""

    source: str
    """Namespace id where it starts."""
    destination: Ip
    protocol: Protocol
    port: int = 0
    """Destination port; 0 for ICMP."""


class HopKind(Word):
    """What a step of a trace is."""

    SEND = "send"
    ROUTE = "route"
    RULE = "rule"
    """A rule that matched and had an effect, or a chain's policy."""
    NAT = "nat"
    NEIGHBOUR = "neighbour"
    BRIDGE = "bridge"
    FORWARD = "forward"
    DELIVER = "deliver"
    PROXY = "proxy"
    DROP = "drop"
    NOTE = "note"


class Hop(Struct, frozen=True):
    """One step."""

    kind: HopKind
    netns: str
    text: str
    """A sentence for a person."""
    evidence: Evidence | None = None
    hook: str = ""
    """e.g. `filter FORWARD` where a rule decided."""
    chain: str = ""


class Trace(Struct, frozen=True):
    """One flow's fate, there and back."""

    flow: Flow
    disposition: Disposition
    symptom: Symptom
    reason: Reason
    decided_by: Evidence | None
    delivered_to: str
    """Namespace id whose stack took the request (after DNAT), `docker-proxy`, or empty."""
    forth: tuple[Hop, ...]
    back: tuple[Hop, ...]
    window: tuple[int, int] = (0, 65535)
    """Destination ports around the flow's own for which every comparison on the way came out the same."""
    unknown_causes: tuple[str, ...] = ()
    """For `unknown`: what would have to be known."""
    listener: Evidence | None = None
    """The listening socket that takes it, where one is known."""
    source_ip: Ip | None = None
    final_ip: Ip | None = None
    """Destination address after DNAT; of `unknown` where it gets if it gets anywhere, None for several."""
    final_port: int = 0
    detail: str = ""
    """The deciding fact as a clause: «rule 2 of DOCKER-ISOLATION-STAGE-2 drops it»."""
    chain: str = ""
    """Chain of the deciding rule, for the wording."""
    rule_number: int = 0
