"""Docker's own objects, as the engine's API gives them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from msgspec import Struct, field

from diag.model.address import Ip, Prefix
from diag.model.provenance import Evidence


class IpamConfig(Struct, frozen=True):
    """One subnet of a network."""

    subnet: Prefix
    gateway: Ip | None = None
    ip_range: Prefix | None = None
    """Docker chooses addresses from it; None: from the whole subnet."""


class NetworkMember(Struct, frozen=True):
    """A container as `docker network inspect` lists it."""

    container_id: str
    name: str
    addresses: tuple[Ip, ...]
    endpoint_id: str = ""


class DockerNetwork(Struct, frozen=True):
    """`docker network inspect`."""

    name: str
    id: str
    driver: str
    scope: str = "local"
    internal: bool = False
    ingress: bool = False
    attachable: bool = False
    ipv6: bool = False
    ipam: tuple[IpamConfig, ...] = ()
    options: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    members: tuple[NetworkMember, ...] = ()
    user_subnet: bool | None = None
    """Whether the subnet was chosen by the user (`--ip` needs that); None when it cannot be told."""
    evidence: Evidence | None = None

    @property
    def bridge_name(self) -> str:
        """The Linux bridge that carries it (moby drivers/bridge: the option, else `br-` and 12 characters of the id)."""
        return self.options.get("com.docker.network.bridge.name") or f"br-{self.id[:12]}"

    @property
    def icc(self) -> bool:
        """Inter-container communication; on unless switched off."""
        return self.options.get("com.docker.network.bridge.enable_icc", "true").lower() != "false"

    @property
    def encrypted(self) -> bool:
        """An overlay whose frames between hosts are in ESP (moby drivers/overlay: the option may be empty)."""
        return self.options.get("encrypted", "false").lower() not in ("false", "0")

    @property
    def is_default_bridge(self) -> bool:
        return self.options.get("com.docker.network.bridge.default_bridge", "").lower() == "true" or (
            self.name == "bridge" and self.driver == "bridge"
        )


class Endpoint(Struct, frozen=True):
    """A container's place on a network (`NetworkSettings.Networks`)."""

    network: str
    network_id: str
    ip: Ip | None = None
    ip6: Ip | None = None
    gateway: Ip | None = None
    mac: str = ""
    aliases: tuple[str, ...] = ()
    dns_names: tuple[str, ...] = ()
    """Docker 25 and later: every name that the embedded DNS gives it."""
    links: tuple[tuple[str, str], ...] = ()
    """(container, alias) of `--link` on a user-defined network."""
    fixed_ip: bool = False
    """The address was chosen with `--ip` and stays the same over restarts."""
    gw_priority: int = 0
    wanted_ips: tuple[Ip, ...] = ()
    """What was chosen with `--ip` and `--ip6`, whether the container runs or not."""


class PublishedPort(Struct, frozen=True):
    """One binding of `-p`."""

    container_port: int
    protocol: str
    host_port: int
    """0: any, in what was asked for."""
    host_ip: Ip | None = None
    """None or all zeros: any address."""


class Container(Struct, frozen=True):
    """`docker inspect` of a container."""

    id: str
    name: str
    """Without the leading slash."""
    status: str = "running"
    """`created`, `running`, `paused`, `restarting`, `exited`, `dead`."""
    network_mode: str = "default"
    """`default`, `bridge`, `host`, `none`, a network's name, or `container:<id>`."""
    hostname: str = ""
    pid: int = 0
    endpoints: tuple[Endpoint, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    """(container, alias) of `--link` on the default bridge."""
    extra_hosts: tuple[tuple[str, str], ...] = ()
    """(name, address or `host-gateway`)."""
    ports: tuple[PublishedPort, ...] = ()
    exposed: tuple[tuple[int, str], ...] = ()
    sandbox_key: str = ""
    image: str = ""
    compose_project: str = ""
    compose_service: str = ""
    evidence: Evidence | None = None
    labels: tuple[tuple[str, str], ...] = ()
    """Keys and values, as far as the capture has them: it keeps those that it was asked for, and Compose's."""
    asked_ports: tuple[PublishedPort, ...] = ()
    """What `-p` asked for (`HostConfig.PortBindings`), whether anything came of it or not."""

    @property
    def short_id(self) -> str:
        return self.id[:12]

    @property
    def running(self) -> bool:
        """Whether it has a network namespace: a paused container's kernel still answers."""
        return self.status in ("running", "paused", "restarting")

    @property
    def joined_to(self) -> str:
        """The container whose namespace it shares (`--network container:X`), by id or name; empty if none."""
        return self.network_mode.partition(":")[2] if self.network_mode.startswith("container:") else ""


class Engine(Struct, frozen=True):
    """`docker version` and `docker info`, as far as the analysis uses them."""

    version: str = ""
    name: str = ""
    """The host's name."""
    kernel: str = ""
    os: str = ""
    firewall_backend: str = ""
    userland_proxy: bool | None = None
    swarm: str = ""
