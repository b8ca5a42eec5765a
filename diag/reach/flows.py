"""`diag trace`: one JSON object in, the same object with the answer out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diag.interpreter.trace import Tracer
from diag.model.address import Family, Ip
from diag.model.analysis import NameAnswer
from diag.model.flow import Flow, Hop, Protocol, Trace
from diag.model.provenance import Evidence
from diag.model.reasons import Disposition, Reason, Symptom, Via
from diag.model.snapshot import Snapshot
from diag.names.resolver import Resolver
from diag.reach.beyond import HOST, RESERVED, WORLD, with_world
from diag.reach.far import far_addresses
from diag.symbolic.behaviours import Decisions
from diag.symbolic.engine import solve
from diag.symbolic.kinds import Kind

MOST_KNOWN = 1 << 16
"""Answers that are kept for flows that are asked about again."""
MANY, MANY_PER_CONTAINER = 500, 4
"""Flows after which all pairs are solved at once, which takes about as long as to trace that many."""


class BadRequestError(ValueError):
    """A line that cannot be answered; the message says why."""


class FlowAnswerer:
    """Answers requests about one snapshot."""

    def __init__(self, snapshot: Snapshot, *, tracer: Tracer | None = None) -> None:
        self.snapshot = snapshot
        self.tracer = tracer or Tracer(snapshot)
        self.resolver = Resolver(snapshot)
        self._far = far_addresses(snapshot)
        self._beyond: Tracer | None = None
        self._answers: dict[Flow, dict[str, Any]] = {}
        self._asked = 0
        self._decisions: Decisions | None = None
        self._dropping: dict[tuple[Kind, Protocol], Reason | None] = {}
        """Why flows of a kind are dropped; None for kinds of which each flow is traced."""

    def answer(self, request: Mapping[str, Any], *, hops: bool = False) -> dict[str, Any]:
        """The request's fields plus the answer's; the address `@world` is any beyond the uplink. Raises BadRequestError."""
        source = _text(request, "source")
        if source not in RESERVED and self.snapshot.container(source) is None:
            raise BadRequestError(f"there is no container {source!r}")
        if "protocol" not in request:
            return {**request, **self._look_up(source, _text(request, "name"))}
        protocol, port = _protocol(request), _port(request)
        name = request.get("name")
        if "address" in request:
            return {**request, **self._flow(source, self._address(request), protocol, port, hops=hops)}
        if not isinstance(name, str):
            raise BadRequestError("a flow needs an address or a name")
        found = self._resolve(source, name)
        if not found.addresses:
            return {**request, **_no_address(found)}
        answer = self._flow(source, Ip.parse(found.addresses[0]), protocol, port, hops=hops)
        return {**request, "addresses": list(found.addresses), "via": _value(found.via), **answer}

    def _address(self, request: Mapping[str, Any]) -> Ip:
        text = _text(request, "address")
        if text == WORLD:
            return self._far[Family.IPV4]
        try:
            return Ip.parse(text)
        except ValueError as error:
            raise BadRequestError(str(error)) from None

    def _resolve(self, source: str, name: str) -> NameAnswer:
        container = self.snapshot.container(source)
        return self.resolver.resolve(container.name if container else source, name)

    def _look_up(self, source: str, name: str) -> dict[str, Any]:
        found = self._resolve(source, name)
        if not found.addresses:
            return _no_address(found)
        return {
            "disposition": Disposition.DELIVERED.value,
            "symptom": Symptom.OK.value,
            "reason": None,
            "decided_by": evidence_json(found.evidence),
            "addresses": list(found.addresses),
            "via": _value(found.via),
        }

    def _flow(self, source: str, address: Ip, protocol: Protocol, port: int, *, hops: bool) -> dict[str, Any]:
        netns = self.netns_of(source)
        if netns is None:
            return _not_running()
        flow = Flow(netns, address, protocol, port)
        if hops:
            return self._traced(flow, hops=True)
        known = self._answers.get(flow)
        if known is None:
            known = self._dropped(netns, address, protocol, port) or self._traced(flow, hops=False)
            if len(self._answers) < MOST_KNOWN:
                self._answers[flow] = known
        return known

    def _traced(self, flow: Flow, *, hops: bool) -> dict[str, Any]:
        netns, address = flow.source, flow.destination
        tracer = self._world_tracer() if netns == WORLD or address in self._far.values() else self.tracer
        trace = tracer.trace(flow)
        answer: dict[str, Any] = {
            "disposition": trace.disposition.value,
            "symptom": trace.symptom.value,
            "reason": trace.reason.value,
            "decided_by": evidence_json(trace.decided_by),
            "delivered_to": self.delivered_to(trace),
        }
        if trace.unknown_causes:
            answer["unknown"] = list(trace.unknown_causes)
        if hops:
            answer["hops"] = [hop_json(h) for h in (*trace.forth, *trace.back)]
        return answer

    def _dropped(self, netns: str, address: Ip, protocol: Protocol, port: int) -> dict[str, Any] | None:
        """The answer for a flow that a rule drops in silence, where many were asked about: of each kind one is traced.

        None: it has to be traced itself.
        """
        self._asked += 1
        if self._asked == max(MANY, MANY_PER_CONTAINER * len(self.snapshot.containers)):
            self._decisions = Decisions(solve(self.snapshot, self.tracer.world.topology, with_host=False))
        fate = self._decisions.fate(netns, address, protocol, port) if self._decisions is not None else None
        if self._decisions is None or fate is None or fate.by is not None or not _is_plain_drop(fate.kind):
            return None
        by, key = self._decisions.blocker(fate.kind, address), (fate.kind, protocol)
        if by is None:
            return None
        if key not in self._dropping:
            trace = self.tracer.trace(Flow(netns, address, protocol, port))
            silent = trace.disposition is Disposition.DROPPED and trace.symptom is Symptom.TIMEOUT
            self._dropping[key] = trace.reason if silent and trace.decided_by == by else None
        reason = self._dropping[key]
        if reason is None:
            return None
        return {
            "disposition": Disposition.DROPPED.value,
            "symptom": Symptom.TIMEOUT.value,
            "reason": reason.value,
            "decided_by": evidence_json(by),
            "delivered_to": None,
        }

    def _world_tracer(self) -> Tracer:
        if self._beyond is None:
            self._beyond = Tracer(with_world(self.snapshot), self.tracer.world)
        return self._beyond

    def netns_of(self, source: str) -> str | None:
        """The namespace of a container or of the host; None for one that is not running."""
        if source in RESERVED:
            return "host" if source == HOST else WORLD
        container = self.snapshot.container(source)
        return self.snapshot.netns_of.get(container.name) if container else None

    def delivered_to(self, trace: Trace) -> str | None:
        """The container (or `host`, or `docker-proxy`) whose stack took the request."""
        if not trace.delivered_to:
            return None
        if trace.delivered_to in ("host", "docker-proxy"):
            return trace.delivered_to
        owners = self.tracer.world.containers_in.get(trace.delivered_to, [])
        if trace.final_ip is not None:
            for container, _ in self.tracer.world.endpoints.get(trace.final_ip, []):
                if container.name in owners:
                    return container.name
        return owners[0] if owners else trace.delivered_to


def _is_plain_drop(kind: Kind) -> bool:
    return bool(kind.blocker) and not kind.reply and not kind.doubtful


def _value(via: Via | None) -> str | None:
    return via.value if via else None


def _text(request: Mapping[str, Any], key: str) -> str:
    value = request.get(key)
    if not isinstance(value, str) or not value:
        raise BadRequestError(f"{key!r} is missing or no text")
    return value


def _protocol(request: Mapping[str, Any]) -> Protocol:
    try:
        return Protocol(request["protocol"])
    except ValueError:
        raise BadRequestError(f"protocol {request['protocol']!r} is none of tcp, udp, icmp") from None


def _port(request: Mapping[str, Any]) -> int:
    port = request.get("port", 0)
    if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port <= 65535:
        raise BadRequestError(f"port {port!r} is no number from 0 to 65535")
    return port


def _no_address(found: NameAnswer) -> dict[str, Any]:
    external = found.via is Via.EXTERNAL
    return {
        "disposition": (Disposition.UNKNOWN if external else Disposition.NAME_NOT_FOUND).value,
        "symptom": (Symptom.UNKNOWN if external else Symptom.ENOTFOUND).value,
        "reason": (Reason.NOT_CAPTURED if external else found.reason or Reason.NAME_UNKNOWN).value,
        "decided_by": evidence_json(found.evidence),
        "addresses": [],
        "via": _value(found.via),
    }


def _not_running() -> dict[str, Any]:
    return {
        "disposition": Disposition.UNREACHABLE.value,
        "symptom": Symptom.UNKNOWN.value,
        "reason": Reason.NOT_RUNNING.value,
        "decided_by": None,
        "delivered_to": None,
    }


def evidence_json(evidence: Evidence | None) -> dict[str, Any] | None:
    """`{"file", "line", "text"}`, or None."""
    if evidence is None:
        return None
    return {"file": evidence.file, "line": evidence.line, "text": evidence.text}


def hop_json(hop: Hop) -> dict[str, Any]:
    """One step of a trace."""
    found: dict[str, Any] = {"kind": hop.kind.value, "netns": hop.netns, "text": hop.text}
    if hop.evidence is not None:
        found["evidence"] = evidence_json(hop.evidence)
    if hop.hook:
        found["hook"] = hop.hook
    return found
