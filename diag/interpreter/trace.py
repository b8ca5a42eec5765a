"""One flow, one trace: the request there, the reply back, and what the caller sees."""

from __future__ import annotations

from msgspec import Struct, field
from msgspec.structs import replace

from diag.interpreter.choices import Choices, TooManyUnknownsError, every_run
from diag.interpreter.classify import (
    delivered_reason,
    failure_disposition,
    failure_reason,
    failure_symptom,
    sees_own_drops,
)
from diag.interpreter.outcome import Arrived, Cause, Failed, Outcome, speaks_of_the_capture
from diag.interpreter.packet import ACK, RST, SYN, Packet, Port, PortKind
from diag.interpreter.walk import Walk
from diag.interpreter.world import World
from diag.kernel.icmp_errors import REJECT_KINDS, RESETS, port_unreachable
from diag.model.address import Family, Ip
from diag.model.docker import Container, PublishedPort
from diag.model.flow import Flow, Hop, HopKind, Protocol, Trace
from diag.model.message import say
from diag.model.provenance import Evidence
from diag.model.reasons import Disposition, Reason, Symptom
from diag.model.snapshot import Snapshot

_NO_ANSWER = frozenset({Symptom.TIMEOUT, Symptom.EHOSTUNREACH})
"""Which of the two a caller sees without an answer depends on how long it waits for its neighbour."""
_NOT_STOPPED = frozenset({Disposition.DELIVERED, Disposition.UNKNOWN})
_UNKNOWN_CAUSES = frozenset({Cause.NOT_CAPTURED, Cause.NOT_MODELLED, Cause.LEFT_HOST})


class _Run(Struct):
    """A flow's fate under one set of answers."""

    choices: Choices
    trace: Trace
    window: tuple[int, int]


class Tracer:
    """Answers flows about one snapshot; flows share its indexes."""

    def __init__(self, snapshot: Snapshot, like: World | None = None) -> None:
        """`like` is of the same host, with namespaces in common."""
        self.world = World(snapshot, like)

    def trace(self, flow: Flow) -> Trace:
        """The fate of one flow. Where something is unknown every possibility is walked, and only what they share stands."""
        try:
            runs = every_run(lambda choices: self._run(flow, choices))
        except TooManyUnknownsError:
            cause = say("more is unknown on the way than can be tried")
            return _unknown(flow, (cause,), Reason.NOT_MODELLED)
        return _agree(flow, runs)

    def _run(self, flow: Flow, choices: Choices) -> _Run:
        walk = Walk(self.world, choices)
        trace = _OneRun(self.world, flow, walk).run()
        window = (max(walk.window.low, 0), min(walk.window.high, 65535))
        return _Run(choices, trace, window)


def request_packet(world: World, flow: Flow) -> Packet:
    """The first packet that the application's call makes."""
    family = flow.destination.family
    low, _ = world.ephemeral(flow.source)
    number = flow.protocol.number(family)
    if flow.protocol is Protocol.ICMP:
        icmp_type = 8 if family is Family.IPV4 else 128
        return Packet(family, 0, flow.destination.value, number, icmp_type=icmp_type)
    return Packet(
        family,
        0,
        flow.destination.value,
        number,
        Port(low, PortKind.EPHEMERAL),
        Port(flow.port, PortKind.ASKED),
        tcp_flags=SYN if flow.protocol is Protocol.TCP else 0,
    )


