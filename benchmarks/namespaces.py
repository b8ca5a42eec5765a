"""The files of a made-up host's network namespaces, in the form in which `diag capture` writes them."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from typing import Any

from benchmarks.plan import (
    DOCKER0,
    UPLINK,
    UPLINK6,
    UPLINK_GATEWAY,
    UPLINK_GATEWAY6,
    Bridge,
    Container,
    Endpoint,
    Host,
    Listener,
)
from benchmarks.rules import container_tables, host_tables, host_tables6, nft_json, save_text
from diag.capture.iproute_json import encode

Json = dict[str, Any]
Files = Mapping[str, bytes]

HOST_NAME = "dockerhost"
NAME_SERVER = "192.0.2.53"
_UPLINK_MAC = "52:54:00:12:34:56"
_ROUTER_MAC = "52:54:00:00:00:01"
_FOREVER = 4294967295
_NO_RULES6 = b"# this namespace has no nftables tables of this family, so iptables-nft has no rules\n"
_NO_SETS = b"# no rule uses a set\n"


def host_files(host: Host) -> Files:
    """The files of `host/`, by name."""
    tables, tables6 = host_tables(host), host_tables6(host)
    raw, filters, nat = tables
    interfaces = ["docker0", "eth0", "lo", *(b.interface for b in host.bridges), *(e.veth for _, e in host.endpoints)]
    return {
        "ip-addr.json": encode(list(_host_links(host))),
        "ip-route.json": encode(list(_host_routes(host))),
        "ip6-route.json": encode(list(_host_routes6(host))),
        **_rule_files(),
        "ip-neigh.json": encode(list(_host_neighbours(host))),
        "bridge-link.json": encode([_bridge_port(e) for _, e in host.endpoints]),
        "bridge-fdb.json": encode(list(_host_fdb(host))),
        "iptables-save.txt": save_text(tables),
        "ip6tables-save.txt": save_text(tables6),
        # In the order in which Docker made them.
        "nft-ruleset.json": nft_json((nat, filters, *reversed(tables6), raw)),
        "ipset.txt": _NO_SETS,
        "sysctl.txt": _sysctls(interfaces, forwarding=True, forwarding6=host.spec.ipv6, without_ipv6=()),
        **_socket_files(_host_listeners(host), mix=9949),
        "hosts": f"127.0.0.1 localhost\n127.0.1.1 {HOST_NAME}\n".encode(),
        "resolv.conf": f"nameserver {NAME_SERVER}\n".encode(),
    }


def container_files(container: Container) -> Files:
    """The files of `containers/<id>/`, by name."""
    tables = container_tables(container)
    devices = [endpoint.device for endpoint in container.endpoints]
    resolver = (Listener("tcp", "127.0.0.11", container.dns_tcp), Listener("udp", "127.0.0.11", container.dns_udp))
    return {
        "ip-addr.json": encode([_loopback(), *(_inner_link(endpoint) for endpoint in container.endpoints)]),
        "ip-route.json": encode(list(_container_routes(container))),
        "ip6-route.json": encode(list(_container_routes6(container))),
        **_rule_files(),
        "ip-neigh.json": encode(
            [_stale(ip, e.device, e.bridge.mac) for e in container.endpoints for ip in _gateways(e)]
        ),
        "bridge-link.json": encode([]),
        "bridge-fdb.json": encode(
            [_multicast(m, d) for d in devices for m in ("33:33:00:00:00:01", "01:00:5e:00:00:01")]
        ),
        "iptables-save.txt": save_text(tables),
        "ip6tables-save.txt": _NO_RULES6,
        "nft-ruleset.json": nft_json(tables),
        "ipset.txt": _NO_SETS,
        "sysctl.txt": _sysctls([*devices, "lo"], forwarding=False, without_ipv6=_without_ipv6(container)),
        **_socket_files((*container.listeners, *resolver), mix=container.number),
        "hosts": _hosts(container),
        "resolv.conf": _RESOLV_CONF,
    }


# Links


_QUEUES = {
    "gso_max_size": 65536,
    "gso_max_segs": 65535,
    "tso_max_size": 524280,
    "tso_max_segs": 65535,
    "gro_max_size": 65536,
}
_UP = ["BROADCAST", "MULTICAST", "UP", "LOWER_UP"]
_PORT: Json = {
    "state": "forwarding",
    "priority": 32,
    "cost": 2,
    "hairpin": False,
    "guard": False,
    "root_block": False,
    "fastleave": False,
    "learning": True,
    "flood": True,
    "mcast_flood": True,
    "bcast_flood": True,
    "mcast_to_unicast": False,
    "neigh_suppress": False,
    "vlan_tunnel": False,
    "isolated": False,
    "locked": False,
}


def _host_links(host: Host) -> Iterator[Json]:
    yield _loopback()
    addresses = [_inet(UPLINK, "eth0"), *([_inet6(UPLINK6)] if host.spec.ipv6 else []), _link_local(_UPLINK_MAC)]
    yield _ethernet(2, "eth0", _UPLINK_MAC, {}, addresses, qdisc="fq_codel")
    yield _bridge_link(DOCKER0, carrier=False)
    populated = {endpoint.bridge.name for _, endpoint in host.endpoints}
    yield from (_bridge_link(bridge, carrier=bridge.name in populated) for bridge in host.bridges)
    yield from (_outer_link(container, endpoint) for container, endpoint in host.endpoints)


def _loopback() -> Json:
    addresses = [
        {"family": "inet", "local": "127.0.0.1", "prefixlen": 8, "scope": "host", "label": "lo", **_lifetimes()},
        {"family": "inet6", "local": "::1", "prefixlen": 128, "scope": "host", **_lifetimes()},
    ]
    return {
        "ifindex": 1,
        "ifname": "lo",
        "flags": ["LOOPBACK", "UP", "LOWER_UP"],
        "mtu": 65536,
        "qdisc": "noqueue",
        "operstate": "UNKNOWN",
        "group": "default",
        "txqlen": 1000,
        "link_type": "loopback",
        "address": "00:00:00:00:00:00",
        "broadcast": "00:00:00:00:00:00",
        "promiscuity": 0,
        "allmulti": 0,
        "min_mtu": 0,
        "max_mtu": 0,
        "num_tx_queues": 1,
        "num_rx_queues": 1,
        **_QUEUES,
        "addr_info": addresses,
    }


def _ethernet(
    index: int,
    name: str,
    mac: str,
    info: Json,
    addresses: Sequence[Json],
    *,
    peer: int = 0,
    netnsid: int = -1,
    master: str = "",
    carrier: bool = True,
    qdisc: str = "noqueue",
) -> Json:
    """A link with a MAC; `peer` and `netnsid` are a veth's other end, `master` is the bridge it is a port of."""
    queues = 2 if peer else 1
    return {
        "ifindex": index,
        **({"link_index": peer} if peer else {}),
        "ifname": name,
        "flags": _UP if carrier else ["NO-CARRIER", *_UP[:3]],
        "mtu": 1500,
        "qdisc": qdisc,
        **({"master": master} if master else {}),
        "operstate": "UP" if carrier else "DOWN",
        "group": "default",
        "link_type": "ether",
        "address": mac,
        "broadcast": "ff:ff:ff:ff:ff:ff",
        **({"link_netnsid": netnsid} if netnsid >= 0 else {}),
        "promiscuity": int(bool(master)),
        "allmulti": int(bool(master)),
        "min_mtu": 68,
        "max_mtu": 65535,
        **({"linkinfo": info} if info else {}),
        "num_tx_queues": queues,
        "num_rx_queues": queues,
        **_QUEUES,
        "addr_info": addresses,
    }


