"""What a lab host looks like: namespaces, links, addresses and routes, as `ip -batch` lines that can be kept as JSON.

`DOCKER_HOST` is the layout of every day; `layouts()` draws others: more and fewer bridges, containers on several of
them, routers, macvlan, and the faults that real hosts have.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from hypothesis import strategies as st

from tests.kernel.rules import container_rules

BRIDGES = {"br-a": 1, "br-b": 2, "br-c": 3}
"""Third number of the bridge's subnets, 10.201.N.0/24 and fd00:201:N::/64."""
UPLINK = 9


def v4(subnet: int, host: int) -> str:
    return f"10.201.{subnet}.{host}"


def v6(subnet: int, host: int) -> str:
    """The decimal digits of the IPv4 address, so that rules translate word by word."""
    return f"fd00:201:{subnet}::{host}"


def mac(subnet: int, host: int) -> str:
    """As Docker makes them, of the IPv4 address."""
    return f"02:42:0a:c9:{subnet:02x}:{host:02x}"


@dataclass(frozen=True)
class Space:
    """One namespace."""

    commands: tuple[str, ...] = ()
    """Lines of `ip -batch`; `{p}` is what the lab's namespaces begin with."""
    sysctls: tuple[tuple[str, str], ...] = ()
    rules: str = ""
    """For iptables-restore, inside a container."""
    networks: tuple[tuple[str, str, str], ...] = ()
    """What Docker says: bridge, IPv4 and IPv6 address."""


@dataclass(frozen=True)
class Layout:
    """A host, its containers and a machine beyond its uplink."""

    spaces: tuple[tuple[str, Space], ...]
    """`host` first, `outside` last."""
    bridges: tuple[str, ...]

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> Layout:
        def pairs(found: list[list[str]]) -> Any:
            return tuple(tuple(item) for item in found)

        spaces = tuple(
            (name, Space(tuple(s["commands"]), pairs(s["sysctls"]), s["rules"], pairs(s["networks"])))
            for name, s in body["spaces"]
        )
        return cls(spaces, tuple(body["bridges"]))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class Place:
    """One link of a container."""

    bridge: str
    host: int
    """Last number of its addresses."""


@dataclass
class Draft:
    """A layout on its way."""

    host: list[str]
    containers: dict[str, tuple[list[str], list[tuple[str, str]], str, list[tuple[str, str, str]]]]
    bridges: list[str]
    veths: int = 0

    def attach(self, name: str, places: list[Place]) -> None:
        """Veth pairs into bridges, addresses, and a default route by the first bridge's gateway."""
        inner = ["link set lo up"]
        networks = []
        for position, place in enumerate(places):
            self.veths += 1
            veth, dev, subnet = f"veth{self.veths}", f"eth{position}", BRIDGES[place.bridge]
            own = mac(subnet, place.host)
            self.host.append(f"link add {veth} type veth peer name {dev} address {own} netns {{p}}{name}")
            self.host.append(f"link set {veth} master {place.bridge} up")
            inner += addressed(dev, v4(subnet, place.host), v6(subnet, place.host))
            networks.append((place.bridge, v4(subnet, place.host), v6(subnet, place.host)))
        if places:
            inner += defaults(BRIDGES[places[0].bridge], 1)
        self.containers[name] = (inner, [], "", networks)

    def finish(self) -> Layout:
        outside = ["link set lo up", *addressed("eth0", v4(UPLINK, 2), v6(UPLINK, 2)), *defaults(UPLINK, 1)]
        spaces = [("host", Space(tuple(self.host)))]
        spaces += [
            (name, Space(tuple(commands), tuple(sysctls), rules, tuple(networks)))
            for name, (commands, sysctls, rules, networks) in self.containers.items()
        ]
        return Layout((*spaces, ("outside", Space(tuple(outside)))), tuple(self.bridges))


def addressed(dev: str, ip: str, ip6: str) -> list[str]:
    return [f"addr add {ip}/24 dev {dev}", f"addr add {ip6}/64 dev {dev} nodad", f"link set {dev} up"]


def defaults(subnet: int, host: int) -> list[str]:
    return [f"route add default via {v4(subnet, host)}", f"route add default via {v6(subnet, host)}"]


def start(bridges: list[str]) -> Draft:
    """A host with these bridges and an uplink."""
    host = ["link set lo up"]
    for bridge in bridges:
        host += [f"link add {bridge} address {mac(BRIDGES[bridge], 1)} type bridge"]
        host += addressed(bridge, v4(BRIDGES[bridge], 1), v6(BRIDGES[bridge], 1))
    peer = f"peer name eth0 address {mac(UPLINK, 2)} netns {{p}}outside"
    host += [f"link add up0 address {mac(UPLINK, 1)} type veth {peer}", *addressed("up0", v4(UPLINK, 1), v6(UPLINK, 1))]
    return Draft(host, {}, bridges)


def forwarding(draft: Draft, name: str) -> None:
    draft.containers[name][1].extend([("net.ipv4.ip_forward", "1"), ("net.ipv6.conf.all.forwarding", "1")])


def _docker_host() -> Layout:
    draft = start(["br-a", "br-b"])
    draft.attach("a1", [Place("br-a", 11)])
    draft.attach("a2", [Place("br-a", 12)])
    draft.attach("b1", [Place("br-b", 11)])
    draft.attach("both", [Place("br-a", 13), Place("br-b", 13)])
    draft.attach("router", [Place("br-b", 14), Place("br-a", 14)])
    forwarding(draft, "router")
    return draft.finish()


