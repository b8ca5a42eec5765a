"""The expressions and statements of an nft rule, libnftables-json(5), `nft(8)`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diag.model.address import Ip, Prefix
from diag.model.message import say
from diag.model.netfilter import (
    Accept,
    AddrType,
    AnyBit,
    CopyMark,
    CtStatus,
    DataMap,
    Drop,
    FibOif,
    Field,
    Goto,
    InSet,
    Jump,
    MapMark,
    Masked,
    Match,
    Named,
    NamedSet,
    Nat,
    NatKind,
    NoEffect,
    Notrack,
    Opaque,
    OpaqueStatement,
    Queue,
    Ranges,
    Reject,
    Return,
    SetElement,
    SetHopLimit,
    SetMark,
    Statement,
    TableFamily,
    VerdictMap,
    Within,
)
from diag.model.provenance import Evidence
from diag.parse.iptables_rule import SAFE_TTL
from diag.parse.protocols import ICMP_NAMES, ICMPV6_NAMES, PROTOCOLS, SERVICES, mac_number


class NftSyntaxError(ValueError):
    """An expression that the reader does not know; the message names it."""


_META: Mapping[str, tuple[Field, str]] = {
    "iifname": (Field.IIFNAME, "ifname"),
    "oifname": (Field.OIFNAME, "ifname"),
    "iif": (Field.IIFNAME, "ifname"),
    "oif": (Field.OIFNAME, "ifname"),
    "mark": (Field.MARK, "mark"),
    "l4proto": (Field.PROTOCOL, "inet_proto"),
    "nfproto": (Field.NFPROTO, "nf_proto"),
    "pkttype": (Field.PKTTYPE, "pkt_type"),
    "protocol": (Field.ETHER_TYPE, "ether_type"),
    "ibrname": (Field.IBRNAME, "ifname"),
    "obrname": (Field.OBRNAME, "ifname"),
}

_PAYLOAD: Mapping[tuple[str, str], tuple[Field, str]] = {
    ("ip", "saddr"): (Field.SADDR, "ipv4_addr"),
    ("ip", "daddr"): (Field.DADDR, "ipv4_addr"),
    ("ip", "protocol"): (Field.PROTOCOL, "inet_proto"),
    ("ip6", "saddr"): (Field.SADDR, "ipv6_addr"),
    ("ip6", "daddr"): (Field.DADDR, "ipv6_addr"),
    ("ip6", "nexthdr"): (Field.PROTOCOL, "inet_proto"),
    ("th", "sport"): (Field.SPORT, "inet_service"),
    ("th", "dport"): (Field.DPORT, "inet_service"),
    **{(p, "sport"): (Field.SPORT, "inet_service") for p in ("tcp", "udp", "sctp", "dccp", "udplite")},
    **{(p, "dport"): (Field.DPORT, "inet_service") for p in ("tcp", "udp", "sctp", "dccp", "udplite")},
    ("tcp", "flags"): (Field.TCP_FLAGS, "tcp_flag"),
    ("icmp", "type"): (Field.ICMP_TYPE, "icmp_type"),
    ("icmp", "code"): (Field.ICMP_CODE, "icmp_code"),
    ("icmpv6", "type"): (Field.ICMPV6_TYPE, "icmpv6_type"),
    ("icmpv6", "code"): (Field.ICMPV6_CODE, "icmpv6_code"),
    ("ether", "saddr"): (Field.ETHER_SADDR, "ether_addr"),
    ("ether", "daddr"): (Field.ETHER_DADDR, "ether_addr"),
    ("ether", "type"): (Field.ETHER_TYPE, "ether_type"),
    ("arp", "operation"): (Field.ARP_OPERATION, "arp_op"),
    ("arp", "saddr ip"): (Field.ARP_SADDR_IP, "ipv4_addr"),
    ("arp", "daddr ip"): (Field.ARP_DADDR_IP, "ipv4_addr"),
    ("arp", "saddr ether"): (Field.ARP_SADDR_ETHER, "ether_addr"),
    ("arp", "daddr ether"): (Field.ARP_DADDR_ETHER, "ether_addr"),
}

_CT: Mapping[str, tuple[Field, str]] = {
    "state": (Field.CT_STATE, "ct_state"),
    "status": (Field.CT_STATUS, "ct_status"),
    "mark": (Field.CT_MARK, "mark"),
    "direction": (Field.CT_DIRECTION, "ct_dir"),
    "protocol": (Field.CT_PROTOCOL, "inet_proto"),
}

_CT_TUPLE: Mapping[tuple[str, str], tuple[Field, str]] = {
    ("original", "saddr"): (Field.CT_ORIG_SADDR, "ipv4_addr"),
    ("original", "daddr"): (Field.CT_ORIG_DADDR, "ipv4_addr"),
    ("original", "ip saddr"): (Field.CT_ORIG_SADDR, "ipv4_addr"),
    ("original", "ip daddr"): (Field.CT_ORIG_DADDR, "ipv4_addr"),
    ("original", "ip6 saddr"): (Field.CT_ORIG_SADDR, "ipv6_addr"),
    ("original", "ip6 daddr"): (Field.CT_ORIG_DADDR, "ipv6_addr"),
    ("original", "proto-src"): (Field.CT_ORIG_SPORT, "inet_service"),
    ("original", "proto-dst"): (Field.CT_ORIG_DPORT, "inet_service"),
    ("original", "protocol"): (Field.CT_PROTOCOL, "inet_proto"),
    ("reply", "protocol"): (Field.CT_PROTOCOL, "inet_proto"),
    ("reply", "saddr"): (Field.CT_REPL_SADDR, "ipv4_addr"),
    ("reply", "daddr"): (Field.CT_REPL_DADDR, "ipv4_addr"),
    ("reply", "ip saddr"): (Field.CT_REPL_SADDR, "ipv4_addr"),
    ("reply", "ip daddr"): (Field.CT_REPL_DADDR, "ipv4_addr"),
    ("reply", "ip6 saddr"): (Field.CT_REPL_SADDR, "ipv6_addr"),
    ("reply", "ip6 daddr"): (Field.CT_REPL_DADDR, "ipv6_addr"),
    ("reply", "proto-src"): (Field.CT_REPL_SPORT, "inet_service"),
    ("reply", "proto-dst"): (Field.CT_REPL_DPORT, "inet_service"),
}

_WORDS: Mapping[str, Mapping[str, int]] = {
    "ct_state": {"invalid": 1, "established": 2, "related": 4, "new": 8, "untracked": 64},
    "ct_status": {s.name.lower().replace("_", "-"): int(s) for s in CtStatus},
    "ct_dir": {"original": 0, "reply": 1},
    "fib_addrtype": {t.name.lower(): int(t) for t in AddrType},
    "nf_proto": {"ipv4": 2, "ipv6": 10},
    "pkt_type": {"host": 0, "unicast": 0, "broadcast": 1, "multicast": 2, "other": 3},
    "tcp_flag": {"fin": 1, "syn": 2, "rst": 4, "psh": 8, "ack": 16, "urg": 32, "ecn": 64, "cwr": 128},
    "ether_type": {"ip": 0x0800, "arp": 0x0806, "ip6": 0x86DD, "8021q": 0x8100, "vlan": 0x8100, "8021ad": 0x88A8},
    "arp_op": {"request": 1, "reply": 2, "rrequest": 3, "rreply": 4, "inrequest": 8, "inreply": 9, "nak": 10},
    "inet_proto": PROTOCOLS,
    "inet_service": SERVICES,
    "icmp_type": {
        **{name: kind for name, (kind, code) in ICMP_NAMES.items() if code is None},
        "info-request": 15,
        "info-reply": 16,
    },
    "icmpv6_type": {
        **{name: kind for name, (kind, code) in ICMPV6_NAMES.items() if code is None},
        "nd-router-solicit": 133,
        "nd-router-advert": 134,
        "nd-neighbor-solicit": 135,
        "nd-neighbor-advert": 136,
        "nd-redirect": 137,
        "mld-listener-query": 130,
        "mld-listener-report": 131,
        "mld-listener-done": 132,
        "mld-listener-reduction": 132,
        "router-renumbering": 138,
        "ind-neighbor-solicit": 141,
        "ind-neighbor-advert": 142,
        "mld2-listener-report": 143,
    },
    "icmp_code": {
        "net-unreachable": 0,
        "host-unreachable": 1,
        "prot-unreachable": 2,
        "port-unreachable": 3,
        "frag-needed": 4,
        "net-prohibited": 9,
        "host-prohibited": 10,
        "admin-prohibited": 13,
    },
    "icmpv6_code": {
        "no-route": 0,
        "admin-prohibited": 1,
        "addr-unreachable": 3,
        "port-unreachable": 4,
        "policy-fail": 5,
        "reject-route": 6,
    },
}

_HARMLESS_FIELDS = frozenset(
    {("ip", "dscp"), ("ip", "ecn"), ("ip6", "dscp"), ("ip6", "ecn"), ("ip6", "flowlabel"), ("tcp", "window")}
)

META_KEYS = frozenset({*_META, "priority", "nftrace"})
PAYLOAD_PROTOCOLS = frozenset({protocol for protocol, _ in _PAYLOAD} | {"vlan"})
CT_KEYS = frozenset(_CT)
_LINK_LAYER = frozenset({TableFamily.BRIDGE, TableFamily.NETDEV, TableFamily.ARP})
_ETHER_TYPES = {"ip": 0x0800, "arp": 0x0806, "ip6": 0x86DD, "vlan": 0x8100, "icmp": 0x0800, "icmpv6": 0x86DD}
"""The protocol of the frame that a header implies where frames of every protocol pass."""
_BIT_TYPES = frozenset({"ct_state", "ct_status", "tcp_flag"})
_TRANSPORT = {"tcp": 6, "udp": 17, "sctp": 132, "dccp": 33, "udplite": 136, "icmp": 1, "icmpv6": 58}


def _value(raw: Any, kind: str) -> int:
    """One constant as an integer."""
    if isinstance(raw, bool):
        return int(raw)
    if isinstance(raw, int):
        return raw
    if isinstance(raw, str):
        words = _WORDS.get(kind, {})
        if raw in words:
            return words[raw]
        if kind in ("ipv4_addr", "ipv6_addr"):
            return Ip.parse(raw).value
        if kind == "ether_addr":
            return mac_number(raw)
        return int(raw, 0)
    if isinstance(raw, list):
        return _or(raw, kind)
    if isinstance(raw, dict) and "|" in raw:
        return _or(raw["|"], kind)
    raise NftSyntaxError(say("constant {raw}", raw=repr(raw)))


def _or(values: list[Any], kind: str) -> int:
    total = 0
    for value in values:
        total |= _value(value, kind)
    return total


def _key(raw: Any, kind: str) -> tuple[int, int] | str:
    """One value, prefix or range of a set or of the right side of a match."""
    if isinstance(raw, dict) and "elem" in raw:
        raw = raw["elem"]["val"]
    if kind == "ifname":
        if not isinstance(raw, str):
            raise NftSyntaxError(say("interface name {raw}", raw=repr(raw)))
        return raw
    if isinstance(raw, dict) and "prefix" in raw:
        prefix = Prefix.parse(f"{raw['prefix']['addr']}/{raw['prefix']['len']}")
        return prefix.first, prefix.last
    if isinstance(raw, dict) and "range" in raw:
        low, high = raw["range"]
        return _value(low, kind), _value(high, kind)
    if isinstance(raw, str) and raw == "*":
        return 0, (1 << 128) - 1
    number = _value(raw, kind)
    return number, number


def element_of(raw: Any, kinds: tuple[str, ...], evidence: Evidence, target: str = "") -> SetElement:
    """An element of a set or map; `target` is the type of what it maps to. Raises NftSyntaxError or ValueError."""
    verdict: Statement | None = None
    data: tuple[tuple[int, int], ...] = ()
    if target:
        raw, found = raw
        if target == "verdict":
            verdict = _verdict(found)
        else:
            data = _data(found, tuple(target.split(" . ")))
    if isinstance(raw, dict) and "elem" in raw:
        raw = raw["elem"]["val"]
    parts = raw["concat"] if isinstance(raw, dict) and "concat" in raw else [raw]
    if len(kinds) == 1 and " . " in kinds[0]:
        kinds = tuple(kinds[0].split(" . "))
    if len(parts) != len(kinds):
        raise NftSyntaxError(say("an element with {n} parts for {types}", n=len(parts), types=len(kinds)))
    return SetElement(tuple(_key(p, k) for p, k in zip(parts, kinds, strict=True)), verdict, evidence, data=data)


def _data(raw: Any, kinds: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    parts = raw["concat"] if isinstance(raw, dict) and "concat" in raw else [raw]
    if len(parts) != len(kinds):
        raise NftSyntaxError(say("an element that gives {n} values for {types}", n=len(parts), types=len(kinds)))
    found = []
    for part, kind in zip(parts, kinds, strict=True):
        key = _key(part, kind)
        if isinstance(key, str):
            raise NftSyntaxError(say("a map to {kind}", kind=kind))
        found.append(key)
    return tuple(found)


def _verdict(raw: Mapping[str, Any]) -> Statement:
    kind, body = next(iter(raw.items()))
    match kind:
        case "accept":
            return Accept()
        case "drop":
            return Drop()
        case "return":
            return Return()
        case "continue":
            return NoEffect("continue")
        case "jump":
            return Jump(body["target"])
        case "goto":
            return Goto(body["target"])
        case "queue":
            return Queue()
    raise NftSyntaxError(say("verdict {kind}", kind=kind))


class RuleReader:
    """Reads the `expr` list of one rule."""

    def __init__(self, family: TableFamily, label: str, evidence: Evidence) -> None:
        self.family = family
        self.label = label
        self.evidence = evidence
        self.anonymous: dict[str, NamedSet] = {}
        """Anonymous verdict maps and concatenated sets, under names that no user can give."""
        self._parts: list[Match | Statement] = []

    def read(self, expressions: list[dict[str, Any]]) -> tuple[Match | Statement, ...]:
        """All parts in order; what is not known becomes opaque."""
        for expression in expressions:
            kind, body = next(iter(expression.items()))
            try:
                self._one(kind, body)
            except (NftSyntaxError, KeyError, TypeError, ValueError, IndexError):
                text = expression_text(expression)
                self._parts.append(Opaque(text) if kind in ("match", "limit") else OpaqueStatement(text))
        if not self._parts or isinstance(self._parts[-1], (Within, Masked, AnyBit, Named, InSet, FibOif, Opaque)):
            self._parts.append(NoEffect("no statement"))
        return tuple(self._parts)

    def _one(self, kind: str, body: Any) -> None:
        match kind:
            case "match":
                self._match(body)
            case "accept" | "drop" | "return" | "continue" | "jump" | "goto":
                self._parts.append(_verdict({kind: body}))
            case "vmap":
                self._vmap(body)
            case "reject" if self.family is not TableFamily.NETDEV:
                self._parts.append(self._reject(body))
            case "dnat" | "snat" | "masquerade" | "redirect":
                self._parts.append(self._nat(kind, body or {}))
            case "mangle":
                self._parts.append(self._mangle(body))
            case "notrack" if self.family not in _LINK_LAYER:
                self._parts.append(Notrack())
            case "queue":
                flags = body.get("flags", ()) if isinstance(body, dict) else ()
                self._parts.append(Queue("bypass" in flags))
            case "counter" | "log" | "comment" | "ct helper" | "ct timeout" | "flow" | "dup" | "last" | "set":
                self._parts.append(NoEffect(kind))
            case "limit" | "quota" | "ct count":
                self._parts.append(Opaque(expression_text({kind: body})))
            case _:
                raise NftSyntaxError(kind)

    # Matches

    def _field(self, left: Any) -> tuple[Field, str]:
        """The field and the type of its values; what it implies is added before it."""
        kind, body = next(iter(left.items()))
        match kind:
            case "meta" if body["key"] != "nfproto" or self.family not in _LINK_LAYER:
                return _META[body["key"]]
            case "payload":
                self._imply(body["protocol"])
                return _PAYLOAD[body["protocol"], body["field"]]
            case "ct" if self.family not in _LINK_LAYER:
                if "dir" in body:
                    return _CT_TUPLE[body["dir"], body["key"]]
                return _CT[body["key"]]
            case "fib":
                return _fib(body)
        raise NftSyntaxError(kind)

    def _imply(self, protocol: str) -> None:
        if protocol in _ETHER_TYPES and self.family in _LINK_LAYER:
            self._require(Field.ETHER_TYPE, _ETHER_TYPES[protocol])
        elif protocol in ("ip", "ip6") and self.family is TableFamily.INET:
            self._require(Field.NFPROTO, 2 if protocol == "ip" else 10)
        if protocol in _TRANSPORT:
            self._require(Field.PROTOCOL, _TRANSPORT[protocol])

    def _require(self, where: Field, number: int) -> None:
        implied = Within(where, ((number, number),))
        if implied not in self._parts:
            self._parts.append(implied)

    def _reject(self, body: Any) -> Reject:
        """The listing leaves out that an answer of one family fits packets of that family only."""
        kind = body.get("type", "") if isinstance(body, dict) else ""
        if not kind:
            prefix = {TableFamily.IP: "icmp", TableFamily.IP6: "icmp6"}.get(self.family, "icmpx")
            return Reject(f"{prefix}-port-unreachable")
        if kind == "tcp reset":
            self._imply("tcp")
            return Reject("tcp-reset")
        self._imply({"icmp": "ip", "icmpv6": "ip6"}.get(kind, kind))
        prefix = {"icmpv6": "icmp6", "icmp": "icmp", "icmpx": "icmpx"}[kind]
        return Reject(f"{prefix}-{body['expr']}")

    def _match(self, body: Mapping[str, Any]) -> None:
        operator, left, right = body["op"], body["left"], body["right"]
        negated = operator == "!="
        if "&" in left:
            self._masked(left["&"], right, operator)
            return
        if "fib" in left and left["fib"].get("result") in ("oif", "oifname"):
            self._parts.append(_fib_oif(left["fib"], right, negated))
            return
        if "concat" in left:
            fields = [self._field(part) for part in left["concat"]]
            self._in_set(fields, right, negated)
            return
        where, kind = self._field(left)
        if isinstance(right, str) and right.startswith("@"):
            self._parts.append(InSet(right[1:], (where,), negated))
        elif operator in ("<", ">", "<=", ">="):
            self._parts.append(Within(where, (_bounds(operator, _value(right, kind)),)))
        elif kind in _BIT_TYPES and not (isinstance(right, dict) and "set" in right):
            self._bits(where, kind, operator, right)
        else:
            self._plain(where, kind, right, negated)

    def _plain(self, where: Field, kind: str, right: Any, negated: bool) -> None:
        values = right["set"] if isinstance(right, dict) and "set" in right else [right]
        keys = [_key(value, kind) for value in values]
        names = tuple(key for key in keys if isinstance(key, str))
        ranges: Ranges = tuple(key for key in keys if not isinstance(key, str))
        self._parts.append(Named(where, names, negated) if names else Within(where, ranges, negated))

    def _bits(self, where: Field, kind: str, operator: str, right: Any) -> None:
        mask = _value(right, kind)
        if operator == "in":
            self._parts.append(AnyBit(where, mask))
        elif operator == "!=" and kind != "tcp_flag" and isinstance(right, list):
            self._parts.append(AnyBit(where, mask, negated=True))
        else:
            self._parts.append(Masked(where, (1 << 32) - 1, mask, operator == "!="))

    def _masked(self, operands: list[Any], right: Any, operator: str) -> None:
        where, kind = self._field(operands[0])
        mask = _value(operands[1] if len(operands) == 2 else operands[1:], kind)
        if operator == "in":
            self._parts.append(AnyBit(where, mask & _value(right, kind)))
        else:
            self._parts.append(Masked(where, mask, _value(right, kind), operator == "!="))

    def _in_set(self, fields: list[tuple[Field, str]], right: Any, negated: bool) -> None:
        columns = tuple(where for where, _ in fields)
        if isinstance(right, str) and right.startswith("@"):
            self._parts.append(InSet(right[1:], columns, negated))
            return
        values = right["set"] if isinstance(right, dict) and "set" in right else [right]
        kinds = tuple(kind for _, kind in fields)
        elements = tuple(element_of(value, kinds, self.evidence) for value in values)
        self._parts.append(InSet(self._name_set(elements), columns, negated))

    def _name_set(self, elements: tuple[SetElement, ...]) -> str:
        name = f"({self.label}.{len(self.anonymous)})"
        self.anonymous[name] = NamedSet(name, elements, evidence=self.evidence)
        return name

    # Statements

    def _vmap(self, body: Mapping[str, Any]) -> None:
        key = body["key"]
        fields = [self._field(part) for part in key.get("concat", [key])]
        columns = tuple(where for where, _ in fields)
        data = body["data"]
        if isinstance(data, str):
            self._parts.append(VerdictMap(columns, data.removeprefix("@")))
            return
        kinds = tuple(kind for _, kind in fields)
        elements = tuple(element_of(item, kinds, self.evidence, "verdict") for item in data["set"])
        self._parts.append(VerdictMap(columns, self._name_set(elements)))

    def _mangle(self, body: Mapping[str, Any]) -> Statement:
        if _is_harmless(body):
            return NoEffect("mangle")
        if body["key"].get("payload") == {"protocol": "ip6", "field": "hoplimit"} and _is_far(body["value"]):
            return SetHopLimit(body["value"])
        where, kind = self._field(body["key"])
        if where not in (Field.MARK, Field.CT_MARK):
            raise NftSyntaxError("mangle")
        value = body["value"]
        if not isinstance(value, dict):
            return SetMark(where, _value(value, kind))
        if "map" in value:
            return MapMark(where, self._data_map(value["map"], "mark"))
        if "meta" in value or "ct" in value:
            return CopyMark(self._mark_source(value), where)
        return self._mark_expression(where, value)

    def _mark_expression(self, where: Field, value: Mapping[str, Any]) -> Statement:
        """`meta mark set ct mark | 0x1`, `& 0xff`, `^ 2`."""
        operator, (left, right) = next(iter(value.items()))
        source = self._mark_source(left)
        number = _value(right, "mark")
        kept, toggled = {"|": (0xFFFFFFFF & ~number, number), "&": (number, 0), "^": (0xFFFFFFFF, number)}[operator]
        if source is where:
            return SetMark(where, toggled, 0xFFFFFFFF & ~kept)
        return CopyMark(source, where, source_mask=kept, toggled=toggled)

    def _mark_source(self, operand: Any) -> Field:
        """A rule ends at `ct mark` where the packet has no connection (nft_ct_get_eval())."""
        source, _ = self._field(operand)
        if source is Field.CT_MARK:
            self._parts.append(Masked(source, 0, 0))
        return source

    def _nat(self, kind: str, body: Mapping[str, Any]) -> Statement:
        family = TableFamily(body["family"]) if "family" in body else None
        address, port = body.get("addr"), body.get("port")
        address_map = port_map = None
        addresses: tuple[tuple[Ip, Ip], ...] = ()
        ports: tuple[int, int] | None = None
        if "netmap" in body.get("flags", ()):
            return Nat(NatKind(kind), unmodelled=say("prefixes mapped one to one"), family=family)
        if isinstance(address, dict) and "map" in address:
            address_map = self._data_map(address["map"], "ipv6_addr" if family is TableFamily.IP6 else "ipv4_addr")
        elif isinstance(address, dict) and "range" in address:
            addresses = ((Ip.parse(address["range"][0]), Ip.parse(address["range"][1])),)
        elif isinstance(address, str):
            addresses = ((Ip.parse(address), Ip.parse(address)),)
        elif address is not None:
            return Nat(NatKind(kind), unmodelled=say("an address that is looked up"), family=family)
        if isinstance(port, dict) and "map" in port:
            port_map = self._data_map(port["map"], "inet_service")
        elif isinstance(port, dict) and "range" in port:
            ports = (int(port["range"][0]), int(port["range"][1]))
        elif isinstance(port, int):
            ports = (port, port)
        elif port is not None:
            return Nat(NatKind(kind), unmodelled=say("a port that is looked up"), family=family)
        random = bool({"random", "fully-random"} & set(_flags(body)))
        return Nat(NatKind(kind), addresses, ports, "", random, address_map, port_map, family)

    def _data_map(self, body: Mapping[str, Any], target: str) -> DataMap:
        """The look-up of a map: a rule ends where the map has nothing for the packet."""
        key = body["key"]
        fields = [self._field(part) for part in key.get("concat", [key])]
        columns = tuple(where for where, _ in fields)
        data = body["data"]
        if isinstance(data, str):
            name = data.removeprefix("@")
        else:
            kinds = tuple(kind for _, kind in fields)
            paired = any(isinstance(v, dict) and "concat" in v for _, v in data["set"])
            shape = f"{target} . inet_service" if paired else target
            name = self._name_set(tuple(element_of(item, kinds, self.evidence, shape) for item in data["set"]))
        self._parts.append(InSet(name, columns))
        return DataMap(columns, name)


def _is_harmless(body: Mapping[str, Any]) -> bool:
    """Whether what is set changes neither the packet's way nor anything that the model looks at."""
    kind, key = next(iter(body["key"].items()))
    match kind:
        case "meta":
            return key.get("key") in ("priority", "nftrace")
        case "payload" if (key.get("protocol"), key.get("field")) == ("ip", "ttl"):
            return _is_far(body["value"])
        case "payload":
            return (key.get("protocol"), key.get("field")) in _HARMLESS_FIELDS
        case "tcp option":
            return bool(key.get("name") == "maxseg")
    return False


