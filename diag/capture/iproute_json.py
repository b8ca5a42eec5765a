"""rtnetlink messages in the JSON that iproute2 prints, so that one parser reads both.

The shape is that of iproute2 6.1: `ip -j -d addr show`, `ip -j route show table all`, `ip -j rule show`,
`ip -j neigh show`, `bridge -j -d link show`, `bridge -j fdb show`. Two differences are meant: tables and protocols
without a reserved name are numbers (iproute2 looks into `/etc/iproute2` for names), and there is one object a line, so
that a line number is enough to point at a fact.

Messages are `pyroute2.netlink.nlmsg` objects, wrapped in :class:`Attributes`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

Document = list[dict[str, Any]]


class Attributes:
    """A netlink message or a nested attribute of one.

    pyroute2's own `get_attr` searches all attributes for each question, which for a host with a thousand links is most
    of the time of a capture; here they are indexed once, and still decoded only when asked for.
    """

    __slots__ = ("_message", "_slots")

    def __init__(self, message: Any) -> None:
        self._message = message
        self._slots: dict[str, Any] = {}
        for slot in message["attrs"]:
            self._slots.setdefault(slot[0], slot)

    def __getitem__(self, field: str) -> Any:
        """A field of the fixed header."""
        return self._message[field]

    def get(self, name: str) -> Any:
        """The value of an attribute, None without one."""
        slot = self._slots.get(name)
        return None if slot is None else slot[1]

    def nested(self, name: str) -> Attributes | None:
        """An attribute that holds attributes; None when there is none, or it is of a kind that pyroute2 cannot read."""
        value = self.get(name)
        try:
            return None if value is None else Attributes(value)
        except (KeyError, TypeError):
            return None

    def legs(self, name: str) -> list[Attributes]:
        """An attribute that is a list of messages."""
        return [Attributes(value) for value in self.get(name) or ()]

    def unknown(self) -> list[int]:
        """The numbers of the attributes that pyroute2 has no name for."""
        return [slot[1]["header"]["type"] for slot in self._message["attrs"] if slot[0] == "UNKNOWN"]

    def all(self) -> dict[str, Any]:
        """Every attribute."""
        return {name: slot[1] for name, slot in self._slots.items()}


Message = Attributes

INET, INET6 = 2, 10
_FAMILIES = {INET: "inet", INET6: "inet6"}
_FOREVER = 0xFFFFFFFF


def encode(document: Document) -> bytes:
    """One object a line."""
    lines = (json.dumps(item, ensure_ascii=False, separators=(",", ":")) for item in document)
    return ("[" + ",\n".join(lines) + "]\n").encode("utf-8", "surrogateescape")


def link_names(links: Iterable[Message]) -> dict[int, str]:
    """Interface names by index."""
    return {link["index"]: link.get("IFLA_IFNAME") for link in links}


def _name(names: Mapping[int, str], index: int) -> str:
    return names.get(index, f"if{index}")


def _copy(source: Message, keys: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """The attributes that are there, under the names that iproute2 gives them."""
    found = ((key, source.get(attribute)) for key, attribute in keys)
    return {key: value for key, value in found if value is not None}


def _flags(bits: int, names: Iterable[tuple[int, str]]) -> list[str]:
    return [name for bit, name in names if bits & bit]


# ip -d addr show

_UP, _RUNNING, _POINTOPOINT = 0x1, 0x40, 0x10
_LINK_FLAGS = (
    (0x8, "LOOPBACK"),
    (0x2, "BROADCAST"),
    (_POINTOPOINT, "POINTOPOINT"),
    (0x1000, "MULTICAST"),
    (0x80, "NOARP"),
    (0x200, "ALLMULTI"),
    (0x100, "PROMISC"),
    (0x400, "MASTER"),
    (0x800, "SLAVE"),
    (0x4, "DEBUG"),
    (0x8000, "DYNAMIC"),
    (0x4000, "AUTOMEDIA"),
    (0x2000, "PORTSEL"),
    (0x20, "NOTRAILERS"),
    (_UP, "UP"),
    (0x10000, "LOWER_UP"),
    (0x20000, "DORMANT"),
    (0x40000, "ECHO"),
)
_LINK_TYPES = {
    1: "ether",
    32: "infiniband",
    512: "ppp",
    768: "ipip",
    769: "tunnel6",
    772: "loopback",
    776: "sit",
    778: "gre",
    823: "gre6",
    824: "netlink",
    65534: "none",
}
_LINK_TAIL = (
    ("promiscuity", "IFLA_PROMISCUITY"),
    ("allmulti", "IFLA_ALLMULTI"),
    ("min_mtu", "IFLA_MIN_MTU"),
    ("max_mtu", "IFLA_MAX_MTU"),
)
_LINK_QUEUES = (
    ("num_tx_queues", "IFLA_NUM_TX_QUEUES"),
    ("num_rx_queues", "IFLA_NUM_RX_QUEUES"),
    ("gso_max_size", "IFLA_GSO_MAX_SIZE"),
    ("gso_max_segs", "IFLA_GSO_MAX_SEGS"),
    ("tso_max_size", "IFLA_TSO_MAX_SIZE"),
    ("tso_max_segs", "IFLA_TSO_MAX_SEGS"),
    ("gro_max_size", "IFLA_GRO_MAX_SIZE"),
)


def addr_show(links: list[Message], addresses: Iterable[Message]) -> Document:
    """`ip -d addr show`: every link with its addresses."""
    by_index: dict[int, Document] = {}
    for address in addresses:
        by_index.setdefault(address["index"], []).append(_address(address))
    names = link_names(links)
    up = {link["index"] for link in links if link["flags"] & _UP}
    return [{**_link(link, names, up), "addr_info": by_index.get(link["index"], [])} for link in links]


def _link(link: Message, names: Mapping[int, str], up: set[int]) -> dict[str, Any]:
    peer = link.get("IFLA_LINK")
    elsewhere = link.get("IFLA_LINK_NETNSID")
    out: dict[str, Any] = {"ifindex": link["index"]}
    out |= _peer(peer, elsewhere, names)
    out["ifname"] = link.get("IFLA_IFNAME")
    out["flags"] = _link_flags(link["flags"], parent_down=bool(peer) and elsewhere is None and peer not in up)
    out |= _copy(link, (("mtu", "IFLA_MTU"), ("qdisc", "IFLA_QDISC")))
    master = link.get("IFLA_MASTER")
    if master:
        out["master"] = _name(names, master)
    out |= _copy(link, (("operstate", "IFLA_OPERSTATE"),))
    group = link.get("IFLA_GROUP") or 0
    out["group"] = str(group) if group else "default"
    if link.get("IFLA_TXQLEN"):
        out["txqlen"] = link.get("IFLA_TXQLEN")
    out["link_type"] = _LINK_TYPES.get(link["ifi_type"], str(link["ifi_type"]))
    out |= _hardware_addresses(link)
    if elsewhere is not None:
        out["link_netnsid"] = elsewhere
    out |= _copy(link, _LINK_TAIL)
    info = link.nested("IFLA_LINKINFO")
    if info is not None:
        out["linkinfo"] = _link_info(info, names)
    out |= _copy(link, _LINK_QUEUES)
    return out | _copy(link, (("ifalias", "IFLA_IFALIAS"),))


def _peer(peer: int | None, elsewhere: int | None, names: Mapping[int, str]) -> dict[str, Any]:
    if peer is None:
        return {}
    if peer == 0:
        return {"link": None}
    return {"link": _name(names, peer)} if elsewhere is None else {"link_index": peer}


def _link_flags(flags: int, parent_down: bool) -> list[str]:
    no_carrier = ["NO-CARRIER"] if flags & _UP and not flags & _RUNNING else []
    return no_carrier + _flags(flags, _LINK_FLAGS) + (["M-DOWN"] if parent_down else [])


def _hardware_addresses(link: Message) -> dict[str, Any]:
    out: dict[str, Any] = {}
    if link.get("IFLA_ADDRESS"):
        out["address"] = link.get("IFLA_ADDRESS")
    if link.get("IFLA_BROADCAST"):
        if link["flags"] & _POINTOPOINT:
            out["link_pointtopoint"] = True
        out["broadcast"] = link.get("IFLA_BROADCAST")
    return out


def _link_info(info: Message, names: Mapping[int, str]) -> dict[str, Any]:
    kind = info.get("IFLA_INFO_KIND")
    data = info.nested("IFLA_INFO_DATA")
    out = {"info_kind": kind} if kind else {}
    details = _INFO_DATA.get(kind)
    if details is not None and data is not None:
        out["info_data"] = details(data, names)
    slave = info.get("IFLA_INFO_SLAVE_KIND")
    if slave:
        out["info_slave_kind"] = slave
        port = info.nested("IFLA_INFO_SLAVE_DATA")
        if slave == "bridge" and port is not None:
            out["info_slave_data"] = _bridge_slave(port)
    return out


_BRIDGE = (
    ("forward_delay", "IFLA_BR_FORWARD_DELAY"),
    ("hello_time", "IFLA_BR_HELLO_TIME"),
    ("max_age", "IFLA_BR_MAX_AGE"),
    ("ageing_time", "IFLA_BR_AGEING_TIME"),
    ("stp_state", "IFLA_BR_STP_STATE"),
    ("priority", "IFLA_BR_PRIORITY"),
    ("vlan_filtering", "IFLA_BR_VLAN_FILTERING"),
)
_BRIDGE_TAIL = (
    ("root_port", "IFLA_BR_ROOT_PORT"),
    ("root_path_cost", "IFLA_BR_ROOT_PATH_COST"),
    ("topology_change", "IFLA_BR_TOPOLOGY_CHANGE"),
    ("group_addr", "IFLA_BR_GROUP_ADDR"),
    ("mcast_snooping", "IFLA_BR_MCAST_SNOOPING"),
    ("mcast_querier", "IFLA_BR_MCAST_QUERIER"),
    ("nf_call_iptables", "IFLA_BR_NF_CALL_IPTABLES"),
    ("nf_call_ip6tables", "IFLA_BR_NF_CALL_IP6TABLES"),
    ("nf_call_arptables", "IFLA_BR_NF_CALL_ARPTABLES"),
)


def _bridge(data: Message, _names: Mapping[int, str]) -> dict[str, Any]:
    out = _copy(data, _BRIDGE)
    for key, attribute in (("bridge_id", "IFLA_BR_BRIDGE_ID"), ("root_id", "IFLA_BR_ROOT_ID")):
        out |= _bridge_id(key, data.get(attribute))
    return out | _copy(data, _BRIDGE_TAIL)


def _bridge_id(key: str, value: Mapping[str, Any] | None) -> dict[str, str]:
    """`8000.2:42:ac:11:0:2`: the priority in four digits (its two bytes are in network order), the MAC unpadded."""
    if value is None:
        return {}
    priority = value["prio"]
    mac = ":".join(f"{int(part, 16):x}" for part in value["addr"].split(":"))
    return {key: f"{priority & 0xFF:02x}{priority >> 8:02x}.{mac}"}


_PORT_STATES = ("disabled", "listening", "learning", "forwarding", "blocking")
_SWITCHES = (
    ("hairpin", "IFLA_BRPORT_MODE"),
    ("guard", "IFLA_BRPORT_GUARD"),
    ("root_block", "IFLA_BRPORT_PROTECT"),
    ("fastleave", "IFLA_BRPORT_FAST_LEAVE"),
    ("learning", "IFLA_BRPORT_LEARNING"),
    ("flood", "IFLA_BRPORT_UNICAST_FLOOD"),
    ("mcast_flood", "IFLA_BRPORT_MCAST_FLOOD"),
    ("bcast_flood", "IFLA_BRPORT_BCAST_FLOOD"),
    ("mcast_to_unicast", "IFLA_BRPORT_MCAST_TO_UCAST"),
    ("neigh_suppress", "IFLA_BRPORT_NEIGH_SUPPRESS"),
    ("vlan_tunnel", "IFLA_BRPORT_VLAN_TUNNEL"),
    ("isolated", "IFLA_BRPORT_ISOLATED"),
    ("locked", "IFLA_BRPORT_LOCKED"),
)


def _port(port: Message) -> dict[str, Any]:
    out: dict[str, Any] = {}
    state = port.get("IFLA_BRPORT_STATE")
    if state is not None:
        out["state"] = _PORT_STATES[state] if state < len(_PORT_STATES) else state
    out |= _copy(port, (("priority", "IFLA_BRPORT_PRIORITY"), ("cost", "IFLA_BRPORT_COST")))
    return out | {key: bool(value) for key, value in _copy(port, _SWITCHES).items()}


def _bridge_slave(port: Message) -> dict[str, Any]:
    out = _port(port)
    for key, attribute in (("bridge_id", "IFLA_BRPORT_BRIDGE_ID"), ("root_id", "IFLA_BRPORT_ROOT_ID")):
        out |= _bridge_id(key, port.get(attribute))
    return out | _copy(port, (("multicast_router", "IFLA_BRPORT_MULTICAST_ROUTER"),))


def _macvlan(data: Message, _names: Mapping[int, str]) -> dict[str, Any]:
    return _copy(data, (("mode", "IFLA_MACVLAN_MODE"),))


_IPVLAN_MODES = ("l2", "l3", "l3s")
_IPVLAN_FLAGS = ((1, "private"), (2, "vepa"))


def _ipvlan(data: Message, _names: Mapping[int, str]) -> dict[str, Any]:
    mode = data.get("IFLA_IPVLAN_MODE")
    flags = data.get("IFLA_IPVLAN_FLAGS") or 0
    known = isinstance(mode, int) and mode < len(_IPVLAN_MODES)
    out = {} if mode is None else {"mode": _IPVLAN_MODES[mode] if known else mode}
    if isinstance(flags, int):
        out["mode_flag"] = next(iter(_flags(flags, _IPVLAN_FLAGS)), "bridge")
    return out


_VXLAN_SWITCHES = (
    ("learning", "IFLA_VXLAN_LEARNING"),
    ("proxy", "IFLA_VXLAN_PROXY"),
    ("rsc", "IFLA_VXLAN_RSC"),
    ("l2miss", "IFLA_VXLAN_L2MISS"),
    ("l3miss", "IFLA_VXLAN_L3MISS"),
)


def _vxlan(data: Message, names: Mapping[int, str]) -> dict[str, Any]:
    out = _copy(data, (("id", "IFLA_VXLAN_ID"),))
    for suffix in ("", "6"):
        remote = data.get(f"IFLA_VXLAN_GROUP{suffix}")
        if remote:
            group = remote.lower().startswith("ff") if suffix else 224 <= int(remote.partition(".")[0]) < 240
            out[("group" if group else "remote") + suffix] = remote
        if data.get(f"IFLA_VXLAN_LOCAL{suffix}"):
            out["local" + suffix] = data.get(f"IFLA_VXLAN_LOCAL{suffix}")
    if data.get("IFLA_VXLAN_LINK"):
        out["link"] = _name(names, data.get("IFLA_VXLAN_LINK"))
    out |= _copy(data, (("port", "IFLA_VXLAN_PORT"),))
    switches = _copy(data, _VXLAN_SWITCHES)
    out |= {key: bool(value) for key, value in switches.items() if value or key == "learning"}
    return out | _copy(data, (("ttl", "IFLA_VXLAN_TTL"), ("ageing", "IFLA_VXLAN_AGEING")))


_TUN_TYPES = {1: "tun", 2: "tap"}


def _tun(data: Message, _names: Mapping[int, str]) -> dict[str, Any]:
    kind = data.get("IFLA_TUN_TYPE")
    return {"type": _TUN_TYPES.get(kind, str(kind))}


def _vlan(data: Message, _names: Mapping[int, str]) -> dict[str, Any]:
    return _copy(data, (("id", "IFLA_VLAN_ID"),))


_INFO_DATA = {
    "bridge": _bridge,
    "ipvlan": _ipvlan,
    "macvlan": _macvlan,
    "macvtap": _macvlan,
    "tun": _tun,
    "vlan": _vlan,
    "vxlan": _vxlan,
}

_PERMANENT = 0x80
_ADDRESS_FLAGS = (
    (0x02, "nodad"),
    (0x04, "optimistic"),
    (0x08, "dadfailed"),
    (0x10, "home"),
    (0x20, "deprecated"),
    (0x40, "tentative"),
    (0x100, "mngtmpaddr"),
    (0x200, "noprefixroute"),
    (0x400, "autojoin"),
    (0x800, "stable-privacy"),
)


def _address(message: Message) -> dict[str, Any]:
    family = message["family"]
    far = message.get("IFA_ADDRESS")
    local = message.get("IFA_LOCAL") or far
    flags = message.get("IFA_FLAGS")
    flags = message["flags"] if flags is None else flags
    out = {"family": _FAMILIES.get(family, str(family)), "local": local}
    if far and far != local:
        out["address"] = far
    out["prefixlen"] = message["prefixlen"]
    if message.get("IFA_BROADCAST"):
        out["broadcast"] = message.get("IFA_BROADCAST")
    out["scope"] = _scope(message["scope"])
    if flags & 0x01:
        out["temporary" if family == INET6 else "secondary"] = True
    if not flags & _PERMANENT:
        out["dynamic"] = True
    out |= dict.fromkeys(_flags(flags, _ADDRESS_FLAGS), True)
    out |= _copy(message, (("label", "IFA_LABEL"),))
    times = message.get("IFA_CACHEINFO")
    if times is not None:
        out["valid_life_time"] = times["ifa_valid"]
        out["preferred_life_time"] = times["ifa_preferred"]
    return out


# ip route show table all

_TYPES = {
    1: "unicast",
    2: "local",
    3: "broadcast",
    4: "anycast",
    5: "multicast",
    6: "blackhole",
    7: "unreachable",
    8: "prohibit",
    9: "throw",
    10: "nat",
    11: "xresolve",
}
_SCOPES = {0: "global", 200: "site", 253: "link", 254: "host", 255: "nowhere"}
_TABLES = {253: "default", 254: "main", 255: "local"}
_PROTOCOLS = {
    0: "unspec",
    1: "redirect",
    2: "kernel",
    3: "boot",
    4: "static",
    8: "gated",
    9: "ra",
    11: "zebra",
    12: "bird",
    16: "dhcp",
    18: "keepalived",
    42: "babel",
    186: "bgp",
    187: "isis",
    188: "ospf",
    189: "rip",
    192: "eigrp",
}
_BOOT = 3
_MAIN = 254
_CLONED = 0x200
_ROUTE_FLAGS = (
    (0x1, "dead"),
    (0x4, "onlink"),
    (0x2, "pervasive"),
    (0x8, "offload"),
    (0x40, "trap"),
    (0x100, "notify"),
    (0x10, "linkdown"),
    (0x20, "unresolved"),
    (0x4000, "rt_offload"),
    (0x8000, "rt_trap"),
    (0x20000000, "rt_offload_failed"),
)
_PREFERENCES = {0: "medium", 1: "high", 3: "low"}
_USER_HZ = 100
"""Unit of times in netlink messages, per second."""


def _scope(number: int) -> str:
    return _SCOPES.get(number, str(number))


def _table(number: int) -> str:
    return _TABLES.get(number, str(number))


def route_show(routes: Iterable[Message], names: Mapping[int, str]) -> Document:
    """`ip route show table all` of one family; entries of the cache are left out, as iproute2 does."""
    return [_route(route, names) for route in routes if not route["flags"] & _CLONED]


def _route(route: Message, names: Mapping[int, str]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    if route["type"] != 1:
        out["type"] = _TYPES.get(route["type"], str(route["type"]))
    out["dst"] = _prefix(route, route.get("RTA_DST"), route["dst_len"]) or "default"
    source = _prefix(route, route.get("RTA_SRC"), route["src_len"])
    if source:
        out["from"] = source
    if route["tos"]:
        out["tos"] = hex(route["tos"])
    out |= _next_hop(route, names, route.get("RTA_OIF"))
    table = route.get("RTA_TABLE") or route["table"]
    if table != _MAIN:
        out["table"] = _table(table)
    if route["proto"] != _BOOT:
        out["protocol"] = _PROTOCOLS.get(route["proto"], str(route["proto"]))
    if route["scope"]:
        out["scope"] = _scope(route["scope"])
    out |= _copy(route, (("prefsrc", "RTA_PREFSRC"), ("metric", "RTA_PRIORITY")))
    out["flags"] = _flags(route["flags"], _ROUTE_FLAGS)
    cache = route.get("RTA_CACHEINFO")
    if cache is not None and cache["rta_expires"]:
        out["expires"] = cache["rta_expires"] // _USER_HZ
    out |= _metrics(route.nested("RTA_METRICS"))
    if route.get("RTA_PREF") is not None:
        out["pref"] = _PREFERENCES.get(route.get("RTA_PREF"), str(route.get("RTA_PREF")))
    hops = route.legs("RTA_MULTIPATH")
    if hops:
        out["nexthops"] = [_leg(hop, names) for hop in hops]
    return out


def _prefix(message: Message, address: str | None, length: int) -> str:
    """`10.0.0.0/8`, an address without its full length, and nothing for any address."""
    if address is None:
        return f"0/{length}" if length else ""
    full = 32 if message["family"] == INET else 128
    return address if length == full else f"{address}/{length}"


def _next_hop(message: Message, names: Mapping[int, str], device: int | None) -> dict[str, Any]:
    out: dict[str, Any] = {}
    encapsulation = message.get("RTA_ENCAP_TYPE")
    if encapsulation:
        out["encap"] = str(encapsulation)
    if message.get("RTA_GATEWAY"):
        out["gateway"] = message.get("RTA_GATEWAY")
    via = message.get("RTA_VIA")
    if via is not None:
        out["via"] = {"family": _FAMILIES.get(via["family"], str(via["family"])), "host": via["addr"]}
    if device:
        out["dev"] = _name(names, device)
    return out


def _leg(hop: Message, names: Mapping[int, str]) -> dict[str, Any]:
    """One path of a multipath route."""
    leg = _next_hop(hop, names, hop["oif"])
    return {**leg, "weight": hop["hops"] + 1, "flags": _flags(hop["flags"], _ROUTE_FLAGS[:8])}


def _metrics(metrics: Message | None) -> dict[str, Any]:
    if metrics is None:
        return {}
    values = {key[5:].lower(): value for key, value in metrics.all().items() if key.startswith("RTAX_")}
    return {"metrics": [values]} if values else {}


# ip rule show

_TO_TABLE, _GOTO, _NOP = 1, 2, 3
_INVERT, _UNRESOLVED, _IIF_DETACHED, _OIF_DETACHED = 0x2, 0x4, 0x8, 0x10
_UNSET = 0xFFFFFFFF
_IP_PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 47: "gre", 50: "esp", 51: "ah", 58: "ipv6-icmp", 132: "sctp"}
_PORT_MASKS = (28, 29)
"""Attributes that newer kernels add to a port selector, of no effect unless set: FRA_SPORT_MASK, FRA_DPORT_MASK."""


def rule_show(rules: Iterable[Message]) -> Document:
    """`ip rule show` of one family. Selectors that are not known here are listed in `unknown`, by number."""
    return [_rule(rule) for rule in rules]


def _rule(rule: Message) -> dict[str, Any]:
    out: dict[str, Any] = {"priority": rule.get("FRA_PRIORITY") or 0}
    if rule["flags"] & _INVERT:
        out["not"] = None
    source = rule.get("FRA_SRC")
    out |= _selector("src", source, rule["src_len"], rule["family"]) or {"src": "all"}
    out |= _selector("dst", rule.get("FRA_DST"), rule["dst_len"], rule["family"])
    if rule["tos"]:
        out["tos"] = hex(rule["tos"])
    out |= _mark(rule)
    out |= _interfaces(rule)
    out |= _transport(rule)
    table = rule.get("FRA_TABLE") or rule["table"]
    if table:
        out["table"] = _table(table)
    for key, attribute in (
        ("suppress_prefixlen", "FRA_SUPPRESS_PREFIXLEN"),
        ("suppress_ifgroup", "FRA_SUPPRESS_IFGROUP"),
    ):
        value = rule.get(attribute)
        if value is not None and value != _UNSET:
            out[key] = value if key == "suppress_prefixlen" else str(value)
    out |= _action(rule)
    protocol = rule.get("FRA_PROTOCOL")
    if protocol not in (None, 0, 2):
        out["protocol"] = _PROTOCOLS.get(protocol, str(protocol))
    unknown = [number for number in rule.unknown() if number not in _PORT_MASKS]
    return {**out, "unknown": unknown} if unknown else out


def _selector(key: str, address: str | None, length: int, family: int) -> dict[str, Any]:
    if address is None:
        return {key: "0", f"{key}len": length} if length else {}
    full = 32 if family == INET else 128
    return {key: address} if length == full else {key: address, f"{key}len": length}


def _mark(rule: Message) -> dict[str, Any]:
    mark = rule.get("FRA_FWMARK")
    mask = rule.get("FRA_FWMASK")
    if not mark and mask in (None, 0):
        return {}
    out = {"fwmark": hex(mark or 0)}
    return out if mask in (None, _UNSET) else {**out, "fwmask": hex(mask)}


def _interfaces(rule: Message) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, attribute, detached in (
        ("iif", "FRA_IIFNAME", _IIF_DETACHED),
        ("oif", "FRA_OIFNAME", _OIF_DETACHED),
    ):
        if rule.get(attribute):
            out[key] = rule.get(attribute)
            if rule["flags"] & detached:
                out[f"{key}_detached"] = None
    if rule.get("FRA_L3MDEV"):
        out["l3mdev"] = None
    return out


def _transport(rule: Message) -> dict[str, Any]:
    """Selectors by user and by protocol and port; pyroute2 gives ranges as `53:60`."""
    out: dict[str, Any] = {}
    users = rule.get("FRA_UID_RANGE")
    if users:
        first, _, last = users.partition(":")
        out |= {"uid_start": int(first), "uid_end": int(last)}
    protocol = rule.get("FRA_IP_PROTO")
    if protocol:
        out["ipproto"] = _IP_PROTOCOLS.get(protocol, f"ipproto-{protocol}")
    for key, attribute in (("sport", "FRA_SPORT_RANGE"), ("dport", "FRA_DPORT_RANGE")):
        ports = rule.get(attribute)
        if ports:
            first, _, last = ports.partition(":")
            out |= {key: int(first)} if first == last else {f"{key}_start": int(first), f"{key}_end": int(last)}
    tunnel = rule.get("FRA_TUN_ID")
    return {**out, "tun_id": tunnel} if tunnel else out


def _action(rule: Message) -> dict[str, Any]:
    match rule["action"]:
        case 1:
            return {}
        case 2:
            out: dict[str, Any] = {"goto": rule.get("FRA_GOTO")}
            return {**out, "unresolved": None} if rule["flags"] & _UNRESOLVED else out
        case 3:
            return {"nop": None}
        case number:
            return {"action": _TYPES.get(number, str(number))}


# ip neigh show, bridge fdb show

_NO_ARP = 0x40
_NEIGHBOUR_STATES = (
    (0x01, "INCOMPLETE"),
    (0x02, "REACHABLE"),
    (0x04, "STALE"),
    (0x08, "DELAY"),
    (0x10, "PROBE"),
    (0x20, "FAILED"),
    (_NO_ARP, "NOARP"),
    (0x80, "PERMANENT"),
)
_NEIGHBOUR_FLAGS = ((0x80, "router"), (0x08, "proxy"), (0x10, "extern_learn"), (0x20, "offload"))
_FDB_FLAGS = (
    (0x02, "self"),
    (0x80, "router"),
    (0x10, "extern_learn"),
    (0x20, "offload"),
    (0x04, "master"),
    (0x40, "sticky"),
)


def neigh_show(neighbours: Iterable[Message], names: Mapping[int, str]) -> Document:
    """`ip neigh show`: without multicast and the like, which need no resolution."""
    return [
        _neighbour(entry, names)
        for entry in neighbours
        if entry["family"] in _FAMILIES and (entry["state"] & ~_NO_ARP or entry["flags"] & 0x18)
    ]


def _neighbour(entry: Message, names: Mapping[int, str]) -> dict[str, Any]:
    out: dict[str, Any] = {"dst": entry.get("NDA_DST"), "dev": _name(names, entry["ifindex"])}
    if entry.get("NDA_LLADDR"):
        out["lladdr"] = entry.get("NDA_LLADDR")
    out |= dict.fromkeys(_flags(entry["flags"], _NEIGHBOUR_FLAGS))
    return {**out, "state": _flags(entry["state"], _NEIGHBOUR_STATES)}


def bridge_fdb_show(entries: Iterable[Message], names: Mapping[int, str]) -> Document:
    """`bridge fdb show`."""
    return [_fdb_entry(entry, names) for entry in entries]


def _fdb_entry(entry: Message, names: Mapping[int, str]) -> dict[str, Any]:
    out = _copy(entry, (("mac", "NDA_LLADDR"),))
    out["ifname"] = _name(names, entry["ifindex"])
    out |= _copy(entry, (("dst", "NDA_DST"), ("vlan", "NDA_VLAN"), ("port", "NDA_PORT"), ("vni", "NDA_VNI")))
    via = entry.get("NDA_IFINDEX")
    if via:
        out["viaIf"] = _name(names, via)
    out["flags"] = _flags(entry["flags"], _FDB_FLAGS)
    if entry.get("NDA_MASTER"):
        out["master"] = _name(names, entry.get("NDA_MASTER"))
    out["state"] = _fdb_state(entry["state"])
    return out


def _fdb_state(state: int) -> str:
    for bit, name in ((0x80, "permanent"), (_NO_ARP, "static"), (0x04, "stale"), (0x02, "")):
        if state & bit:
            return name
    return f"state={state:#x}"


# bridge -d link show


def bridge_link_show(links: list[Message]) -> Document:
    """`bridge -d link show`: the ports of all bridges."""
    names = link_names(links)
    up = {link["index"] for link in links if link["flags"] & _UP}
    ports = ((link, _bridge_port(link)) for link in links)
    return [_port_of_bridge(link, port, names, up) for link, port in ports if port is not None]


def _bridge_port(link: Message) -> Message | None:
    info = link.nested("IFLA_LINKINFO")
    if info is None or info.get("IFLA_INFO_SLAVE_KIND") != "bridge":
        return None
    return info.nested("IFLA_INFO_SLAVE_DATA")


def _port_of_bridge(link: Message, port: Message, names: Mapping[int, str], up: set[int]) -> dict[str, Any]:
    peer = link.get("IFLA_LINK")
    elsewhere = link.get("IFLA_LINK_NETNSID")
    out: dict[str, Any] = {"ifindex": link["index"]}
    if peer is not None:
        # `bridge` shows a name even for an index of another namespace; there the number alone is the truth.
        out["link"] = (_name(names, peer) if elsewhere is None else f"if{peer}") if peer else None
    out["ifname"] = link.get("IFLA_IFNAME")
    out["flags"] = _link_flags(link["flags"], parent_down=bool(peer) and elsewhere is None and peer not in up)
    out |= _copy(link, (("mtu", "IFLA_MTU"),))
    if link.get("IFLA_MASTER"):
        out["master"] = _name(names, link.get("IFLA_MASTER"))
    return out | _port(port) | _copy(port, (("mcast_router", "IFLA_BRPORT_MULTICAST_ROUTER"),))
