"""A small language for hosts: networks, containers and rules, without a capture.

>>> host = Host().network("a", "10.1.0.0/24").network("b", "10.2.0.0/24")
>>> host = host.container("web", "a").container("db", "b")
>>> host.send("web", "db", tcp=5432).disposition
<Disposition.DELIVERED: 'delivered'>
>>> host.rules("-A FORWARD -i br-a -o br-b -j DROP").send("web", "db", tcp=5432).disposition
<Disposition.DROPPED: 'dropped'>
"""

from __future__ import annotations

from types import MappingProxyType

from msgspec import Struct, field
from msgspec.structs import replace

from diag.interpreter.trace import Tracer
from diag.model.address import Family, Ip, Prefix
from diag.model.docker import Container, DockerNetwork, Endpoint, Engine, IpamConfig
from diag.model.flow import Flow, Protocol, Trace
from diag.model.netfilter import NfTable, Origin, Ruleset, TableFamily
from diag.model.netns import Address, Link, LinkKind, Netns, Nexthop, Route, RouteType
from diag.model.provenance import Evidence
from diag.model.snapshot import Snapshot
from diag.parse.iptables_save import parse_iptables_save

LOCAL_LOOPBACK = Route(Prefix.parse("127.0.0.0/8"), RouteType.LOCAL, "local", (Nexthop("lo"),))
LOOPBACK = Link(
    "lo",
    1,
    LinkKind.LOOPBACK,
    up=True,
    carrier=True,
    addresses=(Address(Ip.parse("127.0.0.1"), Prefix.parse("127.0.0.0/8"), "host"),),
)


def connected(dev: str, address: Ip, prefix: Prefix) -> tuple[Route, Route]:
    """The two routes that an address brings."""
    way = (Nexthop(dev),)
    return (
        Route(prefix, RouteType.UNICAST, "main", way, prefsrc=address, scope="link"),
        Route(Prefix.of(address, address.family.bits), RouteType.LOCAL, "local", way, prefsrc=address, scope="host"),
    )


