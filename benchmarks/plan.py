"""A made-up Docker host before it is written down: its networks, its containers, and who has which address and port.

Networks and containers are named as Compose names them: network `app-003_default`, container `app-003-web-1`, with the
service's name as an alias.
"""

from __future__ import annotations

import hashlib
import ipaddress
import itertools
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Interface, IPv6Network

POOL = IPv4Network("10.0.0.0/8")
"""Where the networks get their subnets from."""
UPLINK = ipaddress.IPv4Interface("192.0.2.10/24")
"""The host's own address."""
UPLINK_GATEWAY = IPv4Address("192.0.2.1")
POOL6 = IPv6Network("fd00:1::/32")
"""The same of IPv6."""
UPLINK6 = IPv6Interface("2001:db8:7::10/64")
UPLINK_GATEWAY6 = IPv6Address("fe80::1")
"""What a router advertises."""
FIRST_HOST_PORT = 10_000
FIRST_OWN_PORT = 40_000
"""The port that the first container's own rules name, see :attr:`HostSpec.distinct`."""
LAST_PORT = 65_535
_LONGEST_PREFIX = 24
_DOCKER0_INDEX = 3


@dataclass(frozen=True, slots=True)
class HostSpec:
    """How large a host, and of what kind. The same values always give the same host.

    Raises ValueError for a host that cannot be: too many networks for their pool, or too many ports for one address.
    """

    containers: int = 1000
    networks: int = 100
    """User-defined bridge networks; the containers are spread over them evenly."""
    published: int = 2
    """Ports that each container publishes, each on a host port of its own."""
    multihomed: float = 0.05
    """The fraction of containers that are on a second network."""
    admin_rules: int = 50
    """Rules in DOCKER-USER that are drawn at random; a rule for established connections comes before them."""
    distinct: bool = False
    """Every container also has admin rules of its own, so that no two behave alike."""
    ipv6: bool = False
    """Every network has a subnet of IPv6 as well, and the host an address."""
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.containers, self.published, self.admin_rules) < 0 or self.networks < 1:
            raise ValueError("a host has no negative numbers, and at least one network")
        if not 0 <= self.multihomed <= 1:
            raise ValueError(f"multihomed is a fraction from 0 to 1, not {self.multihomed:g}")
        ports = self.containers * self.published
        if FIRST_HOST_PORT + ports - 1 > LAST_PORT:
            raise ValueError(f"{ports:,} published ports: one address has {LAST_PORT + 1 - FIRST_HOST_PORT:,} for them")
        if self.distinct and FIRST_OWN_PORT + self.containers - 1 > LAST_PORT:
            raise ValueError(f"at most {LAST_PORT + 1 - FIRST_OWN_PORT:,} containers can have a port of their own")


@dataclass(frozen=True, slots=True)
class Bridge:
    """A bridge network and its interface on the host."""

    name: str
    id: str
    project: str
    subnet: IPv4Network
    interface: str
    index: int
    mac: str
    subnet6: IPv6Network | None = None

    @property
    def gateway(self) -> IPv4Address:
        """The bridge's own address, the first of the subnet."""
        return self.subnet[1]

    @property
    def gateway6(self) -> IPv6Address | None:
        return self.subnet6[1] if self.subnet6 is not None else None


DOCKER0 = Bridge(
    "bridge",
    hashlib.sha256(b"bridge").hexdigest(),
    "",
    IPv4Network("172.17.0.0/16"),
    "docker0",
    _DOCKER0_INDEX,
    "02:42:5b:ec:e6:e1",
)
"""The default network, which no container is on."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A container on a network: `device` inside, `veth` on the host."""

    bridge: Bridge
    id: str
    address: IPv4Address
    device: str
    index: int
    mac: str
    veth: str
    veth_index: int
    veth_mac: str

    @property
    def address6(self) -> IPv6Address | None:
        """With the number that the other address has in its subnet."""
        subnet, place = self.bridge.subnet6, int(self.address) - int(self.bridge.subnet.network_address)
        return subnet[place] if subnet is not None else None


