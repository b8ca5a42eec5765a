"""`diag explain`: everything about one pair or one flow."""

from __future__ import annotations

from msgspec import Struct

from diag.errors import UsageError
from diag.model.address import Ip
from diag.model.analysis import Allowed, Fix, NameAnswer, Path, PortSet
from diag.model.docker import Container
from diag.model.flow import Flow, Protocol, Trace
from diag.model.message import SEMICOLON, listed, say, sentences
from diag.model.netns import Socket
from diag.model.reasons import Disposition, Reachability, Reason, Symptom, Via
from diag.model.snapshot import Snapshot
from diag.names.resolver import EMBEDDED_DNS
from diag.reach.analysis import Analyser
from diag.reach.beyond import HOST, RESERVED, WORLD, with_world
from diag.reach.explain import name_sentence
from diag.reach.flows import FlowAnswerer
from diag.reach.pairs import PairFacts, PathFacts, Target


class Explanation(Struct, frozen=True):
    """The answer of `diag explain`."""

    source: str
    destination: str
    reachability: Reachability
    reason: Reason
    text: str
    """The sentences a person reads."""
    paths: tuple[Path, ...]
    names: tuple[NameAnswer, ...]
    listeners: tuple[Socket, ...]
    """What listens in the destination's namespace."""
    listeners_known: bool
    fixes: tuple[Fix, ...]
    flow: Trace | None = None
    """Where one flow was asked about."""


def explain(
    snapshot: Snapshot, src: str, dst: str, *, protocol: str | None = None, port: int | None = None
) -> Explanation:
    """Answer for a pair, or for one flow where a protocol is given. Raises UsageError for a container that is not there."""
    analyser = Analyser(with_world(snapshot) if WORLD in (src, dst) else snapshot)
    source = snapshot.container(src)
    if source is None and src not in RESERVED:
        known = ", ".join(c.name for c in snapshot.containers[:8])
        raise UsageError(
            f"there is no container {src!r}", why=f"the source has {known or 'none'}", hint="See diag pairs"
        )
    destination = snapshot.container(dst)
    if source is not None and destination is not None and source.name == destination.name:
        raise UsageError("SRC and DST are the same container", hint="Name two")
    if protocol is None and source is not None and destination is not None:
        return _pair(analyser, source, destination)
    if dst in RESERVED or (src in RESERVED and destination is not None):
        names = (source.name if source else src, destination.name if destination else dst)
        if names[0] == names[1]:
            raise UsageError("SRC and DST are the same endpoint", hint="Name two")
        facts = analyser.reserved(snapshot).pair(*names)
        if protocol is None:
            return _reserved(analyser, facts)
        target = next((path.target for path in facts.paths if path.target is not None), None)
        if target is None:
            raise UsageError(
                f"{names[1]} has no address that {names[0]} could use", hint="See diag pairs --endpoints all"
            )
        return _flow(analyser, names[0], str(target.ip), None, protocol, port)
    return _flow(analyser, src if source is None else source.name, dst, destination, protocol, port)


def _pair(analyser: Analyser, source: Container, destination: Container) -> Explanation:
    result = analyser.pair(source, destination)
    best = result.paths[0]
    names = name_sentence(source.name, destination.name, result.names)
    if not result.names:
        answer = analyser.resolver.resolve(source.name, destination.name)
        names = say("{text} ({why}.)", text=names, why=answer.explanation) if answer.explanation else names
    text = sentences([*dict.fromkeys(p.explanation for p in result.paths), names])
    sockets = _sockets(analyser.snapshot, destination)
    return Explanation(
        source.name,
        destination.name,
        result.reachability,
        best.reason,
        text,
        result.paths,
        result.names,
        sockets or (),
        sockets is not None,
        best.fixes,
    )


def _reserved(analyser: Analyser, facts: PairFacts) -> Explanation:
    """A pair with `@host` or `@world`."""
    paths = tuple(analyser.path(facts, path, fixes=False) for path in facts.paths)
    text = sentences(dict.fromkeys(path.explanation for path in paths))
    listeners = analyser.snapshot.netns["host"].sockets if facts.destination == HOST else None
    return Explanation(
        facts.source,
        facts.destination,
        facts.reachability,
        paths[0].reason,
        text,
        paths,
        (),
        listeners or (),
        listeners is not None,
        (),
    )


def _flow(
    analyser: Analyser, src: str, dst: str, destination: Container | None, protocol: str | None, port: int | None
) -> Explanation:
    """One flow, or for an address that is no container's, everything that can be sent to it."""
    snapshot = analyser.snapshot
    answerer = FlowAnswerer(snapshot, tracer=analyser.tracer)
    names: tuple[NameAnswer, ...] = ()
    netns = answerer.netns_of(src)
    if netns is None:
        raise UsageError(
            f"{src} is not running", why="it has no network stack to send from", hint=f"docker start {src}"
        )
    address = _address(analyser, netns, dst, destination)
    if address is None:
        answer = analyser.resolver.resolve(src, dst)
        names = (answer,)
        if not answer.addresses:
            return _no_name(src, dst, answer)
        address = Ip.parse(answer.addresses[0])
    owner = destination.name if destination else analyser.resolver.owner(str(address)) or dst
    owners = analyser.tracer.world.endpoints.get(address, ())
    facts = analyser.pairs.path(netns, Target(address, owners[0][1].network if owners else ""))
    if protocol is None:
        pair = PairFacts(src, owner, facts.reachability, (facts,))
        path = analyser.path(pair, facts, fixes=snapshot.container(owner) is not None)
        return Explanation(
            src, owner, path.reachability, path.reason, path.explanation, (path,), names, (), False, path.fixes
        )
    trace = analyser.tracer.trace(Flow(netns, address, Protocol(protocol), port or 0))
    return _one_flow(analyser, src, owner, facts, trace, names)