def _bridge_link(bridge: Bridge, *, carrier: bool) -> Json:
    data = {
        "forward_delay": 1500,
        "hello_time": 200,
        "max_age": 2000,
        "ageing_time": 30000,
        "stp_state": 0,
        "priority": 32768,
        "vlan_filtering": 0,
        "bridge_id": _bridge_id(bridge),
        "root_id": _bridge_id(bridge),
        "root_port": 0,
        "root_path_cost": 0,
        "topology_change": 0,
        "group_addr": "01:80:c2:00:00:00",
        "mcast_snooping": 1,
        "mcast_querier": 0,
        "nf_call_iptables": 0,
        "nf_call_ip6tables": 0,
        "nf_call_arptables": 0,
    }
    # A bridge has no link-local address before its first port is up.
    addresses = [_inet(_own_interface(bridge), bridge.interface)]
    addresses += [_inet6(own, nodad=True) for own in _own_interface6(bridge)]
    addresses += [_link_local(bridge.mac)] if carrier else []
    info = {"info_kind": "bridge", "info_data": data}
    return _ethernet(bridge.index, bridge.interface, bridge.mac, info, addresses, carrier=carrier)


def _outer_link(container: Container, endpoint: Endpoint) -> Json:
    port = {
        **_PORT,
        "bridge_id": _bridge_id(endpoint.bridge),
        "root_id": _bridge_id(endpoint.bridge),
        "multicast_router": 1,
    }
    return _ethernet(
        endpoint.veth_index,
        endpoint.veth,
        endpoint.veth_mac,
        {"info_kind": "veth", "info_slave_kind": "bridge", "info_slave_data": port},
        [_link_local(endpoint.veth_mac)],
        peer=endpoint.index,
        netnsid=container.number,
        master=endpoint.bridge.interface,
    )


