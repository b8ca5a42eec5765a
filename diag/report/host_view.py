"""Networks, containers, interfaces and gaps, as a report shows them."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from diag.model.analysis import Analysis
from diag.model.docker import Container, DockerNetwork, Endpoint
from diag.model.message import listed, say
from diag.model.provenance import Gap
from diag.model.snapshot import Snapshot
from diag.report.language import Language
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

    id: str
    folder: str
    """Where the capture has what was seen in it; empty for nowhere."""
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


def network_views(analysis: Analysis, language: Language) -> Iterator[NetworkView]:
    on: dict[str, list[tuple[Container, Endpoint]]] = {}
    for container in analysis.snapshot.containers:
        for endpoint in container.endpoints:
            on.setdefault(endpoint.network, []).append((container, endpoint))
    for network in analysis.snapshot.networks:
        yield _network(network, on.get(network.name, []), language)


def _network(network: DockerNetwork, on_it: list[tuple[Container, Endpoint]], language: Language) -> NetworkView:
    members = []
    for container, endpoint in on_it:
        addresses = ", ".join(str(ip) for ip in (endpoint.ip, endpoint.ip6) if ip is not None)
        note = language.say("fixed") if endpoint.fixed_ip else ""
        members.append(MemberView(shown(container.name), addresses or language.say("no address"), note))
    return NetworkView(
        shown(network.name),
        shown(network.driver),
        shown(network.bridge_name) if network.driver == "bridge" else "",
        ", ".join(str(c.subnet) for c in network.ipam),
        ", ".join(str(c.gateway) for c in network.ipam if c.gateway),
        shown(language.of(listed(_traits(network)))),
        tuple(members),
    )


def _traits(network: DockerNetwork) -> Iterator[str]:
    """What `docker network inspect` says that changes how the network behaves."""
    if network.internal:
        yield say("internal")
    if network.ingress:
        yield say("swarm's routing mesh: takes published ports of services")
    if network.name == "docker_gwbridge":
        yield say("the way out of containers on overlay networks")
    if network.encrypted:
        yield say("encrypted between hosts: they must let ESP (IP protocol 50) pass")
    if network.driver == "bridge":
        yield say("ICC on") if network.icc else say("ICC off")
        masquerade = network.options.get("com.docker.network.bridge.enable_ip_masquerade", "true")
        yield say("masquerade") if masquerade.lower() != "false" else say("no masquerade")
    for key, label in (
        ("com.docker.network.bridge.host_binding_ipv4", say("binds")),
        ("com.docker.network.driver.mtu", say("MTU")),
        ("com.docker.network.bridge.gateway_mode_ipv4", say("gateway mode")),
        ("parent", say("parent")),
        ("macvlan_mode", say("mode")),
        ("ipvlan_mode", say("mode")),
    ):
        if network.options.get(key):
            yield say("{label} {value}", label=label, value=network.options[key])


def container_ids(snapshot: Snapshot) -> dict[str, str]:
    """By the folders of containers."""
    return {_folder(c): f"c{number}" for number, c in enumerate(snapshot.containers, 1)}


def _folder(container: Container) -> str:
    return f"containers/{container.short_id}"


def container_views(analysis: Analysis, language: Language) -> Iterator[ContainerView]:
    captured = {path.rpartition("/")[0] for path in analysis.snapshot.files}
    for number, container in enumerate(analysis.snapshot.containers, 1):
        folder = _folder(container)
        yield _container(f"c{number}", folder if folder in captured else "", container, analysis, language)


def _container(id_: str, folder: str, container: Container, analysis: Analysis, language: Language) -> ContainerView:
    addresses = [str(ip) for e in container.endpoints for ip in (e.ip, e.ip6) if ip is not None]
    ports = [
        f"{p.host_ip or '*'}:{p.host_port} → {p.container_port}/{p.protocol}".replace("0.0.0.0:", "*:")
        for p in container.ports
    ]
    return ContainerView(
        id_,
        shown(folder),
        shown(container.name),
        shown(container.status),
        shown(language.of(analysis.roles.get(container.name, ""))),
        ", ".join(addresses),
        shown(", ".join(dict.fromkeys(ports))),
    )


def interface_views(analysis: Analysis, language: Language) -> Iterator[InterfaceView]:
    for interface in analysis.interfaces:
        addresses = shown(", ".join(interface.addresses))
        role = shown(language.of(interface.role))
        yield InterfaceView(shown(interface.name), role, addresses, interface.state)


def gap_view(gap: Gap, language: Language) -> GapView:
    where = f"{gap.file}:{gap.line}" if gap.line else gap.file
    return GapView(shown(where), shown(language.of(gap.detail)), shown(language.of(gap.affects)))
