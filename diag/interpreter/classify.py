"""From what the kernel did to the stable codes: disposition, symptom, reason.

The disposition and the symptom follow from the kernel's behaviour alone. The reason may also use what Docker says of its
networks, and for the wording a chain's name; it never changes the other two.
"""

from __future__ import annotations

from msgspec.structs import replace

from diag.interpreter.outcome import Arrived, Cause, Failed
from diag.interpreter.world import World
from diag.kernel import icmp_errors
from diag.model.address import Family, Ip
from diag.model.docker import Container, Endpoint
from diag.model.flow import Flow, Hop, HopKind, Protocol
from diag.model.netfilter import Field, Hook, Named, NfRule, Within
from diag.model.netns import LinkKind
from diag.model.provenance import Evidence
from diag.model.reasons import Disposition, Reason, Symptom

_DISPOSITIONS = {
    Cause.NO_ROUTE: Disposition.NO_ROUTE,
    Cause.BLACKHOLE: Disposition.NO_ROUTE,
    Cause.UNREACHABLE_ROUTE: Disposition.NO_ROUTE,
    Cause.PROHIBIT: Disposition.NO_ROUTE,
    Cause.BROADCAST: Disposition.NO_ROUTE,
    Cause.NO_NEIGHBOUR: Disposition.UNREACHABLE,
    Cause.FORWARDING_OFF: Disposition.DROPPED,
    Cause.RP_FILTER: Disposition.DROPPED,
    Cause.MARTIAN: Disposition.DROPPED,
    Cause.LOOP: Disposition.DROPPED,
    Cause.WRONG_SOCKET: Disposition.REPLY_LOST,
}

_SOURCE_ERRNO = {
    Cause.NO_ROUTE: Symptom.ENETUNREACH,
    Cause.BLACKHOLE: Symptom.EINVAL,
    Cause.UNREACHABLE_ROUTE: Symptom.EHOSTUNREACH,
    Cause.PROHIBIT: Symptom.EACCES,
    Cause.NO_NEIGHBOUR: Symptom.EHOSTUNREACH,
    Cause.MARTIAN: Symptom.EINVAL,
}


def failure_disposition(failed: Failed) -> Disposition:
    """What happened to the packet."""
    if failed.stopped is not None:
        return Disposition.REJECTED if failed.stopped.reject else Disposition.DROPPED
    return _DISPOSITIONS.get(failed.cause, Disposition.UNKNOWN)


def sees_own_drops(flow: Flow) -> bool:
    """Whether the call that sends says that the sender's own rules drop it: TCP tries again (tcp_transmit_skb()), and a
    ping over IPv6 does not ask (ping_v6_sendmsg())."""
    return flow.protocol is Protocol.UDP or (flow.protocol is Protocol.ICMP and flow.destination.family is Family.IPV4)


def failure_symptom(flow: Flow, failed: Failed) -> Symptom:
    """What the caller sees of a request that did not arrive."""
    if failed.stopped is not None:
        if failed.at_source and sees_own_drops(flow):
            return Symptom.EPERM
        if failed.stopped.reject:
            return icmp_errors.symptom_of_reject(failed.stopped.reject, flow.protocol)
        return Symptom.TIMEOUT
    if failed.at_source:
        if failed.cause is Cause.BROADCAST:
            return Symptom.ENETUNREACH if flow.protocol is Protocol.TCP else Symptom.EACCES
        return _SOURCE_ERRNO.get(failed.cause, Symptom.TIMEOUT)
    return icmp_errors.symptom_of(failed.error, flow.protocol) if failed.error else Symptom.TIMEOUT


def delivered_reason(flow: Flow, arrived: Arrived, forth: tuple[Hop, ...], *, proxied: bool) -> Reason:
    """By what kind of path a flow is delivered."""
    if proxied:
        return Reason.DOCKER_PROXY
    if arrived.netns == flow.source:
        return Reason.LOOPBACK if flow.destination.is_loopback else Reason.SAME_NETNS
    if arrived.dnat and any(h.kind is HopKind.NAT and h.netns == "host" for h in forth):
        return Reason.PUBLISHED_PORT
    if "host" in (arrived.netns, flow.source):
        return Reason.HOST_NETNS
    return Reason.ROUTED if arrived.routed else Reason.SAME_BRIDGE


def failure_reason(world: World, flow: Flow, failed: Failed) -> tuple[Reason, Evidence | None]:
    """Why, and the line that decides."""
    match failed.cause:
        case Cause.RULE:
            return _rule_reason(world, failed), failed.evidence
        case Cause.NO_ROUTE:
            return _no_route_reason(world, flow, failed), failed.evidence
        case Cause.BLACKHOLE | Cause.UNREACHABLE_ROUTE | Cause.PROHIBIT:
            return Reason.ROUTE_PROHIBITED, failed.evidence
        case Cause.FORWARDING_OFF:
            return Reason.IP_FORWARD_OFF, failed.evidence
        case Cause.RP_FILTER | Cause.MARTIAN:
            return Reason.RP_FILTER, failed.evidence
        case Cause.NO_NEIGHBOUR if failed.discovery is not None:
            return _rule_reason(world, replace(failed, stopped=failed.discovery)), failed.evidence
        case Cause.NO_NEIGHBOUR:
            return _neighbour_reason(world, flow, failed)
        case _:
            return Reason.NO_ROUTE, failed.evidence