class _OneRun(Struct):
    world: World
    flow: Flow
    walk: Walk
    forth: tuple[Hop, ...] = ()
    source_ip: Ip | None = None
    _request: Packet | None = None
    """With the source that connect() chose."""
    _proxied: bool = field(default=False)

    def run(self) -> Trace:
        request = self.walk.choose_source(self.flow.source, request_packet(self.world, self.flow))
        if isinstance(request, Failed):
            return self._failed(request)
        self.source_ip, self._request = request.source, request
        outcome = self.walk.send(self.flow.source, request)
        self.forth = tuple(self.walk.hops)
        if isinstance(outcome, Failed):
            return self._failed(outcome)
        return self._arrived(request, outcome)

    def _arrived(self, request: Packet, arrived: Arrived) -> Trace:
        publisher = self._docker_proxy(arrived)
        if publisher is not None:
            failed = self._through_proxy(publisher)
            if failed is not None:
                return failed
        self.walk.hops = []
        reply = self._reply_packet(arrived)
        back = reply if isinstance(reply, Failed) else self.walk.send(arrived.netns, reply)
        if isinstance(back, Arrived) and not self._fits(back.packet, request):
            detail = say(
                "the source is {source}, not {destination}, so that it fits no socket",
                source=back.packet.source,
                destination=request.destination,
            )
            back = Failed(Cause.WRONG_SOCKET, back.netns, back.packet, detail)
        if isinstance(back, Failed):
            return self._reply_failed(arrived, back)
        evidence, listening = self._listener(arrived)
        if self._host_alone(arrived):
            self._narrow_to_listeners(arrived)
            if not listening:
                return self._nobody_home(arrived)
        if listening and publisher is None and self.flow.protocol is Protocol.TCP:
            refused = self._third_packet(request, arrived)
            if refused is not None:
                return refused
        symptom = Symptom.OK if listening or publisher is not None else self._refused(arrived)
        where = "docker-proxy" if publisher is not None else arrived.netns
        reason = delivered_reason(self.flow, arrived, self.forth, proxied=publisher is not None)
        return Trace(
            self.flow,
            Disposition.DELIVERED,
            symptom,
            reason,
            _last_evidence(self.forth),
            where,
            self.forth,
            tuple(self.walk.hops),
            listener=evidence,
            source_ip=self.source_ip,
            final_ip=arrived.packet.destination,
            final_port=arrived.packet.dport.value,
        )

    def _fits(self, reply: Packet, request: Packet) -> bool:
        """Whether the reply finds the caller's connected socket; one for pings looks at its own address only (ping_lookup())."""
        if self.flow.protocol is Protocol.ICMP:
            return (reply.daddr, reply.sport) == (request.saddr, request.sport)
        return reply.tuple == request.tuple.inverse()

    def _refused(self, arrived: Arrived) -> Symptom:
        """What the caller sees of a closed port: nothing where the reset or the port-unreachable is lost."""
        kept, self.walk.hops = self.walk.hops, []
        if self.flow.protocol is Protocol.TCP:
            back = self.walk.send(arrived.netns, replace(arrived.packet.reply(), tcp_flags=RST | ACK))
        else:
            error = port_unreachable(arrived.packet.family)
            back = self.walk.send_error(arrived.netns, arrived.packet, error.code)
        self.walk.hops = kept
        return Symptom.ECONNREFUSED if self._reaches_caller(back) else Symptom.TIMEOUT

    def _third_packet(self, request: Packet, arrived: Arrived) -> Trace | None:
        """The ACK that ends the handshake: connect() has its answer by then, but a rule that rejects it ends the connection.

        So does one that rewrites it otherwise than the request, which conntrack may not have seen: whoever gets it knows
        no such connection. A rule that drops it in silence is not seen by the caller. Source:
        tcp_rcv_synsent_state_process(), tcp_v4_err(), tcp_v4_send_reset().
        """
        if not self.world.has_reject and not self.world.has_notrack:
            return None
        kept, self.walk.hops = self.walk.hops, []
        outcome = self.walk.send(self.flow.source, replace(request, tcp_flags=ACK))
        self.walk.hops, hops = kept, tuple(self.walk.hops)
        if isinstance(outcome, Arrived):
            return self._third_packet_astray(arrived, outcome, hops)
        if outcome.stopped is None or not outcome.stopped.reject:
            return None
        reason, evidence = failure_reason(self.world, self.flow, outcome)
        reset = outcome.stopped.reject in RESETS
        symptom = self._answered(outcome, Symptom.ECONNRESET if reset else failure_symptom(self.flow, outcome))
        if symptom is Symptom.TIMEOUT:
            return None
        return Trace(
            self.flow,
            Disposition.REJECTED,
            symptom,
            reason,
            evidence,
            "",
            (*self.forth, *hops),
            tuple(kept),
            source_ip=self.source_ip,
            final_ip=outcome.packet.destination,
            final_port=outcome.packet.dport.value,
            detail=say("the handshake is answered, but of the caller's next packet {detail}", detail=outcome.detail),
            chain=outcome.stopped.chain,
            rule_number=outcome.stopped.rule_number,
        )

    def _third_packet_astray(self, arrived: Arrived, third: Arrived, hops: tuple[Hop, ...]) -> Trace | None:
        if (third.netns, third.packet.tuple) == (arrived.netns, arrived.packet.tuple):
            return None
        kept, self.walk.hops = self.walk.hops, []
        back = self.walk.send(third.netns, replace(third.packet.reply(), tcp_flags=RST))
        self.walk.hops = kept
        if not self._reaches_caller(back):
            return None
        evidence = _last_evidence(hops)
        detail = say(
            "the handshake is answered, but the caller's next packet arrives as {packet}, which is no connection",
            packet=third.packet,
        )
        return Trace(
            self.flow,
            Disposition.REJECTED,
            Symptom.ECONNRESET,
            Reason.FIREWALL_REJECT,
            evidence,
            "",
            (*self.forth, *hops),
            tuple(kept),
            source_ip=self.source_ip,
            final_ip=third.packet.destination,
            final_port=third.packet.dport.value,
            detail=detail,
        )

    def _reply_packet(self, arrived: Arrived) -> Packet | Failed:
        """What the far stack answers. A UDP socket bound to any address answers from the address that its route gives
        (udp_sendmsg()), which in a namespace with several addresses need not be the one that was called."""
        reply = arrived.packet.reply()
        if self.flow.protocol is not Protocol.UDP:
            return reply
        sockets, called = self.world.sockets(arrived.netns), arrived.packet.destination
        bound = sockets.bound(Protocol.UDP.value, called) if sockets is not None else ()
        if bound and self.walk.window_of(arrived.packet.dport, bound):
            return reply
        return self.walk.choose_source(arrived.netns, reply.sent_from(0))

    def _failed(self, failed: Failed) -> Trace:
        if failed.cause in _UNKNOWN_CAUSES:
            self.forth = tuple(self.walk.hops)
            return self._untold(failed.packet, failed.detail, _unknown_reason(failed))
        reason, evidence = failure_reason(self.world, self.flow, failed)
        symptom = failure_symptom(self.flow, failed)
        hops = (*self.walk.hops, Hop(HopKind.DROP, failed.netns, failed.detail, evidence))
        if self.walk.hops and self.walk.hops[-1].kind is HopKind.DROP:
            hops = tuple(self.walk.hops)
        return Trace(
            self.flow,
            failure_disposition(failed),
            self._answered(failed, symptom),
            reason,
            evidence,
            "",
            hops,
            (),
            source_ip=self.source_ip,
            final_ip=failed.packet.destination,
            final_port=failed.packet.dport.value,
            detail=failed.detail,
            chain=failed.stopped.chain if failed.stopped else "",
            rule_number=failed.stopped.rule_number if failed.stopped else 0,
        )

    def _untold(self, packet: Packet, cause: str, reason: Reason) -> Trace:
        """What is known of a flow that cannot be followed; the packet is as it was there."""
        trace = _unknown(self.flow, (cause,), reason)
        ip, port = packet.destination, packet.dport.value
        return replace(trace, forth=self.forth, source_ip=self.source_ip, final_ip=ip, final_port=port)

    def _answered(self, failed: Failed, symptom: Symptom) -> Symptom:
        """What the caller sees if a router has to tell it: a timeout where the error does not get back."""
        rejected = failed.stopped is not None and bool(failed.stopped.reject) and not sees_own_drops(self.flow)
        immediate = failed.at_source and not rejected
        if immediate or symptom is Symptom.TIMEOUT or self._request is None:
            return symptom
        kept, self.walk.hops = self.walk.hops, []
        if failed.stopped is not None and failed.stopped.reject in RESETS:
            back = self.walk.send_reset(failed.netns, failed.packet)
        else:
            error = REJECT_KINDS.get(failed.stopped.reject) if failed.stopped is not None else failed.error
            back = self.walk.send_error(failed.netns, failed.packet, error.code if error is not None else 0)
        self.walk.hops = kept
        return symptom if self._reaches_caller(back) else Symptom.TIMEOUT

    def _reaches_caller(self, answer: Outcome) -> bool:
        """Whether a reset or an ICMP error finds the socket that sent the request."""
        if not isinstance(answer, Arrived) or answer.netns != self.flow.source or self._request is None:
            return False
        packet = answer.packet
        return self._request.tuple == (packet.tuple.inverse() if packet.about is None else packet.about)

    def _reply_failed(self, arrived: Arrived, back: Failed) -> Trace:
        if back.cause in _UNKNOWN_CAUSES:
            trace = self._untold(arrived.packet, say("the reply: {detail}", detail=back.detail), _unknown_reason(back))
            return replace(trace, back=tuple(self.walk.hops))
        hops = list(self.walk.hops)
        if not hops or hops[-1].kind is not HopKind.DROP:
            hops.append(Hop(HopKind.DROP, back.netns, back.detail, back.evidence))
        return Trace(
            self.flow,
            Disposition.REPLY_LOST,
            Symptom.TIMEOUT if self._listener(arrived)[1] else self._refused(arrived),
            Reason.REPLY_BLOCKED,
            back.evidence,
            arrived.netns,
            self.forth,
            tuple(hops),
            source_ip=self.source_ip,
            final_ip=arrived.packet.destination,
            final_port=arrived.packet.dport.value,
            detail=say("the request arrives, but of the reply {detail}", detail=back.detail),
            chain=back.stopped.chain if back.stopped else "",
            rule_number=back.stopped.rule_number if back.stopped else 0,
        )

    def _listener(self, arrived: Arrived) -> tuple[Evidence | None, bool]:
        """The socket that takes the request; true as well when the capture cannot tell."""
        sockets = self.world.sockets(arrived.netns)
        if self.flow.protocol is Protocol.ICMP or sockets is None:
            return None, True
        packet = arrived.packet
        socket = sockets.takes(self.flow.protocol.value, packet.dport.value, packet.destination)
        return (socket.evidence, True) if socket is not None else (None, False)

    def _host_alone(self, arrived: Arrived) -> bool:
        """The host's own stack, with no container in it that could open the port."""
        return arrived.netns == "host" and not self.world.containers_in.get("host")

    def _narrow_to_listeners(self, arrived: Arrived) -> None:
        """On the host alone the verdict hangs on who listens."""
        sockets = self.world.sockets("host")
        if sockets is not None:
            self.walk.window_of(arrived.packet.dport, sockets.opened.get(self.flow.protocol.value, ()))

    def _nobody_home(self, arrived: Arrived) -> Trace:
        """The host refuses a port that is neither published nor opened by a process of its own."""
        port = arrived.packet.dport.value
        detail = say(
            "nothing on the host listens on {protocol} port {port}, and it is not published",
            protocol=self.flow.protocol.value,
            port=port,
        )
        hops = (*self.forth, Hop(HopKind.DROP, "host", detail))
        return Trace(
            self.flow,
            Disposition.REJECTED,
            self._refused(arrived),
            Reason.UNPUBLISHED_PORT,
            None,
            "host",
            hops,
            tuple(self.walk.hops),
            source_ip=self.source_ip,
            final_ip=arrived.packet.destination,
            final_port=port,
            detail=detail,
        )

    def _docker_proxy(self, arrived: Arrived) -> tuple[Container, PublishedPort] | None:
        """The published port behind a host port that docker-proxy listens on."""
        if arrived.netns != "host" or self.flow.protocol is Protocol.ICMP:
            return None
        port, protocol = arrived.packet.dport.value, self.flow.protocol.value
        self.walk.window_of(arrived.packet.dport, self.world.published(protocol))
        evidence, listening = self._listener(arrived)
        if not listening or (evidence is None and self.world.snapshot.engine.userland_proxy is False):
            return None
        for container, published in self.world.publishers(protocol, port):
            if _binding_covers(published.host_ip, arrived.packet.destination):
                return container, published
        return None

    def _through_proxy(self, publisher: tuple[Container, PublishedPort]) -> Trace | None:
        """docker-proxy opens a connection of its own; a TCP caller is connected before that, a UDP caller is not."""
        container, published = publisher
        address = next((e.ip or e.ip6 for e in container.endpoints if e.ip or e.ip6), None)
        who = say(
            "docker-proxy on the host takes it and calls {name} port {port}",
            name=container.name,
            port=published.container_port,
        )
        self.forth = (*self.forth, Hop(HopKind.PROXY, "host", who, container.evidence))
        if address is None or self._proxied:
            return None
        inner = Flow("host", address, self.flow.protocol, published.container_port)
        tcp = self.flow.protocol is Protocol.TCP
        choices = Choices() if tcp else self.walk.choices  # what is unknown there decides nothing for TCP
        second = _OneRun(self.world, inner, Walk(self.world, choices), _proxied=True).run()
        self.forth = (*self.forth, *second.forth)
        if second.disposition is Disposition.DELIVERED or tcp:
            return None
        return replace(second, flow=self.flow, forth=self.forth)