def _one_flow(
    analyser: Analyser, src: str, owner: str, facts: PathFacts, trace: Trace, names: tuple[NameAnswer, ...]
) -> Explanation:
    reachability = {
        Disposition.DELIVERED: Reachability.REACHABLE,
        Disposition.UNKNOWN: Reachability.UNKNOWN,
    }.get(trace.disposition, Reachability.UNREACHABLE)
    fixes: tuple[Fix, ...] = ()
    if reachability is Reachability.UNREACHABLE and analyser.snapshot.container(owner) is not None:
        fixes = analyser.fixes.find(PairFacts(src, owner, facts.reachability, (facts,)), facts)
    text = flow_text(src, owner, reachability, trace)
    path = Path(
        trace.flow.destination.family.label,
        str(trace.flow.destination),
        "",
        reachability,
        _only(trace),
        trace.reason,
        trace.decided_by,
        text,
        trace.forth,
        trace.back,
        fixes,
    )
    return Explanation(src, owner, reachability, trace.reason, text, (path,), names, (), False, fixes, trace)


def flow_text(src: str, owner: str, reachability: Reachability, trace: Trace) -> str:
    """What becomes of one flow of a pair."""
    flow = trace.flow
    what = (
        say("{protocol} port {port}", protocol=flow.protocol.value, port=flow.port) if flow.port else say("ICMP echo")
    )
    match reachability:
        case Reachability.REACHABLE:
            text = say("{a} reaches {b} at {ip} on {what}.", a=src, b=owner, ip=flow.destination, what=what)
            if trace.symptom is not Symptom.ECONNREFUSED:
                return text
            refused = say(
                "Nothing listens there in the capture, so that the caller sees {error}.", error="ECONNREFUSED"
            )
            return sentences((text, refused))
        case Reachability.UNKNOWN:
            return say(
                "Whether {a} reaches {b} on {what} cannot be told: {causes}.",
                a=src,
                b=owner,
                what=what,
                causes=listed(trace.unknown_causes, SEMICOLON),
            )
        case _:
            text = say(
                "{a} cannot reach {b} at {ip} on {what}: {why}.",
                a=src,
                b=owner,
                ip=flow.destination,
                what=what,
                why=trace.detail or trace.reason.value,
            )
            return sentences((text, say("The caller sees {error}.", error=trace.symptom.value)))


def _only(trace: Trace) -> Allowed:
    """The one flow as a set."""
    if trace.disposition is not Disposition.DELIVERED:
        return Allowed()
    ports = PortSet(((trace.flow.port, trace.flow.port),))
    match trace.flow.protocol:
        case Protocol.ICMP:
            return Allowed(icmp=True)
        case Protocol.TCP:
            return Allowed(tcp=ports)
        case Protocol.UDP:
            return Allowed(udp=ports)


def _address(analyser: Analyser, netns: str, dst: str, destination: Container | None) -> Ip | None:
    if destination is not None:
        targets = analyser.pairs.targets(netns, destination)
        if not targets:
            raise UsageError(f"{destination.name} has no address", why="it is not running or has no network")
        reachable = [t for t in targets if analyser.pairs.path(netns, t).reachability is Reachability.REACHABLE]
        return (reachable or targets)[0].ip
    try:
        return Ip.parse(dst)
    except ValueError:
        return None


def _no_name(src: str, dst: str, answer: NameAnswer) -> Explanation:
    external = answer.via is Via.EXTERNAL
    reason = Reason.NOT_CAPTURED if external else answer.reason or Reason.NAME_UNKNOWN
    why = answer.explanation
    if external:
        text = say("{a} may or may not resolve the name {name}: {why}.", a=src, name=dst, why=why)
    else:
        text = say("{a} cannot resolve the name {name}: {why}.", a=src, name=dst, why=why)
    path = Path(
        "",
        "",
        "",
        Reachability.UNKNOWN if external else Reachability.UNREACHABLE,
        Allowed(),
        reason,
        answer.evidence,
        text,
    )
    return Explanation(src, dst, path.reachability, reason, text, (path,), (answer,), (), False, ())


def _sockets(snapshot: Snapshot, container: Container) -> tuple[Socket, ...] | None:
    """What listens in its namespace; Docker's own resolver there is left out."""
    netns = snapshot.netns_of.get(container.name)
    found = snapshot.netns[netns].sockets if netns else None
    return None if found is None else tuple(s for s in found if s.ip != EMBEDDED_DNS)