def _is_far(ttl: Any) -> bool:
    return isinstance(ttl, int) and ttl >= SAFE_TTL


def _bounds(operator: str, value: int) -> tuple[int, int]:
    top = (1 << 128) - 1
    return {"<": (0, value - 1), "<=": (0, value), ">": (value + 1, top), ">=": (value, top)}[operator]


def _flags(body: Mapping[str, Any]) -> list[str]:
    flags = body.get("flags", [])
    return [flags] if isinstance(flags, str) else list(flags)


def _fib(body: Mapping[str, Any]) -> tuple[Field, str]:
    flags = _flags(body)
    if body.get("result") != "type" or not flags or set(flags) - {"saddr", "daddr", "iif"}:
        raise NftSyntaxError("fib")
    limited = "iif" in flags
    if "saddr" in flags:
        return (Field.SADDR_TYPE_IIF if limited else Field.SADDR_TYPE), "fib_addrtype"
    return (Field.DADDR_TYPE_IIF if limited else Field.DADDR_TYPE), "fib_addrtype"


def _fib_oif(body: Mapping[str, Any], right: Any, negated: bool) -> FibOif:
    flags = set(_flags(body))
    if flags - {"saddr", "daddr", "iif", "mark"} or len(flags & {"saddr", "daddr"}) != 1:
        raise NftSyntaxError("fib")
    shape = ("saddr" in flags, "iif" in flags, "mark" in flags)
    if isinstance(right, bool):
        return FibOif(*shape, ("",), negated != right)
    names = right["set"] if isinstance(right, dict) and "set" in right else [right]
    if not all(isinstance(name, str) for name in names):
        raise NftSyntaxError("fib oif")
    return FibOif(*shape, tuple(names), negated)


