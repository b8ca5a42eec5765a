"""A network namespace as the kernel shows it: links, addresses, routes, rules, neighbours, sysctls, sockets.

The host is one namespace among many; containers and Docker's own namespaces are of the same type.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from msgspec import Struct, field

from diag.model.address import Family, Ip, Prefix
from diag.model.enums import Word
from diag.model.netfilter import Ruleset
from diag.model.provenance import Evidence


class LinkKind(Word):
    """`linkinfo.info_kind` of `ip -d link`, as far as the model knows it."""

    LOOPBACK = "loopback"
    DEVICE = "device"
    """A NIC, or a link whose kind the capture does not give."""
    BRIDGE = "bridge"
    VETH = "veth"
    MACVLAN = "macvlan"
    IPVLAN = "ipvlan"
    VXLAN = "vxlan"
    DUMMY = "dummy"
    TUN = "tun"
    OTHER = "other"


class Address(Struct, frozen=True):
    """An address on a link."""

    ip: Ip
    prefix: Prefix
    """The connected network; /32 or /128 for a peer address."""
    scope: str = "global"
    secondary: bool = False
    tentative: bool = False
    """`dadfailed` of IPv6: the kernel does not answer for it. Plain `tentative` passes within a second or two."""


class BridgePort(Struct, frozen=True):
    """What `bridge -d link` says of a port; None where the capture does not say."""

    state: str | None = None
    """`forwarding`, `disabled`, `blocking`, `listening`, `learning`."""
    hairpin: bool | None = None
    isolated: bool | None = None


class Link(Struct, frozen=True):
    """An interface."""

    name: str
    index: int
    """ifindex; 0 when the capture does not show it (`ifconfig`)."""
    kind: LinkKind
    up: bool
    """Administratively up (IFF_UP)."""
    carrier: bool
    """IFF_LOWER_UP: the other end is there and up."""
    mac: str = ""
    mtu: int = 0
    master: str = ""
    """Name of the bridge it is a port of."""
    peer_index: int = 0
    """`link_index`: ifindex of a veth's other end, or of the parent of a macvlan, in the namespace `peer_netnsid`."""
    peer_name: str = ""
    """Name of the other end where both are in one namespace and the capture gives the name only."""
    peer_netnsid: int | None = None
    """None: the other end is in the same namespace."""
    addresses: tuple[Address, ...] = ()
    port: BridgePort | None = None
    mode: str = ""
    """macvlan: `bridge`, `private`, `vepa`, `passthru`; ipvlan: `l2`, `l3`, `l3s`."""
    mode_flag: str = ""
    """ipvlan: `bridge`, `private` or `vepa`."""
    vxlan_id: int | None = None
    bridge_id: str = ""
    stp: bool = False
    nf_call_iptables: bool = False
    """The bridge's own switch; ORed with the sysctl (net/bridge/br_netfilter_hooks.c)."""
    nf_call_ip6tables: bool = False
    vlan_filtering: bool = False
    evidence: Evidence | None = None


class RouteType(Word):
    """Type of a FIB entry, `ip-route(8)`."""

    UNICAST = "unicast"
    LOCAL = "local"
    BROADCAST = "broadcast"
    ANYCAST = "anycast"
    MULTICAST = "multicast"
    BLACKHOLE = "blackhole"
    UNREACHABLE = "unreachable"
    PROHIBIT = "prohibit"
    THROW = "throw"
    NAT = "nat"


class Nexthop(Struct, frozen=True):
    """One way out of a route."""

    dev: str
    gateway: Ip | None = None
    dead: bool = False
    onlink: bool = False


class Route(Struct, frozen=True):
    """One FIB entry."""

    destination: Prefix
    type: RouteType
    table: str
    """`main`, `local`, `default` or a number as text."""
    nexthops: tuple[Nexthop, ...] = ()
    prefsrc: Ip | None = None
    metric: int = 0
    scope: str = "global"
    protocol: str = ""
    evidence: Evidence | None = None


LOST = "lost"
"""The action of a rule that stands for routes and rules which could not be read: what it decides is not known."""


class PolicyRule(Struct, frozen=True):
    """One line of `ip rule`; None in a selector means any."""

    priority: int
    action: str
    """`lookup`, `blackhole`, `unreachable`, `prohibit`, `goto`, `nop`, :data:`LOST` or a text the model does not know."""
    table: str = ""
    source: Prefix | None = None
    destination: Prefix | None = None
    iif: str = ""
    oif: str = ""
    fwmark: int | None = None
    fwmask: int = 0xFFFFFFFF
    inverted: bool = False
    """`not`: the selector as a whole is negated."""
    suppress_prefixlength: int | None = None
    unmodelled: str = ""
    """Selectors the model does not know (`ipproto`, `uidrange`…), as text."""
    goto: int | None = None
    evidence: Evidence | None = None


class Neighbour(Struct, frozen=True):
    """A line of `ip neigh` or a static FDB-like fact."""

    ip: Ip
    dev: str
    mac: str
    state: str
    """`PERMANENT`, `REACHABLE`, `STALE`, `FAILED`…"""


class FdbEntry(Struct, frozen=True):
    """Where a VXLAN link sends frames for a MAC address, `bridge fdb show`."""

    mac: str
    dev: str
    dst: Ip
    """The other host's address."""
    evidence: Evidence | None = None


class Socket(Struct, frozen=True):
    """A listening TCP socket or a bound UDP socket."""

    protocol: str
    """`tcp` or `udp`."""
    ip: Ip
    """All zeros: any address."""
    port: int
    evidence: Evidence | None = None


class Netns(Struct, frozen=True):
    """One network namespace. A part that is None was not captured."""

    id: str
    """`host`, the first 12 characters of the container's id, or `netns/<name>`."""
    links: tuple[Link, ...] | None = None
    routes: Mapping[Family, tuple[Route, ...] | None] = field(default_factory=lambda: MappingProxyType({}))
    rules: Mapping[Family, tuple[PolicyRule, ...] | None] = field(default_factory=lambda: MappingProxyType({}))
    neighbours: tuple[Neighbour, ...] = ()
    sysctl: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Full names with dots, e.g. `net.ipv4.conf.all.rp_filter`; an interface name keeps its own dots as `/`."""
    sysctl_evidence: Mapping[str, Evidence] = field(default_factory=lambda: MappingProxyType({}))
    ruleset: Ruleset = field(default_factory=Ruleset)
    sockets: tuple[Socket, ...] | None = None
    hosts: tuple[HostsEntry, ...] | None = None
    resolv: ResolvConf | None = None
    fdb: tuple[FdbEntry, ...] = ()

    @property
    def unseen(self) -> bool:
        """Neither links nor routes were captured: what it does with a packet is unknown, whichever it is."""
        return self.links is None and not any(self.routes.values())


class HostsEntry(Struct, frozen=True):
    """A line of `/etc/hosts`, `hosts(5)`."""

    ip: Ip
    names: tuple[str, ...]
    evidence: Evidence | None = None


class ResolvConf(Struct, frozen=True):
    """`resolv.conf(5)`."""

    nameservers: tuple[Ip, ...] = ()
    search: tuple[str, ...] = ()
    ndots: int = 1
    upstream: tuple[str, ...] = ()
    """Docker's comment `# ExtServers: […]`: where the embedded DNS forwards to."""
    evidence: Evidence | None = None
    upstream_here: tuple[str, ...] = ()
    """Those of `upstream` that it asks from the container's namespace: the others, `host(…)`, from the host's."""