DOCKER_HOST = _docker_host()

_HOST_FAULTS = [
    "link set {bridge} down",
    "addr del {gateway}/24 dev {bridge}",
    "addr flush dev {bridge}",
    "link set {veth} down",
    "link set {veth} nomaster",
    "link set {veth} type bridge_slave isolated on",
    "link set {veth} type bridge_slave isolated on",
    "link set {veth} type bridge_slave hairpin on",
    "link set {bridge} type bridge nf_call_iptables 1",
    "route add blackhole {container}/32",
    "route add prohibit {container}/32",
    "route add unreachable {container}/32",
    "route add blackhole {container6}/128",
    "route add prohibit {container6}/128",
    "route add unreachable {container6}/128",
    "rule add from {container} lookup 100 pref 100",
    "rule add iif {bridge} to {other}/32 prohibit pref 101",
    "rule add from {container} to 10.201.0.0/16 unreachable pref 102",
    "route add table 100 default via {other}",
    "route add {other}/32 via {container}",
    "neigh add {container} lladdr 02:00:00:00:00:99 nud permanent dev {bridge}",
]
_INNER_FAULTS = [
    "link set eth0 down",
    "addr flush dev eth0",
    "addr del {container}/24 dev eth0",
    "addr add 10.201.1.77/24 dev eth0",
    "route del default",
    "route replace default via {other}",
    "route del default via {gateway6}",
    "route add {other}/32 via {gateway}",
    "route add {other}/32 dev eth0",
    "route add 10.201.0.0/16 dev eth0",
    "route add blackhole {other}/32",
    "route add prohibit {other}/32",
    "route add unreachable {other}/32",
    "route add prohibit {other6}/128",
    "route add unreachable {other6}/128",
    "rule add from {container} lookup 100 pref 100",
    "route add table 100 default via {gateway}",
    "rule add to {other} blackhole pref 99",
    "route add 10.201.3.0/24 via {other}",
]
_INNER_SYSCTLS = [
    ("net.ipv4.conf.all.rp_filter", "1"),
    ("net.ipv4.conf.all.rp_filter", "2"),
    ("net.ipv4.conf.all.arp_ignore", "1"),
    ("net.ipv4.conf.all.accept_local", "1"),
    ("net.ipv4.conf.all.proxy_arp", "1"),
    ("net.ipv4.ip_forward", "1"),
    ("net.ipv6.conf.all.forwarding", "1"),
]


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    """Hosts as they come, with a few faults."""
    bridges = list(BRIDGES)[: draw(st.integers(2, 3))]
    draft = start(bridges)
    chosen: list[tuple[str, Place]] = []
    for number in range(draw(st.integers(2, 5))):
        places = draw(st.lists(st.sampled_from(bridges), min_size=1, max_size=2, unique=True))
        found = [Place(bridge, 11 + number) for bridge in places]
        draft.attach(f"c{number}", found)
        chosen.append((f"c{number}", found[0]))
        if draw(st.integers(0, 3)) == 0:
            forwarding(draft, f"c{number}")
        if draw(st.integers(0, 2)) == 0:
            commands, sysctls, _, networks = draft.containers[f"c{number}"]
            draft.containers[f"c{number}"] = (commands, sysctls, draw(container_rules()), networks)
    if draw(st.booleans()):
        _macvlans(draw, draft)
    _faults(draw, draft, chosen)
    return draft.finish()


def _macvlans(draw: st.DrawFn, draft: Draft) -> None:
    """Containers on the uplink: one mode each, and a parent that may have only one in passthru."""
    modes = draw(st.lists(st.sampled_from(["bridge", "bridge", "private", "vepa"]), min_size=1, max_size=3))
    if draw(st.integers(0, 3)) == 0:
        modes = ["passthru"]
    for number, mode in enumerate(modes):
        name = f"m{number}"
        draft.host.append(f"link add link up0 name mv{number} type macvlan mode {mode}")
        draft.host.append(f"link set mv{number} name eth0 netns {{p}}{name}")
        inner = ["link set lo up", *addressed("eth0", v4(UPLINK, 21 + number), v6(UPLINK, 21 + number))]
        draft.containers[name] = ([*inner, *defaults(UPLINK, 1)], [], "", [])


def _faults(draw: st.DrawFn, draft: Draft, chosen: list[tuple[str, Place]]) -> None:
    for _ in range(draw(st.integers(0, 3))):
        name, place = draw(st.sampled_from(chosen))
        _, far = draw(st.sampled_from(chosen))
        words = {
            "bridge": place.bridge,
            "gateway": v4(BRIDGES[place.bridge], 1),
            "gateway6": v6(BRIDGES[place.bridge], 1),
            "veth": f"veth{draw(st.integers(1, draft.veths))}",
            "container": v4(BRIDGES[place.bridge], place.host),
            "container6": v6(BRIDGES[place.bridge], place.host),
            "other": v4(BRIDGES[far.bridge], far.host),
            "other6": v6(BRIDGES[far.bridge], far.host),
        }
        commands, sysctls, _, _ = draft.containers[name]
        match draw(st.integers(0, 4)):
            case 0 | 1:
                draft.host.append(draw(st.sampled_from(_HOST_FAULTS)).format(**words, p="{p}"))
            case 2 | 3:
                commands.append(draw(st.sampled_from(_INNER_FAULTS)).format(**words))
            case _:
                sysctls.append(draw(st.sampled_from(_INNER_SYSCTLS)))