def _source_endpoints(world: World, netns: str) -> list[Endpoint]:
    names = world.containers_in.get(netns, [])
    return [e for c in world.snapshot.containers if c.name in names for e in c.endpoints]


def _no_route_reason(world: World, flow: Flow, failed: Failed) -> Reason:
    if failed.netns != flow.source:
        return Reason.NO_ROUTE
    links = world.netns(flow.source).links or ()
    if all(link.kind is LinkKind.LOOPBACK for link in links):
        return Reason.NETWORK_NONE
    networks = [world.snapshot.network(e.network) for e in _source_endpoints(world, flow.source)]
    if networks and all(n is not None and n.internal for n in networks):
        return Reason.INTERNAL_NETWORK
    return Reason.NO_ROUTE


def destination_endpoint(world: World, ip: Ip) -> tuple[Container, Endpoint] | None:
    """Whose address Docker says it is."""
    found = world.endpoints.get(ip)
    return found[0] if found else None


def _neighbour_reason(world: World, flow: Flow, failed: Failed) -> tuple[Reason, Evidence | None]:
    wanted = failed.nexthop or flow.destination
    owner = destination_endpoint(world, wanted)
    kinds = {obstacle.split(":", 2)[0]: obstacle.split(":", 2)[1:] for obstacle in failed.obstacles}

    def link_evidence(kind: str) -> Evidence | None:
        netns, name = kinds[kind]
        link = world.link(netns, name)
        return link.evidence if link else failed.evidence

    if owner is not None:
        container, endpoint = owner
        netns = world.snapshot.netns_of.get(container.name)
        if netns is None:
            return Reason.NOT_RUNNING, container.evidence
        has = any(a.ip == wanted for link in world.netns(netns).links or () for a in link.addresses)
        found = _broken_link(world, failed, netns, endpoint)
        if found is not None:
            return found
        if not has:
            return Reason.WRONG_ADDRESS, _netns_link_evidence(world, netns) or container.evidence
    for kind in ("link-down", "port-down"):
        if kind in kinds:
            return Reason.LINK_DOWN, link_evidence(kind)
    if "no-master" in kinds:
        return Reason.NO_BRIDGE_PORT, link_evidence("no-master")
    source = world.link(failed.netns, failed.oif)
    if source is not None and source.kind in (LinkKind.MACVLAN, LinkKind.IPVLAN):
        return Reason.MACVLAN_ISOLATION, source.evidence
    return Reason.NO_NEIGHBOUR, failed.evidence


def _broken_link(world: World, failed: Failed, netns: str, endpoint: Endpoint) -> tuple[Reason, Evidence | None] | None:
    """A link at either end, or the bridge, that is down or on no bridge."""
    network = world.snapshot.network(endpoint.network)
    ends = [(failed.netns, failed.oif)]
    ends += [(netns, link.name) for link in world.netns(netns).links or () if link.kind is LinkKind.VETH]
    for key in list(ends):
        peer = world.topology.peers.get(key)
        if peer is not None:
            ends.append(peer)
    if network is not None and network.driver == "bridge":
        ends.append(("host", network.bridge_name))
    for key in ends:
        link = world.link(*key)
        if link is None:
            continue
        if not link.up:
            return Reason.LINK_DOWN, link.evidence
        routed = any(not address.ip.is_link_local for address in link.addresses)
        peer = world.topology.peers.get(key)
        end = key[0] == "host" and peer is not None and peer[0] != "host"
        if end and link.kind is LinkKind.VETH and not link.master and not routed:
            return Reason.NO_BRIDGE_PORT, link.evidence
    return None


def _netns_link_evidence(world: World, netns: str) -> Evidence | None:
    for link in world.netns(netns).links or ():
        if link.kind is not LinkKind.LOOPBACK and link.evidence is not None:
            return link.evidence
    return None


def _rule_reason(world: World, failed: Failed) -> Reason:
    stopped = failed.stopped
    assert stopped is not None
    if stopped.reject:
        return Reason.FIREWALL_REJECT
    docker = _docker_reason(world, failed, stopped.rule, stopped.chain, stopped.hook, stopped.table)
    if docker is not None:
        return docker
    return Reason.POLICY_DROP if stopped.rule is None else Reason.FIREWALL_DROP


def _docker_reason(
    world: World, failed: Failed, rule: NfRule | None, chain: str, hook: Hook, table: str
) -> Reason | None:
    """Docker's own rules, told by what they match on and by what Docker says of the networks they stand between."""
    if failed.netns != "host" or rule is None or chain == "DOCKER-USER":
        return None
    into = world.bridges.get(failed.oif)
    out_of = world.bridges.get(failed.iif)
    fields = {part.field for part in rule.parts if isinstance(part, (Named, Within))}
    if hook is Hook.PREROUTING:
        owner = destination_endpoint(world, failed.packet.destination)
        direct = Field.DADDR in fields and Field.IIFNAME in fields and (owner is not None or table == "raw")
        return Reason.DIRECT_ACCESS_DROP if direct else None
    if hook is not Hook.FORWARD or (into is None and out_of is None):
        return None
    by_interface = fields <= {Field.IIFNAME, Field.OIFNAME}
    if any(n is not None and n.internal for n in (into, out_of)) and not (by_interface and into is out_of):
        return Reason.INTERNAL_NETWORK
    if not by_interface:
        return None
    if into is not None and into is out_of:
        return Reason.ICC_OFF if not into.icc else None
    return Reason.ISOLATION if into is not None and out_of is not None else Reason.UNPUBLISHED_PORT