class Host(Struct, frozen=True):
    """A Docker host with bridges; every method returns a new one."""

    networks: tuple[DockerNetwork, ...] = ()
    containers: tuple[Container, ...] = ()
    spaces: dict[str, Netns] = field(default_factory=lambda: {"host": _empty("host", forward=True)})
    iptables: str = ""
    ip6tables: str = ""
    sysctls: dict[str, str] = field(default_factory=dict)

    def network(self, name: str, subnet: str, **options: str) -> Host:
        """A bridge network `name` on `br-name`; its gateway is the first address."""
        prefix = Prefix.parse(subnet)
        gateway = Ip(prefix.family, prefix.first + 1)
        bridge = f"br-{name}"
        found = {"com.docker.network.bridge.name": bridge, **options}
        internal = found.pop("internal", "") == "true"
        made = DockerNetwork(
            name,
            f"{name}{'0' * 64}"[:64],
            "bridge",
            ipam=(IpamConfig(prefix, gateway),),
            options=found,
            internal=internal,
        )
        index = 100 + len(self.networks)
        link = Link(
            bridge,
            index,
            LinkKind.BRIDGE,
            up=True,
            carrier=True,
            addresses=(Address(gateway, prefix), *link_local(prefix.family, index)),
            evidence=Evidence("host/ip-addr.json", 1, bridge),
        )
        host = self.spaces["host"]
        space = _with(host, (link,), connected(bridge, gateway, prefix))
        return replace(self, networks=(*self.networks, made), spaces={**self.spaces, "host": space})

    def container(self, name: str, *networks: str, mode: str = "", status: str = "running") -> Host:
        """A container on these networks, in order; the first gives the default route. Addresses count up from .10 and ::10."""
        number = len(self.containers)
        short = f"{number + 1:012x}"
        spaces = dict(self.spaces)
        space = _empty(short, forward=False)
        endpoints = []
        for position, network_name in enumerate(networks):
            network = next(n for n in self.networks if n.name == network_name)
            prefix = network.ipam[0].subnet
            digits = str(10 + number)
            address = Ip(prefix.family, prefix.first + int(digits, 10 if prefix.family is Family.IPV4 else 16))
            inside, outside = 1000 + 20 * number + 2 * position, 1001 + 20 * number + 2 * position
            link = Link(
                f"eth{position}",
                inside,
                LinkKind.VETH,
                up=True,
                carrier=True,
                peer_index=outside,
                peer_netnsid=0,
                addresses=(Address(address, prefix), *link_local(prefix.family, inside)),
                evidence=Evidence(f"containers/{short}/ip-addr.json", 1, f"eth{position}"),
            )
            veth = Link(
                f"veth{outside}",
                outside,
                LinkKind.VETH,
                up=True,
                carrier=True,
                master=f"br-{network_name}",
                peer_index=inside,
                peer_netnsid=number + 1,
                evidence=Evidence("host/ip-addr.json", 1, f"veth{outside}"),
            )
            routes: tuple[Route, ...] = connected(link.name, address, prefix)
            if position == 0 and not network.internal:
                way = (Nexthop(link.name, network.ipam[0].gateway),)
                routes += (Route(Prefix(prefix.family, 0, 0), RouteType.UNICAST, "main", way),)
            space = _with(space, (link,), routes)
            spaces["host"] = _with(spaces["host"], (veth,), ())
            ip, ip6 = (address, None) if prefix.family is Family.IPV4 else (None, address)
            endpoints.append(Endpoint(network_name, network.id, ip, ip6, gateway=network.ipam[0].gateway))
        made = Container(
            f"{short}{'f' * 52}",
            name,
            status,
            mode or (networks[0] if networks else "none"),
            hostname=short,
            pid=4000 + number,
            endpoints=tuple(endpoints),
        )
        if status == "running" and mode != "host" and not mode.startswith("container:"):
            spaces[short] = space
        return replace(self, containers=(*self.containers, made), spaces=spaces)

    def uplink(
        self, address: str = "192.0.2.10/24", gateway: str = "192.0.2.1", *, name: str = "eth0", metric: int = 0
    ) -> Host:
        """A NIC with an address and a default route."""
        ip, prefix = Ip.parse(address.partition("/")[0]), Prefix.parse(address)
        index = 2 + int(name.removeprefix("eth"))
        own = (Address(ip, prefix), *link_local(ip.family, index))
        link = Link(name, index, LinkKind.DEVICE, up=True, carrier=True, addresses=own)
        way = (Nexthop(name, Ip.parse(gateway)),)
        default = Route(Prefix(ip.family, 0, 0), RouteType.UNICAST, "main", way, metric=metric)
        space = _with(self.spaces["host"], (link,), (*connected(name, ip, prefix), default))
        return replace(self, spaces={**self.spaces, "host": space})

    def rules(self, text: str, table: str = "filter") -> Host:
        """More lines of `iptables-save` for the host, without header and COMMIT."""
        chains = "\n".join(f":{c} ACCEPT [0:0]" for c in _BUILTIN[table])
        return replace(self, iptables=f"{self.iptables}*{table}\n{chains}\n{text}\nCOMMIT\n")

    def sysctl(self, **values: str) -> Host:
        """Host sysctls; `__` stands for a dot, e.g. net__ipv4__ip_forward."""
        return replace(self, sysctls={**self.sysctls, **{k.replace("__", "."): v for k, v in values.items()}})

    def change(self, name: str, space: Netns) -> Host:
        """Replace a container's namespace, or the host's with `host`."""
        return replace(self, spaces={**self.spaces, self.netns_of(name): space})

    def guard(self, name: str, text: str) -> Host:
        """A firewall inside a container, as a whole `iptables-save`; who listens there is not known.

        Of a host whose first network is of IPv6 it is what `ip6tables-save` says.
        """
        netns, ipv6 = self.netns_of(name), self.networks[0].ipam[0].subnet.family is Family.IPV6
        file = f"containers/{netns}/ip{'6' if ipv6 else ''}tables-save.txt"
        tables: tuple[NfTable, ...] = parse_iptables_save(
            text.encode(), file, TableFamily.IP6 if ipv6 else TableFamily.IP, Origin.IPTABLES_NFT
        ).value
        return self.change(name, replace(self.spaces[netns], ruleset=Ruleset(tables), sockets=None))

    def netns_of(self, name: str) -> str:
        """The namespace id of a container; `host` is the host's."""
        return self.snapshot().netns_of.get(name, name)

    def snapshot(self) -> Snapshot:
        """The facts of this host."""
        tables: tuple[NfTable, ...] = parse_iptables_save(
            self.iptables.encode(), "host/iptables-save.txt", TableFamily.IP, Origin.IPTABLES_NFT
        ).value
        tables6: tuple[NfTable, ...] = parse_iptables_save(
            self.ip6tables.encode(), "host/ip6tables-save.txt", TableFamily.IP6, Origin.IPTABLES_NFT
        ).value
        host = self.spaces["host"]
        host = replace(
            host,
            ruleset=replace(host.ruleset, tables=(*host.ruleset.tables, *tables, *tables6)),
            sysctl=MappingProxyType({**host.sysctl, **self.sysctls}),
        )
        of = {}
        for container in self.containers:
            if container.status != "running":
                continue
            if container.network_mode == "host":
                of[container.name] = "host"
            elif container.joined_to:
                of[container.name] = of[container.joined_to]
            else:
                of[container.name] = container.short_id
        return Snapshot(
            Engine("28.0.0"),
            self.networks,
            tuple(sorted(self.containers, key=lambda c: c.name)),
            MappingProxyType({**self.spaces, "host": host}),
            MappingProxyType(of),
        )

    def address(self, name: str, network: str = "") -> Ip:
        """A container's address on a network, or its first."""
        container = next(c for c in self.containers if c.name == name)
        found = next(e.ip or e.ip6 for e in container.endpoints if not network or e.network == network)
        assert found is not None
        return found

    def send(self, source: str, to: str | Ip, *, tcp: int = 0, udp: int = 0, network: str = "") -> Trace:
        """One flow: TCP or UDP to a port, else an echo request."""
        snapshot = self.snapshot()
        destination = to if isinstance(to, Ip) else self.address(to, network)
        protocol = Protocol.TCP if tcp else Protocol.UDP if udp else Protocol.ICMP
        netns = "host" if source == "host" else snapshot.netns_of[source]
        return Tracer(snapshot).trace(Flow(netns, destination, protocol, tcp or udp))