def _binding_covers(bound: Ip | None, called: Ip) -> bool:
    return bound is None or bound == called or (bound.value == 0 and bound.family is called.family)


def _last_evidence(hops: tuple[Hop, ...]) -> Evidence | None:
    """What let the packet through: the last rule that accepted or rewrote it, else the bridge, else the host's part."""
    cited = [hop for hop in reversed(hops) if hop.evidence is not None]
    for kind in (HopKind.RULE, HopKind.BRIDGE):
        for hop in cited:
            if hop.kind is kind:
                return hop.evidence
    on_host = [hop for hop in cited if hop.netns == "host"]
    return next((hop.evidence for hop in (*on_host, *cited)), None)


def _unknown_reason(failed: Failed) -> Reason:
    return Reason.NOT_MODELLED if failed.cause is Cause.NOT_MODELLED else Reason.NOT_CAPTURED


def _unknown(flow: Flow, causes: tuple[str, ...], reason: Reason) -> Trace:
    return Trace(
        flow, Disposition.UNKNOWN, Symptom.UNKNOWN, reason, None, "", (), (), unknown_causes=causes, detail=causes[0]
    )


def _agree(flow: Flow, runs: list[_Run]) -> Trace:
    """What all runs share."""
    if len(runs) == 1:  # it asked nothing
        return replace(runs[0].trace, window=runs[0].window)
    traces = [run.trace for run in runs]
    window = (max(run.window[0] for run in runs), min(run.window[1] for run in runs))
    first = traces[0]
    delivered = {t.disposition is Disposition.DELIVERED for t in traces}
    causes = tuple(dict.fromkeys(cause for run in runs for cause, _ in run.choices.asked))
    if len(delivered) == 1 and all(t.disposition is not Disposition.UNKNOWN for t in traces):
        symptoms = {t.symptom for t in traces}
        symptom = first.symptom if len(symptoms) == 1 or symptoms <= _NO_ANSWER else Symptom.UNKNOWN
        return replace(first, window=window, symptom=symptom)
    ends = {(t.final_ip, t.final_port) for t in traces if t.disposition in _NOT_STOPPED}
    final_ip, final_port = ends.pop() if len(ends) == 1 else (None, 0)
    if all(t.disposition is Disposition.UNKNOWN for t in traces):
        causes = first.unknown_causes + causes
        return replace(first, window=window, unknown_causes=causes, final_ip=final_ip, final_port=final_port)
    reason = Reason.NOT_CAPTURED if any(map(speaks_of_the_capture, causes)) else Reason.NOT_MODELLED
    trace = _unknown(flow, causes or (say("something on the way is unknown"),), reason)
    return replace(
        trace,
        window=window,
        forth=first.forth,
        back=first.back,
        source_ip=first.source_ip,
        final_ip=final_ip,
        final_port=final_port,
    )