@dataclass(frozen=True, slots=True)
class Port:
    """A port of a container, published on every address of the host at `host_port`."""

    protocol: str
    number: int
    host_port: int

    @property
    def key(self) -> str:
        """As the engine writes it, e.g. `80/tcp`."""
        return f"{self.number}/{self.protocol}"


@dataclass(frozen=True, slots=True)
class Listener:
    """A socket that waits for clients."""

    protocol: str
    address: str
    """`::` takes IPv4 clients too."""
    port: int


@dataclass(frozen=True, slots=True)
class Container:
    """A running container with a namespace of its own."""

    number: int
    """From 0, in order of creation; also the number that the host's veths know its namespace by."""
    name: str
    id: str
    service: str
    endpoints: tuple[Endpoint, ...]
    """In the order in which it was connected: the first is the network that it was started on."""
    ports: tuple[Port, ...]
    """Sorted by number."""
    listeners: tuple[Listener, ...]
    dns_tcp: int
    """The port of 127.0.0.11 that Docker's resolver answers TCP on."""
    dns_udp: int

    @property
    def pid(self) -> int:
        return 4000 + 23 * self.number

    @property
    def short_id(self) -> str:
        return self.id[:12]

    @property
    def gateway_endpoint(self) -> Endpoint:
        """Where its default route leads and its ports are published: the first network by name (Docker 28 and later)."""
        return min(self.endpoints, key=lambda endpoint: endpoint.bridge.name)


@dataclass(frozen=True, slots=True)
class Host:
    """All of it."""

    spec: HostSpec
    bridges: tuple[Bridge, ...]
    """User-defined networks, in order of creation, which is also that of their names."""
    containers: tuple[Container, ...]

    @property
    def endpoints(self) -> tuple[tuple[Container, Endpoint], ...]:
        """Every endpoint with its container, in order of creation."""
        return tuple((container, endpoint) for container in self.containers for endpoint in container.endpoints)


@dataclass(frozen=True, slots=True)
class _Service:
    name: str
    ports: tuple[tuple[str, int], ...]
    dual_stack: bool = False
    """Its TCP sockets are bound to `::`."""


_SERVICES = (
    _Service("web", (("tcp", 80), ("tcp", 443))),
    _Service("api", (("tcp", 8080), ("tcp", 8443)), dual_stack=True),
    _Service("db", (("tcp", 5432), ("tcp", 8008))),
    _Service("cache", (("tcp", 6379), ("tcp", 16379))),
    _Service("queue", (("tcp", 5672), ("tcp", 15672)), dual_stack=True),
    _Service("dns", (("udp", 53), ("tcp", 53))),
    _Service("search", (("tcp", 9200), ("tcp", 9300)), dual_stack=True),
)
_FIRST_EXTRA_PORT = 7000
_ALSO_LISTENING = (
    Listener("tcp", "0.0.0.0", 9100),  # noqa: S104  a socket in a text
    Listener("tcp", "127.0.0.1", 9901),
    Listener("udp", "0.0.0.0", 8125),  # noqa: S104
)