def _inner_link(endpoint: Endpoint) -> Json:
    return _ethernet(
        endpoint.index,
        endpoint.device,
        endpoint.mac,
        {"info_kind": "veth"},
        [
            _inet(_interface_of(endpoint), endpoint.device),
            *(
                part
                for own in _interface6_of(endpoint)
                for part in (_inet6(own, nodad=True), _link_local(endpoint.mac))
            ),
        ],
        peer=endpoint.veth_index,
        netnsid=0,
    )


def _bridge_port(endpoint: Endpoint) -> Json:
    return {
        "ifindex": endpoint.veth_index,
        "link": f"if{endpoint.index}",
        "ifname": endpoint.veth,
        "flags": _UP,
        "mtu": 1500,
        "master": endpoint.bridge.interface,
        **_PORT,
        "mcast_router": 1,
    }


def _bridge_id(bridge: Bridge) -> str:
    return "8000." + ":".join(f"{int(part, 16):x}" for part in bridge.mac.split(":"))


def _own_interface(bridge: Bridge) -> IPv4Interface:
    return IPv4Interface((bridge.gateway, bridge.subnet.prefixlen))


def _interface_of(endpoint: Endpoint) -> IPv4Interface:
    return IPv4Interface((endpoint.address, endpoint.bridge.subnet.prefixlen))


def _own_interface6(bridge: Bridge) -> list[IPv6Interface]:
    """None or one."""
    return [IPv6Interface((bridge.gateway6, bridge.subnet6.prefixlen))] if bridge.gateway6 and bridge.subnet6 else []


def _interface6_of(endpoint: Endpoint) -> list[IPv6Interface]:
    subnet, address = endpoint.bridge.subnet6, endpoint.address6
    return [IPv6Interface((address, subnet.prefixlen))] if address and subnet else []


def _lifetimes() -> Json:
    return {"valid_life_time": _FOREVER, "preferred_life_time": _FOREVER}


def _inet(interface: IPv4Interface, label: str) -> Json:
    return {
        "family": "inet",
        "local": str(interface.ip),
        "prefixlen": interface.network.prefixlen,
        "broadcast": str(interface.network.broadcast_address),
        "scope": "global",
        "label": label,
        **_lifetimes(),
    }


def _inet6(interface: IPv6Interface, *, nodad: bool = False) -> Json:
    return {
        "family": "inet6",
        "local": str(interface.ip),
        "prefixlen": interface.network.prefixlen,
        "scope": "global",
        **({"nodad": True} if nodad else {}),
        **_lifetimes(),
    }


def _link_local(mac: str) -> Json:
    return {"family": "inet6", "local": str(_eui64(mac)), "prefixlen": 64, "scope": "link", **_lifetimes()}


def _eui64(mac: str) -> IPv6Address:
    """The link-local address that the kernel makes of a MAC.

    >>> _eui64("02:42:b5:0d:6e:6c")
    IPv6Address('fe80::42:b5ff:fe0d:6e6c')
    """
    raw = bytes.fromhex(mac.replace(":", ""))
    identifier = bytes((raw[0] ^ 2, *raw[1:3], 0xFF, 0xFE, *raw[3:]))
    return ipaddress.IPv6Address(b"\xfe\x80" + bytes(6) + identifier)


# Routes, policy rules, neighbours


_LOCAL6: Json = {
    "type": "local",
    "dst": "::1",
    "dev": "lo",
    "table": "local",
    "protocol": "kernel",
    "metric": 0,
    "flags": [],
    "pref": "medium",
}