# Text for people


def rule_text(body: Mapping[str, Any]) -> str:
    """The rule about as `nft list ruleset` prints it, with the chain it is in."""
    expressions = body.get("expr", [])
    words = [expression_text(e) for e in expressions if isinstance(e, dict)] if isinstance(expressions, list) else []
    comment = f' comment "{body["comment"]}"' if body.get("comment") else ""
    where = f"{body.get('family')} {body.get('table')} {body.get('chain')}"
    return f"{where}: {' '.join(w for w in words if w)}{comment}"


def expression_text(expression: Mapping[str, Any]) -> str:
    """One expression or statement; JSON-like where it has no short form."""
    kind, body = next(iter(expression.items()), ("", None))
    match kind:
        case "match" if isinstance(body, dict):
            if isinstance(body.get("right"), bool):
                return f"{_operand(body.get('left'))} {'exists' if body['right'] else 'missing'}"
            operator = {"==": " ", "in": " "}.get(str(body.get("op")), f" {body.get('op')} ")
            return f"{_operand(body.get('left'))}{operator}{_operand(body.get('right'))}"
        case "counter":
            return ""
        case "limit" if isinstance(body, dict):
            over = "over " if body.get("inv") else ""
            return f"limit rate {over}{body.get('rate')}/{body.get('per', 'second')}"
        case "jump" | "goto" if isinstance(body, dict):
            return f"{kind} {body.get('target')}"
        case "vmap" if isinstance(body, dict):
            return f"{_operand(body.get('key'))} vmap {_operand(body.get('data'))}"
        case "dnat" | "snat" | "redirect" | "masquerade" if isinstance(body, dict):
            port = f":{_operand(body['port'])}" if "port" in body else ""
            return f"{kind} to {_operand(body.get('addr', ''))}{port}"
        case "mangle" if isinstance(body, dict):
            return f"{_operand(body.get('key'))} set {_operand(body.get('value'))}"
        case "reject" if isinstance(body, dict):
            return f"reject with {body.get('type', '')} {body.get('expr', '')}".strip()
    return str(kind) if body is None else f"{kind} {_operand(body)}"


