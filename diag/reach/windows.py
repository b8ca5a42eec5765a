"""Exact port sets from single traces: each trace says for which window of ports it holds, so the next one starts after it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from msgspec import Struct

from diag.interpreter.trace import Tracer
from diag.model.address import Ip
from diag.model.analysis import Allowed, PortSet
from diag.model.flow import Flow, Protocol, Trace
from diag.model.netfilter import Ranges
from diag.model.reasons import Disposition
from diag.symbolic.behaviours import Behaviour
from diag.symbolic.kinds import Kind

MAX_WINDOWS = 4096
"""Distinct behaviours per protocol before the rest of the ports is called unknown."""


class Span(Struct, frozen=True):
    """Destination ports with one behaviour, and a packet that shows it."""

    protocol: Protocol
    ranges: Ranges
    """Inclusive, in order; (0, 0) for ICMP."""
    trace: Trace

    @property
    def widest(self) -> int:
        """How many ports more than one the widest range has."""
        return max([high - low for low, high in self.ranges])


class Sweep(Struct, frozen=True):
    """Everything that one namespace can do with one address."""

    address: Ip
    allowed: Allowed
    spans: tuple[Span, ...]

    def witness(self) -> Trace:
        """The trace that stands for the whole: one that is delivered if any is, else what stops most ports.

        The echo request stands for the ports too where it fares the same.
        """

        def weight(span: Span) -> tuple[bool, bool, int]:
            delivered = span.trace.disposition is Disposition.DELIVERED
            unknown = span.trace.disposition is Disposition.UNKNOWN
            return delivered, not unknown, span.widest

        ping = self.spans[0].trace
        if all(span.trace is ping for span in self.spans):
            return ping
        heaviest = max(self.spans, key=weight).trace
        alike = (ping.disposition, ping.reason, ping.decided_by) == (
            heaviest.disposition,
            heaviest.reason,
            heaviest.decided_by,
        )
        return ping if alike else heaviest


def sweep(tracer: Tracer, netns: str, address: Ip) -> Sweep:
    """What is delivered and answered of ICMP echo and of every TCP and UDP port."""
    ping = tracer.trace(Flow(netns, address, Protocol.ICMP))
    spans = [Span(Protocol.ICMP, ((0, 0),), ping)]
    for protocol in (Protocol.TCP, Protocol.UDP):
        spans.extend(_port_spans(tracer, netns, address, protocol, ((1, 65535),)))
    return Sweep(address, _allowed(spans), tuple(spans))


def sampled(
    tracer: Tracer,
    netns: str,
    address: Ip,
    behaviour: Behaviour,
    unheard: dict[Kind, Trace] | None = None,
    *,
    traces: dict[Kind, Trace] | None = None,
) -> Sweep | None:
    """The same from what the symbolic engine says, with one trace for each kind of flows; None where a trace says otherwise.

    Flows that it leaves to the interpreter are traced one by one. Those to the host that a container takes are left out.
    `unheard` holds traces of flows that nobody listens for: where others arrive, one of any caller does, since nobody is
    shown its hops. `traces` are those of another pair of the same behaviour.
    """
    traces = {} if traces is None else traces
    arrives = any(kind.delivered for _, kind, _ in behaviour.by_kind)
    spans: list[Span] = []
    for protocol, kind, ranges in behaviour.by_kind:
        if kind.elsewhere:
            continue
        if not kind.covered:
            spans += _port_spans(tracer, netns, address, protocol, ranges)
            continue
        known = unheard if unheard is not None and kind.unheard and arrives else traces
        trace = known.get(kind)
        if trace is None:
            trace = known[kind] = tracer.trace(Flow(netns, address, protocol, ranges[0][0]))
            if not agrees(trace, kind):
                return None
        spans.append(Span(protocol, ranges, trace))
    if not spans or len(spans) >= MAX_WINDOWS:
        return None
    return Sweep(address, behaviour.allowed if behaviour.covered else _allowed(spans, complete=False), tuple(spans))


def agrees(trace: Trace, kind: Kind) -> bool:
    """Whether a trace says of its flow what the symbolic engine says."""
    if kind.unknown or trace.disposition is Disposition.UNKNOWN:
        return kind.unknown and trace.disposition is Disposition.UNKNOWN
    return (trace.disposition is Disposition.DELIVERED) == kind.delivered


def restricted(whole: Sweep, keep: Callable[[Trace], bool]) -> Sweep:
    """The same address, but of what is delivered, or may be, only what `keep` says; all else counts as nothing."""
    arriving = (Disposition.DELIVERED, Disposition.UNKNOWN)
    spans = tuple(s for s in whole.spans if s.trace.disposition not in arriving or keep(s.trace))
    return part_of(whole.address, list(spans)) if spans else Sweep(whole.address, Allowed(), whole.spans)


def part_of(address: Ip, spans: list[Span]) -> Sweep:
    """Some of the flows to an address; the others count as nothing."""
    ordered = sorted(spans, key=lambda span: (span.protocol.value, span.ranges))
    return Sweep(address, _allowed(ordered, complete=False), tuple(ordered))


def allowed_of(flows: Iterable[tuple[Protocol, tuple[int, int]]]) -> Allowed:
    """Ranges of ports that are delivered and answered, as a set."""
    known: dict[Protocol, list[tuple[int, int]]] = {protocol: [] for protocol in Protocol}
    for protocol, ports in flows:
        known[protocol].append(ports)
    return Allowed(bool(known[Protocol.ICMP]), port_set(known[Protocol.TCP]), port_set(known[Protocol.UDP]))


def _port_spans(tracer: Tracer, netns: str, address: Ip, protocol: Protocol, ranges: Ranges) -> list[Span]:
    """Windows within ranges of ports."""
    spans: list[Span] = []
    for first, last in ranges:
        port = first
        while port <= last and len(spans) < MAX_WINDOWS:
            trace = tracer.trace(Flow(netns, address, protocol, port))
            end = max(port, min(trace.window[1], last))
            spans.append(Span(protocol, ((port, end),), trace))
            port = end + 1
    return spans


def _allowed(spans: list[Span], *, complete: bool = True) -> Allowed:
    """`complete`: the spans cover all ports, but for those that were too many to try."""
    icmp: bool | None = False
    known: dict[Protocol, list[tuple[int, int]]] = {Protocol.TCP: [], Protocol.UDP: []}
    unknown: dict[Protocol, list[tuple[int, int]]] = {Protocol.TCP: [], Protocol.UDP: []}
    swept: dict[Protocol, int] = {Protocol.TCP: 0, Protocol.UDP: 0}
    for span in spans:
        disposition = span.trace.disposition
        if span.protocol is Protocol.ICMP:
            icmp = None if disposition is Disposition.UNKNOWN else disposition is Disposition.DELIVERED
            continue
        swept[span.protocol] = span.ranges[-1][1]
        if disposition is Disposition.DELIVERED:
            known[span.protocol].extend(span.ranges)
        elif disposition is Disposition.UNKNOWN:
            unknown[span.protocol].extend(span.ranges)
    for protocol, last in swept.items():
        if complete and last < 65535:
            unknown[protocol].append((last + 1, 65535))
    return Allowed(
        icmp,
        port_set(known[Protocol.TCP]),
        port_set(known[Protocol.UDP]),
        port_set(unknown[Protocol.TCP]),
        port_set(unknown[Protocol.UDP]),
    )


def port_set(ranges: list[tuple[int, int]]) -> PortSet:
    """Sorted and joined."""
    joined: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if joined and low <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], high))
        else:
            joined.append((low, high))
    return PortSet(tuple(joined))