def _host_routes(host: Host) -> Iterator[Json]:
    populated = {endpoint.bridge.name for _, endpoint in host.endpoints}
    devices = [("eth0", UPLINK, True), (DOCKER0.interface, _own_interface(DOCKER0), False)]
    devices += [(b.interface, _own_interface(b), b.name in populated) for b in host.bridges]
    yield {"dst": "default", "gateway": str(UPLINK_GATEWAY), "dev": "eth0", "protocol": "static", "flags": []}
    yield from _connected(sorted(devices, key=lambda device: device[1]))


def _container_routes(container: Container) -> Iterator[Json]:
    first = container.gateway_endpoint
    devices = [(endpoint.device, _interface_of(endpoint), True) for endpoint in container.endpoints]
    yield {"dst": "default", "gateway": str(first.bridge.gateway), "dev": first.device, "flags": []}
    yield from _connected(sorted(devices, key=lambda device: device[1]))


def _connected(devices: Iterable[tuple[str, IPv4Interface, bool]]) -> Iterator[Json]:
    """What the kernel adds for each address: name, address, and whether the link has a carrier."""
    devices = tuple(devices)
    for device, interface, carrier in devices:
        yield _route(str(interface.network), device, interface.ip, "link", carrier=carrier)
    loopback = IPv4Address("127.0.0.1")
    yield _route("127.0.0.0/8", "lo", loopback, "host", kind="local")
    yield _route("127.0.0.1", "lo", loopback, "host", kind="local")
    yield _route("127.255.255.255", "lo", loopback, "link", kind="broadcast")
    for device, interface, carrier in devices:
        yield _route(str(interface.ip), device, interface.ip, "host", kind="local")
        last = str(interface.network.broadcast_address)
        yield _route(last, device, interface.ip, "link", kind="broadcast", carrier=carrier)


def _route(dst: str, device: str, source: IPv4Address, scope: str, *, kind: str = "", carrier: bool = True) -> Json:
    return {
        **({"type": kind} if kind else {}),
        "dst": dst,
        "dev": device,
        **({"table": "local"} if kind else {}),
        "protocol": "kernel",
        "scope": scope,
        "prefsrc": str(source),
        "flags": [] if carrier else ["linkdown"],
    }


_TAIL6 = {"protocol": "kernel", "metric": 256, "flags": [], "pref": "medium"}
_FOUND6 = {"dev": "", "metric": 1024, "flags": [], "pref": "medium"}


def _host_routes6(host: Host) -> Iterator[Json]:
    populated = {endpoint.bridge.name for _, endpoint in host.endpoints}
    macs = {"eth0": _UPLINK_MAC} | {b.interface: b.mac for b in host.bridges if b.name in populated}
    macs |= {endpoint.veth: endpoint.veth_mac for _, endpoint in host.endpoints}
    own = [(interface, bridge.interface) for bridge in host.bridges for interface in _own_interface6(bridge)]
    if host.spec.ipv6:
        own.insert(0, (UPLINK6, "eth0"))
        yield {"dst": "default", "gateway": str(UPLINK_GATEWAY6), **_FOUND6, "dev": "eth0", "protocol": "ra"}
    yield from _connected6(own, macs, anycast=host.spec.ipv6)


def _container_routes6(container: Container) -> Iterator[Json]:
    first = container.gateway_endpoint
    own = [(interface, endpoint.device) for endpoint in container.endpoints for interface in _interface6_of(endpoint)]
    if own:
        yield {"dst": "default", "gateway": str(first.bridge.gateway6), **_FOUND6, "dev": first.device}
    yield from _connected6(own, {endpoint.device: endpoint.mac for endpoint in container.endpoints} if own else {})


def _connected6(
    own: Sequence[tuple[IPv6Interface, str]], macs: Mapping[str, str], *, anycast: bool = False
) -> Iterator[Json]:
    """What the kernel adds for global addresses and for those that it makes of MACs; `anycast` where it forwards."""
    for interface, device in own:
        yield {"dst": str(interface.network), "dev": device, **_TAIL6}
    for device in macs:
        yield {"dst": "fe80::/64", "dev": device, **_TAIL6}
    yield _LOCAL6
    addresses = [(interface.ip, device) for interface, device in own]
    addresses += [(_eui64(mac), device) for device, mac in macs.items()]
    for address, device in sorted(addresses):
        yield {**_LOCAL6, "dst": str(address), "dev": device}
    if anycast:
        for interface, device in own:
            yield {**_LOCAL6, "type": "anycast", "dst": str(interface.network.network_address), "dev": device}
    for device in macs:
        yield {"type": "multicast", "dst": "ff00::/8", "dev": device, "table": "local", **_TAIL6}