def _operand(value: Any) -> str:
    if isinstance(value, dict) and len(value) == 1:
        kind, body = next(iter(value.items()))
        match kind:
            case "payload" if isinstance(body, dict):
                return f"{body.get('protocol', '')} {body.get('field', '')}".strip()
            case "meta" | "ct" if isinstance(body, dict):
                return (
                    str(body.get("key"))
                    if kind == "meta" and "name" in str(body.get("key"))
                    else f"{kind} {body.get('key')}"
                )
            case "prefix" if isinstance(body, dict):
                return f"{body.get('addr')}/{body.get('len')}"
            case "range" if isinstance(body, list):
                return "-".join(_operand(v) for v in body)
            case "set" if isinstance(body, list):
                return "{ " + ", ".join(_operand(v) for v in body) + " }"
            case "fib" if isinstance(body, dict):
                return f"fib {' . '.join(body.get('flags', []))} {body.get('result')}"
            case "map" if isinstance(body, dict):
                return f"{_operand(body.get('key'))} map {_operand(body.get('data'))}"
            case "tcp option" if isinstance(body, dict):
                return f"tcp option {body.get('name')} {body.get('field')}"
            case "concat" | "&" | "|" | "^" if isinstance(body, list):
                return f" {'.' if kind == 'concat' else kind} ".join(_operand(v) for v in body)
    if isinstance(value, list):
        return ",".join(_operand(v) for v in value)
    return str(value)