_BUILTIN = {
    "raw": ("PREROUTING", "OUTPUT"),
    "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
}


def _empty(netns: str, *, forward: bool) -> Netns:
    value = "1" if forward else "0"
    sysctl = {
        "net.ipv4.ip_forward": value,
        "net.ipv6.conf.all.forwarding": value,
        "net.ipv4.conf.all.rp_filter": "0",
        "net.bridge.bridge-nf-call-iptables": "1",
        "net.bridge.bridge-nf-call-ip6tables": "1",
    }
    return Netns(
        netns,
        (LOOPBACK,),
        MappingProxyType({Family.IPV4: (LOCAL_LOOPBACK,), Family.IPV6: ()}),
        sysctl=MappingProxyType(sysctl),
        sockets=(),
        ruleset=Ruleset(),
    )


def link_local(family: Family, number: int) -> tuple[Address, ...]:
    """The address that an IPv6 link has by itself."""
    if family is Family.IPV4:
        return ()
    return (Address(Ip.parse(f"fe80::{number:x}"), Prefix.parse("fe80::/64"), "link"),)


def _with(space: Netns, links: tuple[Link, ...], routes: tuple[Route, ...]) -> Netns:
    before = {family: space.routes.get(family) or () for family in Family}
    added = {family: tuple(r for r in routes if r.destination.family is family) for family in Family}
    return replace(
        space,
        links=(*(space.links or ()), *links),
        routes=MappingProxyType({family: (*before[family], *added[family]) for family in Family}),
    )