def plan_host(spec: HostSpec) -> Host:
    """The host that a spec stands for. Raises ValueError when the networks do not fit into their pool."""
    rng = random.Random(spec.seed)  # noqa: S311  the same host for the same seed
    memberships = _memberships(spec, rng)
    bridges = _bridges(spec, memberships)
    addresses = [itertools.count(2) for _ in bridges]
    indexes = itertools.count(bridges[-1].index + 1)
    host_ports = itertools.count(FIRST_HOST_PORT)
    containers = []
    for number, networks in enumerate(memberships):
        service = _SERVICES[number // spec.networks % len(_SERVICES)]
        name = container_name(spec, number)
        endpoints = tuple(
            _endpoint(spec, bridges[network], name, position, next(addresses[network]), next(indexes))
            for position, network in enumerate(networks)
        )
        ports = tuple(Port(*port, next(host_ports)) for port in _published(service, spec.published))
        dns = sorted(rng.sample(range(32_768, 61_000), 2))
        made = Container(
            number, name, _id(spec, "container", name), service.name, endpoints, ports, _listeners(service, ports), *dns
        )
        containers.append(made)
    return Host(spec, bridges, tuple(containers))


def container_name(spec: HostSpec, number: int) -> str:
    """What the container with a number is called.

    >>> container_name(HostSpec(networks=10), 13)
    'app-003-api-1'
    """
    position, network = divmod(number, spec.networks)
    turn, service = divmod(position, len(_SERVICES))
    return f"{_project(spec, network)}-{_SERVICES[service].name}-{turn + 1}"


def _project(spec: HostSpec, network: int) -> str:
    return f"app-{network:0{len(str(spec.networks - 1)) if spec.networks > 1000 else 3}}"


def _memberships(spec: HostSpec, rng: random.Random) -> list[tuple[int, ...]]:
    """The networks of each container, by number, that of its start first."""
    homes = [number % spec.networks for number in range(spec.containers)]
    others = spec.networks - 1
    more = round(spec.containers * spec.multihomed) if others else 0
    second = {n: (homes[n] + 1 + rng.randrange(others)) % spec.networks for n in rng.sample(range(len(homes)), more)}
    return [(home, second[number]) if number in second else (home,) for number, home in enumerate(homes)]


def _bridges(spec: HostSpec, memberships: Iterable[Sequence[int]]) -> tuple[Bridge, ...]:
    """The networks, with subnets that have room for their members, the gateway and the broadcast address."""
    members = [0] * spec.networks
    for network in itertools.chain.from_iterable(memberships):
        members[network] += 1
    prefix = min(_LONGEST_PREFIX, 32 - (max(members) + 2).bit_length())
    if prefix < POOL.prefixlen or spec.networks > 1 << (prefix - POOL.prefixlen):
        raise ValueError(f"{spec.networks:,} networks of /{prefix} do not fit into {POOL}")
    subnets = POOL.subnets(new_prefix=prefix)
    return tuple(_bridge(spec, network, subnet) for network, subnet in zip(range(spec.networks), subnets, strict=False))


def _bridge(spec: HostSpec, network: int, subnet: IPv4Network) -> Bridge:
    project = _project(spec, network)
    name = f"{project}_default"
    identity = _id(spec, "network", name)
    index = _DOCKER0_INDEX + 1 + network
    subnet6 = IPv6Network((int(POOL6.network_address) + (network << 64), 64)) if spec.ipv6 else None
    return Bridge(name, identity, project, subnet, f"br-{identity[:12]}", index, _mac(spec, "bridge", name), subnet6)


def _endpoint(spec: HostSpec, bridge: Bridge, owner: str, position: int, place: int, veth_index: int) -> Endpoint:
    key = f"{owner}@{bridge.name}"
    return Endpoint(
        bridge,
        _id(spec, "endpoint", key),
        bridge.subnet[place],
        f"eth{position}",
        2 + position,
        _mac(spec, "container", key),
        # Different for each index, as the multiplier is odd.
        f"veth{veth_index * 0x9E3779B1 & 0xFFFFFFF:07x}",
        veth_index,
        _mac(spec, "veth", key),
    )


def _published(service: _Service, count: int) -> list[tuple[str, int]]:
    extra = (("tcp", number) for number in itertools.count(_FIRST_EXTRA_PORT))
    return sorted(itertools.islice(itertools.chain(service.ports, extra), count), key=lambda port: port[::-1])


def _listeners(service: _Service, ports: Iterable[Port]) -> tuple[Listener, ...]:
    served = dict.fromkeys([*service.ports, *((port.protocol, port.number) for port in ports)])
    everywhere = "::" if service.dual_stack else "0.0.0.0"  # noqa: S104
    return (*(Listener(protocol, everywhere, number) for protocol, number in served), *_ALSO_LISTENING)


def _id(spec: HostSpec, kind: str, name: str) -> str:
    """64 hexadecimal digits."""
    return hashlib.sha256(f"{spec.seed} {kind} {name}".encode()).hexdigest()


def _mac(spec: HostSpec, kind: str, name: str) -> str:
    """A locally administered unicast address."""
    first, *rest = bytes.fromhex(_id(spec, f"mac of {kind}", name)[:12])
    return ":".join(f"{byte:02x}" for byte in (first & 0xFC | 0x02, *rest))