def _rule_files() -> Files:
    names = {0: "local", 32766: "main", 32767: "default"}
    rules = [{"priority": priority, "src": "all", "table": table} for priority, table in names.items()]
    return {"ip-rule.json": encode(rules), "ip6-rule.json": encode(rules[:2])}


def _stale(address: IPv4Address | IPv6Address, device: str, mac: str) -> Json:
    return {"dst": str(address), "dev": device, "lladdr": mac, "state": ["STALE"]}


def _gateways(endpoint: Endpoint) -> list[IPv4Address | IPv6Address]:
    return [gateway for gateway in (endpoint.bridge.gateway, endpoint.bridge.gateway6) if gateway is not None]


def _host_neighbours(host: Host) -> Iterator[Json]:
    yield {"dst": str(UPLINK_GATEWAY), "dev": "eth0", "lladdr": _ROUTER_MAC, "state": ["REACHABLE"]}
    if host.spec.ipv6:
        yield {
            "dst": str(UPLINK_GATEWAY6),
            "dev": "eth0",
            "lladdr": _ROUTER_MAC,
            "router": None,
            "state": ["REACHABLE"],
        }
    for _, endpoint in host.endpoints:
        yield _stale(endpoint.address, endpoint.bridge.interface, endpoint.mac)
        if endpoint.address6 is not None:
            yield _stale(endpoint.address6, endpoint.bridge.interface, endpoint.mac)


def _multicast(mac: str, device: str) -> Json:
    return {"mac": mac, "ifname": device, "flags": ["self"], "state": "permanent"}


def _own_mac(mac: str, device: str, bridge: str) -> Json:
    return {"mac": mac, "ifname": device, "flags": [], "master": bridge, "state": "permanent"}


def _host_fdb(host: Host) -> Iterator[Json]:
    groups = ("33:33:00:00:00:01", "01:00:5e:00:00:6a", "33:33:00:00:00:6a", "01:00:5e:00:00:01")
    for bridge in (DOCKER0, *host.bridges):
        yield from (_multicast(mac, bridge.interface) for mac in groups)
        yield _own_mac(bridge.mac, bridge.interface, bridge.interface)
    for _, endpoint in host.endpoints:
        learned = _own_mac(endpoint.mac, endpoint.veth, endpoint.bridge.interface)
        yield {**learned, "state": ""}
        yield _own_mac(endpoint.veth_mac, endpoint.veth, endpoint.bridge.interface)
        solicited = f"33:33:ff:{endpoint.veth_mac[9:]}"
        yield from (_multicast(mac, endpoint.veth) for mac in (groups[0], groups[3], solicited))


# /proc and /etc


def _without_ipv6(container: Container) -> list[str]:
    return [endpoint.device for endpoint in container.endpoints if endpoint.address6 is None]


def _sysctls(
    interfaces: Iterable[str], *, forwarding: bool, forwarding6: bool = False, without_ipv6: Iterable[str]
) -> bytes:
    """The settings of a namespace; `without_ipv6` are the interfaces on which Docker has switched it off."""
    values = {
        "net.ipv4.ip_forward": int(forwarding),
        "net.ipv4.ip_local_port_range": "32768\t60999",
        "net.ipv4.ip_nonlocal_bind": 0,
        "net.ipv4.ip_unprivileged_port_start": 1024 if forwarding else 0,
        "net.ipv4.icmp_echo_ignore_all": 0,
        "net.ipv6.bindv6only": 0,
        "net.ipv6.icmp.echo_ignore_all": 0,
        "net.bridge.bridge-nf-call-iptables": 1,
        "net.bridge.bridge-nf-call-ip6tables": 1,
        "net.bridge.bridge-nf-call-arptables": 1,
        "net.netfilter.nf_conntrack_max": 262144,
        "net.netfilter.nf_conntrack_count": 0,
    }
    names = sorted(("all", "default", *interfaces))
    off = frozenset(without_ipv6)
    for name in names:
        values[f"net.ipv4.conf.{name}.forwarding"] = int(forwarding)
        for key in ("rp_filter", "route_localnet", "arp_ignore", "accept_local", "src_valid_mark", "proxy_arp"):
            values[f"net.ipv4.conf.{name}.{key}"] = 0
    for name in names:
        values[f"net.ipv6.conf.{name}.forwarding"] = int(forwarding6)
        values[f"net.ipv6.conf.{name}.disable_ipv6"] = int(name in off)
    return "".join(f"{name} = {value}\n" for name, value in values.items()).encode()


