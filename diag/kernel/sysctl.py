"""Effective values of the sysctls that decide forwarding, `Documentation/networking/ip-sysctl.rst`."""

from __future__ import annotations

from collections.abc import Collection

from msgspec import Struct

from diag.model.address import Family
from diag.model.netns import Netns


def _number(netns: Netns, name: str) -> int | None:
    value = netns.sysctl.get(name, "").split()
    return int(value[0]) if value and value[0].lstrip("-").isdigit() else None


def _per_interface(netns: Netns, key: str, dev: str) -> int | None:
    return _number(netns, f"net.ipv4.conf.{dev}.{key}")


def _strongest(netns: Netns, key: str, dev: str) -> int | None:
    """max(conf.all, conf.dev), IN_DEV_MAXCONF; None when neither was captured."""
    values = [v for v in (_number(netns, f"net.ipv4.conf.all.{key}"), _per_interface(netns, key, dev)) if v is not None]
    return max(values) if values else None


def forwarding(netns: Netns, family: Family, iif: str) -> bool | None:
    """Whether a packet that came in by `iif` may be forwarded; None: not captured.

    IPv4 asks the input interface, IPv6 the namespace (net/ipv6/ip6_output.c, ip6_forward).
    """
    if family is Family.IPV6:
        value = _number(netns, "net.ipv6.conf.all.forwarding")
    else:
        value = _per_interface(netns, "forwarding", iif)
        for name in ("net.ipv4.ip_forward", "net.ipv4.conf.all.forwarding"):
            if value is None:
                value = _number(netns, name)
    return None if value is None else value != 0


def rp_filter(netns: Netns, iif: str) -> int | None:
    """0 off, 1 strict, 2 loose."""
    return _strongest(netns, "rp_filter", iif)


def accept_local(netns: Netns, iif: str) -> bool:
    """Packets with one of the namespace's own addresses as source are accepted; off unless captured as on."""
    return bool(_strongest(netns, "accept_local", iif))


def src_valid_mark(netns: Netns, iif: str) -> bool:
    """The packet's mark counts when its way back is looked up; off unless captured as on."""
    return bool(_strongest(netns, "src_valid_mark", iif))


def route_localnet(netns: Netns, iif: str) -> bool:
    """127.0.0.0/8 is routed like any other network; off unless captured as on."""
    return bool(_strongest(netns, "route_localnet", iif))


def arp_ignore(netns: Netns, iif: str) -> int:
    """0: answer ARP for any local address; 1 and 2: only for those of the interface; 8: never."""
    return _strongest(netns, "arp_ignore", iif) or 0


def proxy_arp(netns: Netns, iif: str) -> bool:
    """ARP is answered for addresses that are routed elsewhere (IN_DEV_PROXY_ARP); off unless captured as on."""
    return bool(_strongest(netns, "proxy_arp", iif))


def proxy_ndp(netns: Netns, iif: str) -> bool:
    """Neighbour solicitations are answered for the addresses of `ip neigh show proxy`, which is not captured, where the
    interface forwards (ndisc_recv_ns()); off unless captured as on."""
    values = [_number(netns, f"net.ipv6.conf.{dev}.proxy_ndp") for dev in ("all", iif)]
    forwards = _number(netns, f"net.ipv6.conf.{iif}.forwarding")
    return any(values) and forwards != 0


_PROXIES = {Family.IPV4: ".proxy_arp", Family.IPV6: ".proxy_ndp"}


def neighbour_proxies(namespaces: Collection[Netns], family: Family) -> frozenset[str]:
    """Those that may answer for others' addresses on any of their interfaces, by their ids.

    Equal sysctls are one object, which is looked through once.
    """
    known: dict[int, bool] = {}
    for netns in namespaces:
        if id(netns.sysctl) not in known:
            known[id(netns.sysctl)] = proxying_links(netns, family) != frozenset()
    return frozenset(netns.id for netns in namespaces if known[id(netns.sysctl)])


def proxying_links(netns: Netns, family: Family) -> frozenset[str] | None:
    """The names for which a namespace may answer for others' addresses; None: on every interface."""
    switch = _PROXIES[family]
    on = {key for key in netns.sysctl if key.endswith(switch) and netns.sysctl[key].strip() not in ("", "0")}
    names = {key.removesuffix(switch).partition(".conf.")[2] for key in on}
    return None if "all" in names else frozenset(names - {"default"})


class Switches(Struct, frozen=True):
    """What the sysctls of a namespace say of one of its interfaces, each as its function above gives it."""

    rp_filter: int | None
    accept_local: bool
    src_valid_mark: bool
    route_localnet: bool
    arp_ignore: int
    proxy_arp: bool
    proxy_ndp: bool
    forwards_ipv4: bool | None
    forwards_ipv6: bool | None

    @classmethod
    def of(cls, netns: Netns, dev: str) -> Switches:
        return cls(
            rp_filter(netns, dev),
            accept_local(netns, dev),
            src_valid_mark(netns, dev),
            route_localnet(netns, dev),
            arp_ignore(netns, dev),
            proxy_arp(netns, dev),
            proxy_ndp(netns, dev),
            forwarding(netns, Family.IPV4, dev),
            forwarding(netns, Family.IPV6, dev),
        )

    def forwards(self, family: Family) -> bool | None:
        return self.forwards_ipv4 if family is Family.IPV4 else self.forwards_ipv6


def bridge_nf_call(netns: Netns, family: Family) -> bool | None:
    """Whether bridged packets meet iptables; None: not captured.

    The key is absent on a host without br_netfilter: where the capture shows per-interface keys, so that it is a full
    one, absence means off.
    """
    name = "net.bridge.bridge-nf-call-" + ("iptables" if family is Family.IPV4 else "ip6tables")
    value = _number(netns, name)
    if value is not None:
        return value != 0
    full = any(key.startswith("net.ipv4.conf.") and ".conf.all." not in key for key in netns.sysctl)
    return False if full else None


def local_port_range(netns: Netns) -> tuple[int, int]:
    """Ports that the kernel gives to a client; 32768-60999 unless captured otherwise."""
    words = netns.sysctl.get("net.ipv4.ip_local_port_range", "").split()
    if len(words) == 2 and all(w.isdigit() for w in words):
        return int(words[0]), int(words[1])
    return 32768, 60999
