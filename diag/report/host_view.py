"""Networks, containers, interfaces and gaps, as a report shows them."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from diag.model.analysis import Analysis
from diag.model.docker import Container, DockerNetwork, Endpoint
from diag.model.provenance import Gap
from diag.report.shown import shown


class MemberView(Struct, frozen=True):
    """A container on a network."""

    name: str
    address: str
    note: str


class NetworkView(Struct, frozen=True):
    """A Docker network."""

    name: str
    driver: str
    bridge: str
    subnets: str
    gateways: str
    traits: str
    members: tuple[MemberView, ...]


class ContainerView(Struct, frozen=True):
    """A container."""

    name: str
    status: str
    role: str
    addresses: str
    ports: str


class InterfaceView(Struct, frozen=True):
    """A host interface."""

    name: str
    role: str
    addresses: str
    state: str


class GapView(Struct, frozen=True):
    """Something that is not known."""

    where: str
    detail: str
    affects: str


def network_views(analysis: Analysis) -> Iterator[NetworkView]:
    on: dict[str, list[tuple[Container, Endpoint]]] = {}
    for container in analysis.snapshot.containers:
        for endpoint in container.endpoints:
            on.setdefault(endpoint.network, []).append((container, endpoint))
    for network in analysis.snapshot.networks:
        yield _network(network, on.get(network.name, []))


def _network(network: DockerNetwork, on_it: list[tuple[Container, Endpoint]]) -> NetworkView:
    members = []
    for container, endpoint in on_it:
        addresses = ", ".join(str(ip) for ip in (endpoint.ip, endpoint.ip6) if ip is not None)
        note = "fixed" if endpoint.fixed_ip else ""
        members.append(MemberView(shown(container.name), addresses or "no address", note))
    return NetworkView(
        shown(network.name),
        shown(network.driver),
        shown(network.bridge_name) if network.driver == "bridge" else "",
        ", ".join(str(c.subnet) for c in network.ipam),
        ", ".join(str(c.gateway) for c in network.ipam if c.gateway),
        shown(", ".join(_traits(network))),
        tuple(members),
    )


def _traits(network: DockerNetwork) -> Iterator[str]:
    """What `docker network inspect` says that changes how the network behaves."""
    if network.internal:
        yield "internal"
    if network.ingress:
        yield "swarm's routing mesh: takes published ports of services"
    if network.name == "docker_gwbridge":
        yield "the way out of containers on overlay networks"
    if network.encrypted:
        yield "encrypted between hosts: they must let ESP (IP protocol 50) pass"
    if network.driver == "bridge":
        yield "ICC on" if network.icc else "ICC off"
        masquerade = network.options.get("com.docker.network.bridge.enable_ip_masquerade", "true")
        yield "masquerade" if masquerade.lower() != "false" else "no masquerade"
    for key, label in (
        ("com.docker.network.bridge.host_binding_ipv4", "binds"),
        ("com.docker.network.driver.mtu", "MTU"),
        ("com.docker.network.bridge.gateway_mode_ipv4", "gateway mode"),
        ("parent", "parent"),
        ("macvlan_mode", "mode"),
        ("ipvlan_mode", "mode"),
    ):
        if network.options.get(key):
            yield f"{label} {network.options[key]}"


def container_view(container: Container, analysis: Analysis) -> ContainerView:
    addresses = [str(ip) for e in container.endpoints for ip in (e.ip, e.ip6) if ip is not None]
    ports = [
        f"{p.host_ip or '*'}:{p.host_port} → {p.container_port}/{p.protocol}".replace("0.0.0.0:", "*:")
        for p in container.ports
    ]
    return ContainerView(
        shown(container.name),
        shown(container.status),
        shown(analysis.roles.get(container.name, "")),
        ", ".join(addresses),
        shown(", ".join(dict.fromkeys(ports))),
    )


def interface_views(analysis: Analysis) -> Iterator[InterfaceView]:
    for interface in analysis.interfaces:
        addresses = shown(", ".join(interface.addresses))
        yield InterfaceView(shown(interface.name), shown(interface.role), addresses, interface.state)


def gap_view(gap: Gap) -> GapView:
    where = f"{gap.file}:{gap.line}" if gap.line else gap.file
    return GapView(shown(where), shown(gap.detail), shown(gap.affects))