def _host_listeners(host: Host) -> tuple[Listener, ...]:
    """sshd and the docker-proxy of each published port, in both families."""
    ports = [("tcp", 22), *((port.protocol, port.host_port) for c in host.containers for port in c.ports)]
    return tuple(Listener(protocol, address, port) for protocol, port in ports for address in _ANY)


_ANY = ("0.0.0.0", "::")  # noqa: S104  sockets in a text
_HEADERS = {
    "tcp": "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode",
    "tcp6": "  sl  local_address                         remote_address                        st tx_queue rx_queue"
    " tr tm->when retrnsmt   uid  timeout inode",
    "udp": "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"
    " ref pointer drops",
    "udp6": "  sl  local_address                         remote_address                        st tx_queue rx_queue"
    " tr tm->when retrnsmt   uid  timeout inode ref pointer drops",
}
_WIDTHS = {"tcp": 149, "udp": 127}
"""The kernel fills the lines of IPv4 with blanks."""


def _socket_files(listeners: Iterable[Listener], mix: int) -> Files:
    """`/proc/net/tcp` and so on; `mix` is what the namespace adds to a UDP port's place in the kernel's table."""
    rows: dict[str, list[str]] = {table: [] for table in _HEADERS}
    for number, listener in enumerate(listeners):
        table = listener.protocol + ("6" if ":" in listener.address else "")
        rows[table].append(_socket_row(listener, len(rows[table]), 20_000 + 100 * mix + number, mix))
    return {
        f"proc-net-{table}.txt": "".join(
            f"{line:<{_WIDTHS.get(table, 0)}}\n" for line in (_HEADERS[table], *lines)
        ).encode()
        for table, lines in rows.items()
    }


def _socket_row(listener: Listener, row: int, inode: int, mix: int) -> str:
    address = _proc_address(listener.address)
    places = f"{address}:{listener.port:04X} {'0' * len(address)}:0000"
    pointer = f"{inode * 0x9E3779B1 & 0xFFFFFFFF:016x}"
    if listener.protocol == "tcp":
        queues = "0A 00000000:00000000 00:00000000 00000000     0        0"
        return f"{row:4d}: {places} {queues} {inode} 1 {pointer} 100 0 0 10 0"
    queues = "07 00000000:00000000 00:00000000 00000000     0        0"
    return f"{listener.port + mix & 0x3FFF:5d}: {places} {queues} {inode} 2 {pointer} 0"


def _proc_address(address: str) -> str:
    """32-bit words in the byte order of the machine.

    >>> _proc_address("127.0.0.11")
    '0B00007F'
    """
    raw = ipaddress.ip_address(address).packed
    return b"".join(raw[i : i + 4][::-1] for i in range(0, len(raw), 4)).hex().upper()


_RESOLV_CONF = f"""\
# Generated by Docker Engine.
# This file can be edited; Docker Engine will not make further changes once it
# has been modified.

nameserver 127.0.0.11
options ndots:0

# Based on host file: '/etc/resolv.conf' (internal resolver)
# ExtServers: [host({NAME_SERVER})]
# Overrides: []
# Option ndots from: internal
""".encode()


def _hosts(container: Container) -> bytes:
    lines = [
        "127.0.0.1\tlocalhost",
        "::1\tlocalhost ip6-localhost ip6-loopback",
        "fe00::\tip6-localnet",
        "ff00::\tip6-mcastprefix",
        "ff02::1\tip6-allnodes",
        "ff02::2\tip6-allrouters",
        *(f"{endpoint.address}\t{container.short_id}" for endpoint in container.endpoints),
        *(f"{endpoint.address6}\t{container.short_id}" for endpoint in container.endpoints if endpoint.address6),
    ]
    return "".join(f"{line}\n" for line in lines).encode()
