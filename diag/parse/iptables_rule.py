"""The words of one iptables rule: matches and a target, `iptables(8)`, `iptables-extensions(8)`.

>>> parts, comment = parse_rule_spec(split_words("! -s 10.0.0.0/8 -m multiport --dports 80,443 -j DROP"), TableFamily.IP)
>>> for part in parts: print(part)
Within(field=<Field.SADDR: 'saddr'>, ranges=((167772160, 184549375),), negated=True)
Within(field=<Field.DPORT: 'dport'>, ranges=((80, 80), (443, 443)), negated=False)
Drop()
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from msgspec import Struct, field

from diag.model.address import Ip, Prefix
from diag.model.message import say
from diag.model.netfilter import (
    Accept,
    AddrType,
    AnyBit,
    AnyOf,
    CopyMark,
    CtState,
    CtStatus,
    Drop,
    Field,
    Goto,
    InSet,
    Jump,
    Masked,
    Match,
    Named,
    Nat,
    NatKind,
    NoEffect,
    Notrack,
    Opaque,
    OpaqueStatement,
    Queue,
    Reject,
    Return,
    SetHopLimit,
    SetMark,
    Statement,
    TableFamily,
    Within,
)
from diag.parse.protocols import ICMP_NAMES, ICMPV6_NAMES, PROTOCOLS, SERVICES, mac_number


class RuleSyntaxError(ValueError):
    """The rule's words cannot be understood at all; the message says which."""


_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|\'([^\']*)\'|(\S+)')
_OPTION = re.compile(r"--?[a-zA-Z]")
_LONG_OPTION = re.compile(r"--[a-z]")
_UNESCAPE = re.compile(r"\\(.)")
_QUOTED = re.compile(r"[\s\"'\\]")


def split_words(line: str) -> list[str]:
    """Split as iptables-restore does: blanks separate, double quotes keep them, a backslash escapes inside quotes."""
    if '"' not in line and "'" not in line:
        return line.split()
    words = []
    for quoted, single, plain in _WORD.findall(line):
        words.append(plain or single or _UNESCAPE.sub(r"\1", quoted))
    return words


def join_words(words: list[str]) -> str:
    """The inverse of split_words()."""
    return " ".join(_quoted(word) if not word or _QUOTED.search(word) else word for word in words)


def _quoted(word: str) -> str:
    escaped = re.sub(r'(["\\])', r"\\\1", word)
    return f'"{escaped}"'


class _Words(Struct):
    """A cursor over the words of a rule."""

    words: list[str]
    family: TableFamily
    chains: frozenset[str]
    at: int = 0
    parts: list[Match | Statement] = field(default_factory=list)
    comment: str = ""
    module: str = ""
    conntrack: list[Match] = field(default_factory=list)
    """The tests of one `-m conntrack`."""
    unknown: list[str] = field(default_factory=list)
    """The options of one module that are not modelled: together they are one match."""

    def add(self, option: str, found: Match | NoEffect) -> None:
        """What an option stands for."""
        if isinstance(found, NoEffect):
            return
        if self.module == "conntrack" and ("conntrack", option) in _OPTIONS:
            self.conntrack.append(found)
        else:
            self.parts.append(found)

    def end_module(self) -> None:
        """Without a connection xt_conntrack looks at the state only: the other tests then do not count (conntrack_mt())."""
        if not self.conntrack and not self.unknown:
            return
        states = [m for m in self.conntrack if _tests_state(m)]
        others = [m for m in self.conntrack if not _tests_state(m)]
        if states and others:
            self.parts.append(AnyOf(((*states, *others), (*states, _UNCONNECTED))))
        else:
            self.parts.extend(self.conntrack)
        if self.unknown:
            self.parts.append(Opaque(" ".join([f"-m {self.module}", *self.unknown])))
        self.conntrack, self.unknown = [], []

    def peek(self) -> str | None:
        return self.words[self.at] if self.at < len(self.words) else None

    def take(self, option: str) -> str:
        if self.at >= len(self.words):
            raise RuleSyntaxError(say("{option} has no value", option=option))
        self.at += 1
        return self.words[self.at - 1]

    def take_value(self, option: str, negated: bool) -> tuple[str, bool]:
        """A value, with the old place of the negation (`-s ! 10.0.0.0/8`, up to 1.4.2) understood."""
        if self.at >= len(self.words):
            raise RuleSyntaxError(say("{option} has no value", option=option))
        value = self.words[self.at]
        self.at += 1
        if value == "!":
            return self.take(option), not negated
        return value, negated

    def take_rest(self) -> list[str]:
        """The values up to the next option."""
        values = []
        while (word := self.peek()) is not None and word != "!" and not _OPTION.match(word):
            values.append(word)
            self.at += 1
        return values


_UNCONNECTED = AnyOf(((Within(Field.CT_DIRECTION, ((0, 1),)),),), negated=True)
"""The packet has no connection: it is invalid or untracked."""


def _tests_state(match: Match) -> bool:
    match match:
        case AnyBit(field=Field.CT_STATE):
            return True
        case AnyOf(alternatives):
            return any(_tests_state(part) for parts in alternatives for part in parts)
    return False


def parse_rule_spec(
    words: list[str], family: TableFamily, chains: frozenset[str] = frozenset()
) -> tuple[tuple[Match | Statement, ...], str]:
    """Everything after `-A CHAIN`: the parts in order and the comment.

    `chains` are the user chains of the table, which a target may name. Raises RuleSyntaxError.
    """
    cursor = _Words(words, family, chains)
    target = _read(cursor)
    return (*cursor.parts, *(target or _NO_TARGET)), cursor.comment


class PlainRule(Struct, frozen=True):
    """A rule without quotes: what its target does depends on whether the table has a chain of that name.

    >>> rule = read_plain_rule("-p tcp -j DOCKER", TableFamily.IP)
    >>> rule.parts(frozenset({"DOCKER"}))[1]
    Jump(chain='DOCKER')
    """

    target: str
    to_chain: tuple[Match | Statement, ...]
    otherwise: tuple[Match | Statement, ...]
    comment: str

    def parts(self, chains: frozenset[str]) -> tuple[Match | Statement, ...]:
        """In a table with these chains."""
        return self.to_chain if self.target in chains else self.otherwise


def read_plain_rule(text: str, family: TableFamily) -> PlainRule | None:
    """The text after `-A CHAIN`, without quotes in it: most rules repeat the matches or the target of others.

    None for a rule that :func:`parse_rule_spec` has to read.
    """
    head, jump, tail = text.partition("-j ")
    name = tail.split(None, 1)[:1]
    if not jump or not name or (head and not head[-1].isspace()):
        return None
    try:
        matches = _matches(head, family)
    except ValueError:
        return None
    if matches is None:
        return None
    parts, comment = matches
    return PlainRule(name[0], (*parts, Jump(name[0])), (*parts, *_target_text(tail, family)), comment)


_Matches = tuple[tuple[Match | Statement, ...], str]


def _matches(text: str, family: TableFamily) -> _Matches | None:
    """What comes before a target; None when there is a target in it. Raises ValueError.

    Rules share the addresses and interfaces before `-p` with some rules, and the ports after it with others.
    """
    head, protocol, tail = text.partition("-p ")
    if head and protocol and head[-1].isspace() and "-m" not in head:
        try:
            first, second = _part(head, family), _part(protocol + tail, family)
        except ValueError:  # `-p` may be the value of the option before it
            return _part(text, family)
        if first is None or second is None:
            return None
        return (*first[0], *second[0]), second[1] or first[1]
    return _part(text, family)


@lru_cache(maxsize=1 << 12)
def _part(text: str, family: TableFamily) -> _Matches | None:
    """Some options of a rule, the first of which is of no module."""
    cursor = _Words(text.split(), family, frozenset())
    return None if _read(cursor) is not None else (tuple(cursor.parts), cursor.comment)


@lru_cache(maxsize=1 << 12)
def _target_text(text: str, family: TableFamily) -> tuple[Statement, ...]:
    """A target that is no chain, and its options."""
    return _target(_Words(text.split(), family, frozenset()))


def _read(cursor: _Words) -> tuple[Statement, ...] | None:
    """Go through all words; returns the target. Raises RuleSyntaxError."""
    words = cursor.words
    target: tuple[Statement, ...] | None = None
    handlers = _HANDLERS[""]
    while cursor.at < len(words):
        word = words[cursor.at]
        cursor.at += 1
        negated = word == "!"
        if negated:
            word = cursor.take("!")
        handler = handlers.get(word)
        if handler is not None:
            found = handler(cursor, word, negated)
            if cursor.module == "conntrack":
                cursor.add(word, found)
            elif type(found) is not NoEffect:  # `isinstance` of a Struct takes as long as the rest of this
                cursor.parts.append(found)
        elif word in ("-m", "--match"):
            cursor.end_module()
            cursor.module = cursor.take(word)
            handlers = _HANDLERS.get(cursor.module, _HANDLERS[""])
            if cursor.module in _ALWAYS_OPAQUE_MODULES:
                _bare_module(cursor)
        elif word in ("-j", "--jump"):
            target = _target(cursor)
        elif word in ("-g", "--goto"):
            target = (Goto(cursor.take(word)),)
        elif word in ("-4", "--ipv4", "-6", "--ipv6"):
            continue
        elif word in ("-c", "--set-counters"):
            cursor.take(word), cursor.take(word)
        else:
            _unknown_option(cursor, word, negated)
    cursor.end_module()
    return target


_NO_TARGET = (NoEffect("no target"),)
_ALWAYS_OPAQUE_MODULES = frozenset(
    {"socket", "rpfilter", "eui64", "ipv6header", "rt", "frag", "hbh", "dst", "ah", "esp"}
)
"""Modules that match by their mere presence."""


def _bare_module(cursor: _Words) -> None:
    following = cursor.peek()
    if following is None or not following.startswith("--"):
        cursor.parts.append(Opaque(f"-m {cursor.module}"))


_Handler = Callable[[_Words, str, bool], Match | NoEffect]


class _OfOneValue:
    """A handler for options of one value, from what makes a match of option, value and negation.

    The rules of a host name the same interfaces, ports and addresses again and again: equal options are one object.
    """

    __slots__ = ("known",)

    def __init__(self, read: Callable[[str, str, bool], Match | NoEffect]) -> None:
        self.known = lru_cache(maxsize=1 << 12)(read)

    def __call__(self, cursor: _Words, option: str, negated: bool) -> Match | NoEffect:
        if cursor.at < len(cursor.words) and (value := cursor.words[cursor.at]) != "!":
            cursor.at += 1
        else:
            value, negated = cursor.take_value(option, negated)
        return self.known(option, value, negated)


def _unknown_option(cursor: _Words, option: str, negated: bool) -> None:
    """An option that is not modelled; that of a module waits for the module's others."""
    if not option.startswith("-"):
        raise RuleSyntaxError(say("unexpected word {word}", word=repr(option)))
    values = cursor.take_rest()
    text = join_words([*(["!"] if negated else []), option, *values])
    if cursor.module:
        cursor.unknown.append(text)
    else:
        cursor.parts.append(Opaque(text))


@_OfOneValue
def _address(option: str, value: str, negated: bool) -> Match:
    where = Field.SADDR if option in ("-s", "--source", "--src") else Field.DADDR
    address, _, mask = value.partition("/")
    if mask.count(".") == 3:
        bits = Ip.parse(mask).value
        if "01" in f"{bits:032b}":
            return Masked(where, bits, Ip.parse(address).value & bits, negated)
    elif mask.count(":") >= 2:
        return Masked(where, Ip.parse(mask).value, Ip.parse(address).value & Ip.parse(mask).value, negated)
    try:
        prefix = Prefix.parse(value)
    except ValueError:
        return Opaque(f"{'! ' if negated else ''}{option} {value}")
    return Within(where, ((prefix.first, prefix.last),), negated)


@_OfOneValue
def _interface(option: str, value: str, negated: bool) -> Match:
    where = {
        "-i": Field.IIFNAME,
        "--in-interface": Field.IIFNAME,
        "-o": Field.OIFNAME,
        "--out-interface": Field.OIFNAME,
        "--physdev-in": Field.PHYSIN,
        "--physdev-out": Field.PHYSOUT,
    }[option]
    pattern = f"{value[:-1]}*" if value.endswith("+") else value
    return Named(where, (pattern,), negated)


@_OfOneValue
def _mac_source(_option: str, value: str, negated: bool) -> Match:
    number = mac_number(value)
    return Within(Field.ETHER_SADDR, ((number, number),), negated)


def _physdev_flag(_cursor: _Words, option: str, negated: bool) -> Match:
    bridged = {
        "--physdev-is-in": (Named(Field.PHYSIN, ("",), negated=True),),
        "--physdev-is-out": (Named(Field.PHYSOUT, ("",), negated=True),),
        "--physdev-is-bridged": (
            Named(Field.PHYSIN, ("",), negated=True),
            Named(Field.PHYSOUT, ("",), negated=True),
        ),
    }[option]
    return AnyOf((bridged,), negated)


@_OfOneValue
def _protocol(_option: str, value: str, negated: bool) -> Match | NoEffect:
    if value.lower() in ("all", "0"):
        return NoEffect("-p all")
    number = int(value) if value.isdigit() else PROTOCOLS.get(value.lower())
    if number is None:
        return Opaque(f"-p {value}")
    return Within(Field.PROTOCOL, ((number, number),), negated)


def _fragment(_cursor: _Words, _option: str, negated: bool) -> Match:
    return Within(Field.FRAGMENT, ((1, 1),), negated)


def _port_range(text: str) -> tuple[int, int]:
    low, colon, high = text.partition(":")
    if not colon:
        low, colon, high = text.partition("-")
    first = _port(low) if low else 0
    return first, (_port(high) if high else 65535) if colon else first


def _port(text: str) -> int:
    if text.isdigit():
        return int(text)
    if text in SERVICES:
        return SERVICES[text]
    raise RuleSyntaxError(say("unknown service name {name}", name=repr(text)))


@_OfOneValue
def _ports(option: str, value: str, negated: bool) -> Match:
    ranges = tuple(_port_range(part) for part in value.split(",") if part)
    if option in ("--ports", "--port"):
        return AnyOf(((Within(Field.SPORT, ranges),), (Within(Field.DPORT, ranges),)), negated)
    source = option in ("--sport", "--source-port", "--sports", "--source-ports")
    return Within(Field.SPORT if source else Field.DPORT, ranges, negated)


_TCP_FLAGS = {"FIN": 1, "SYN": 2, "RST": 4, "PSH": 8, "ACK": 16, "URG": 32, "ALL": 63, "NONE": 0}


def _flag_bits(text: str) -> int:
    bits = 0
    for name in text.split(","):
        if name not in _TCP_FLAGS:
            raise RuleSyntaxError(say("unknown TCP flag {name}", name=repr(name)))
        bits |= _TCP_FLAGS[name]
    return bits


def _tcp_flags(cursor: _Words, option: str, negated: bool) -> Match:
    if option == "--syn":
        return Masked(Field.TCP_FLAGS, _flag_bits("SYN,RST,ACK,FIN"), _TCP_FLAGS["SYN"], negated)
    mask, negated = cursor.take_value(option, negated)
    return Masked(Field.TCP_FLAGS, _flag_bits(mask), _flag_bits(cursor.take(option)), negated)


@_OfOneValue
def _icmp_type(option: str, value: str, negated: bool) -> Match | NoEffect:
    v6 = option == "--icmpv6-type"
    if value in ("any", "255", "255/255"):
        return NoEffect("any ICMP type")
    if value in (ICMPV6_NAMES if v6 else ICMP_NAMES):
        kind, code = (ICMPV6_NAMES if v6 else ICMP_NAMES)[value]
    else:
        first, _, second = value.partition("/")
        if not first.isdigit() or (second and not second.isdigit()):
            return Opaque(f"{option} {value}")
        kind, code = int(first), int(second) if second else None
    type_field, code_field = (Field.ICMPV6_TYPE, Field.ICMPV6_CODE) if v6 else (Field.ICMP_TYPE, Field.ICMP_CODE)
    body: tuple[Match, ...] = (Within(type_field, ((kind, kind),)),)
    if code is not None:
        body += (Within(code_field, ((code, code),)),)
    return AnyOf((body,), negated)


_CT_STATUS = {
    "NONE": 0,
    "EXPECTED": CtStatus.EXPECTED,
    "SEEN_REPLY": CtStatus.SEEN_REPLY,
    "ASSURED": CtStatus.ASSURED,
    "CONFIRMED": CtStatus.CONFIRMED,
    "SNAT": CtStatus.SNAT,
    "DNAT": CtStatus.DNAT,
}


@_OfOneValue
def _ct_state(_option: str, value: str, negated: bool) -> Match:
    states = status = 0
    for name in value.split(","):
        if name in ("SNAT", "DNAT"):
            status |= _CT_STATUS[name]
        elif name in CtState.__members__:
            states |= CtState[name]
        else:
            raise RuleSyntaxError(say("unknown connection state {name}", name=repr(name)))
    if not status:
        return AnyBit(Field.CT_STATE, states, negated)
    return AnyOf(((AnyBit(Field.CT_STATE, states),), (AnyBit(Field.CT_STATUS, status),)), negated)


@_OfOneValue
def _ct_status(_option: str, value: str, negated: bool) -> Match:
    bits = 0
    for name in value.split(","):
        if name not in _CT_STATUS:
            raise RuleSyntaxError(say("unknown connection status {name}", name=repr(name)))
        bits |= _CT_STATUS[name]
    return AnyBit(Field.CT_STATUS, bits, negated)  # NONE has no bit: it never holds (conntrack_mt())


@_OfOneValue
def _ct_protocol(option: str, value: str, negated: bool) -> Match:
    number = int(value) if value.isdigit() else PROTOCOLS.get(value.lower())
    if number is None:
        return Opaque(f"{option} {value}")
    return Within(Field.CT_PROTOCOL, ((number, number),), negated)


@_OfOneValue
def _ct_direction(_option: str, value: str, negated: bool) -> Match:
    bit = 1 if value.upper() == "REPLY" else 0
    return Within(Field.CT_DIRECTION, ((bit, bit),), negated)


_CT_TUPLE = {
    "--ctorigsrc": Field.CT_ORIG_SADDR,
    "--ctorigdst": Field.CT_ORIG_DADDR,
    "--ctreplsrc": Field.CT_REPL_SADDR,
    "--ctrepldst": Field.CT_REPL_DADDR,
}


@_OfOneValue
def _ct_address(option: str, value: str, negated: bool) -> Match:
    prefix = Prefix.parse(value)
    return Within(_CT_TUPLE[option], ((prefix.first, prefix.last),), negated)


_CT_PORTS = {
    "--ctorigsrcport": Field.CT_ORIG_SPORT,
    "--ctorigdstport": Field.CT_ORIG_DPORT,
    "--ctreplsrcport": Field.CT_REPL_SPORT,
    "--ctrepldstport": Field.CT_REPL_DPORT,
}


@_OfOneValue
def _ct_port(option: str, value: str, negated: bool) -> Match:
    return Within(_CT_PORTS[option], (_port_range(value),), negated)


def _addr_type(cursor: _Words, option: str, negated: bool) -> Match:
    value, negated = cursor.take_value(option, negated)
    names = value.split(",")
    unknown = [name for name in names if name not in AddrType.__members__]
    if unknown:
        raise RuleSyntaxError(say("unknown address type {name}", name=repr(unknown[0])))
    types = {AddrType[name] for name in names}
    limited = cursor.peek() == "--limit-iface-in"
    if limited:
        cursor.at += 1
    side = Field.SADDR if option == "--src-type" else Field.DADDR
    where = _TYPE_FIELDS[side, limited]
    if cursor.family is TableFamily.IP6 and limited and AddrType.UNREACHABLE in types:  # asks routes of one device only
        return Opaque(f"-m addrtype {'! ' if negated else ''}{option} {value} --limit-iface-in")
    if cursor.family is TableFamily.IP6:
        return AnyOf((_addr_type6(side, where, types),), negated)
    return Within(where, tuple((int(t), int(t)) for t in sorted(types)), negated)


_TYPE_FIELDS = {
    (Field.SADDR, False): Field.SADDR_TYPE,
    (Field.SADDR, True): Field.SADDR_TYPE_IIF,
    (Field.DADDR, False): Field.DADDR_TYPE,
    (Field.DADDR, True): Field.DADDR_TYPE_IIF,
}


def _addr_type6(side: Field, where: Field, types: set[AddrType]) -> tuple[Match, ...]:
    """Of IPv6 some types are shapes of the address that all must hold, the others are asked of the routes (match_type6())."""
    multicast, unspecified = Prefix.parse("ff00::/8"), (0, 0)
    parts: list[Match] = []
    if AddrType.MULTICAST in types:
        parts.append(Within(side, ((multicast.first, multicast.last),)))
    if AddrType.UNICAST in types:
        parts.append(Within(side, (unspecified, (multicast.first, multicast.last)), negated=True))
    if AddrType.UNSPEC in types:
        parts.append(Within(side, (unspecified,)))
    routed = types & {AddrType.ANYCAST, AddrType.LOCAL, AddrType.UNREACHABLE}
    if AddrType.UNREACHABLE in types:
        routed |= {AddrType.BLACKHOLE, AddrType.PROHIBIT, AddrType.THROW}
    if routed:
        parts.append(Within(where, tuple((int(t), int(t)) for t in sorted(routed))))
    return tuple(parts)


@_OfOneValue
def _ip_range(option: str, value: str, negated: bool) -> Match:
    low, _, high = value.partition("-")
    first, last = Ip.parse(low), Ip.parse(high or low)
    return Within(Field.SADDR if option == "--src-range" else Field.DADDR, ((first.value, last.value),), negated)


def _value_and_mask(text: str) -> tuple[int, int]:
    value, _, mask = text.partition("/")
    return int(value, 0), int(mask, 0) if mask else 0xFFFFFFFF


def _mark(cursor: _Words, option: str, negated: bool) -> Match:
    text, negated = cursor.take_value(option, negated)
    value, mask = _value_and_mask(text)
    return Masked(Field.CT_MARK if cursor.module == "connmark" else Field.MARK, mask, value, negated)


def _match_set(cursor: _Words, option: str, negated: bool) -> Match:
    name, negated = cursor.take_value(option, negated)
    sides = cursor.take(option).split(",")
    fields = tuple(Field.SADDR if side == "src" else Field.DADDR for side in sides)
    extra = [word for word in (cursor.peek(),) if word and word.startswith("--")]
    if extra and extra[0] not in ("--match-set",):
        values = [cursor.take(option), *cursor.take_rest()]
        return Opaque(f"--match-set {name} {','.join(sides)} {' '.join(values)}")
    return InSet(name, fields, negated, ipset=True)


_PKT_TYPES = {"unicast": 0, "broadcast": 1, "multicast": 2}


@_OfOneValue
def _pkt_type(_option: str, value: str, negated: bool) -> Match:
    if value not in _PKT_TYPES:
        return Opaque(f"--pkt-type {value}")
    return Within(Field.PKTTYPE, ((_PKT_TYPES[value], _PKT_TYPES[value]),), negated)


def _comment(cursor: _Words, option: str, _negated: bool) -> NoEffect:
    cursor.comment = cursor.take(option)
    return NoEffect("comment")


_OPTIONS: dict[tuple[str, str], _Handler] = {
    **dict.fromkeys([("", o) for o in ("-s", "--source", "--src", "-d", "--destination", "--dst")], _address),
    **dict.fromkeys([("", o) for o in ("-i", "--in-interface", "-o", "--out-interface")], _interface),
    **dict.fromkeys([("physdev", o) for o in ("--physdev-in", "--physdev-out")], _interface),
    **dict.fromkeys(
        [("physdev", o) for o in ("--physdev-is-in", "--physdev-is-out", "--physdev-is-bridged")], _physdev_flag
    ),
    ("mac", "--mac-source"): _mac_source,
    **dict.fromkeys([("", o) for o in ("-p", "--protocol", "--proto")], _protocol),
    **dict.fromkeys([("", o) for o in ("-f", "--fragment")], _fragment),
    **dict.fromkeys(
        [
            (module, o)
            for module in ("", "tcp", "udp", "udplite", "sctp", "dccp", "multiport")
            for o in ("--sport", "--source-port", "--dport", "--destination-port")
        ],
        _ports,
    ),
    **dict.fromkeys(
        [
            ("multiport", o)
            for o in ("--sports", "--source-ports", "--dports", "--destination-ports", "--ports", "--port")
        ],
        _ports,
    ),
    **dict.fromkeys([(module, o) for module in ("", "tcp") for o in ("--tcp-flags", "--syn")], _tcp_flags),
    **dict.fromkeys([("icmp", "--icmp-type"), ("", "--icmp-type")], _icmp_type),
    **dict.fromkeys([("icmp6", "--icmpv6-type"), ("icmpv6", "--icmpv6-type"), ("", "--icmpv6-type")], _icmp_type),
    **dict.fromkeys([("conntrack", "--ctstate"), ("state", "--state")], _ct_state),
    ("conntrack", "--ctstatus"): _ct_status,
    ("conntrack", "--ctdir"): _ct_direction,
    ("conntrack", "--ctproto"): _ct_protocol,
    **dict.fromkeys([("conntrack", o) for o in _CT_TUPLE], _ct_address),
    **dict.fromkeys([("conntrack", o) for o in _CT_PORTS], _ct_port),
    **dict.fromkeys([("addrtype", o) for o in ("--src-type", "--dst-type")], _addr_type),
    **dict.fromkeys([("iprange", o) for o in ("--src-range", "--dst-range")], _ip_range),
    **dict.fromkeys([(module, "--mark") for module in ("mark", "connmark")], _mark),
    ("set", "--match-set"): _match_set,
    ("pkttype", "--pkt-type"): _pkt_type,
    ("comment", "--comment"): _comment,
}

_HANDLERS = {
    module: {option: handler for (owner, option), handler in _OPTIONS.items() if owner == ""}
    | {option: handler for (owner, option), handler in _OPTIONS.items() if owner == module}
    for module in {owner for owner, _ in _OPTIONS}
}
"""What an option means after `-m module`; with an empty name, before any."""

_PLAIN_TARGETS: dict[str, Statement] = {
    "ACCEPT": Accept(),
    "DROP": Drop(),
    "RETURN": Return(),
    "NOTRACK": Notrack(),
}

SAFE_TTL = 32
"""A time to live that no way through one host uses up."""

_NO_EFFECT_TARGETS = frozenset(
    {
        *("LOG", "NFLOG", "ULOG", "TRACE", "AUDIT", "TCPMSS", "CHECKSUM", "CLASSIFY", "DSCP", "TOS"),
        *("SECMARK", "CONNSECMARK", "RATEEST", "IDLETIMER", "LED", "TEE", "TCPOPTSTRIP", "ECN"),
    }
)
"""Targets after which the packet goes on to the next rule with the same addresses, ports and mark."""


def _target(cursor: _Words) -> tuple[Statement, ...]:
    name = cursor.take("-j")
    options = cursor.words[cursor.at :]
    cursor.at = len(cursor.words)
    if name in cursor.chains:
        return (Jump(name),)
    if name in _PLAIN_TARGETS:
        return (_PLAIN_TARGETS[name],)
    try:
        statement = _statement(name, options, cursor.family)
    except (ValueError, KeyError):
        statement = None
    return (statement or OpaqueStatement(join_words([name, *options])),)


def _statement(name: str, options: list[str], family: TableFamily) -> Statement | None:
    """What a target does; None where that is not modelled. Raises ValueError or KeyError for options of no sense."""
    values = _option_values(options)
    match name:
        case "DNAT" | "SNAT" | "REDIRECT" | "MASQUERADE" | "NETMAP":
            return _nat(name, values)
        case "REJECT":
            default = "icmp6-port-unreachable" if family is TableFamily.IP6 else "icmp-port-unreachable"
            return Reject(values.get("--reject-with", default))
        case "MARK" | "CONNMARK":
            return _set_mark(name, values)
        case "CT" if "--notrack" in values:
            return Notrack()
        case "QUEUE" | "NFQUEUE":
            return Queue("--queue-bypass" in values)
        case "HL" if int(values.get("--hl-set", 0)) >= SAFE_TTL:
            return SetHopLimit(int(values["--hl-set"]))
    return NoEffect(join_words([name, *options])) if _without_effect(name, values) else None


def _without_effect(name: str, values: dict[str, str]) -> bool:
    match name:
        case "TTL" | "HL":
            prefix = name.lower()
            return int(values.get(f"--{prefix}-set", SAFE_TTL)) >= SAFE_TTL and f"--{prefix}-dec" not in values
        case "CT":
            return not any(option.startswith("--zone") for option in values)
    return name in _NO_EFFECT_TARGETS


def _option_values(words: list[str]) -> dict[str, str]:
    values: dict[str, str] = {}
    option = ""
    for word in words:
        if _LONG_OPTION.match(word):
            option = word
            values[option] = ""
        elif option:
            values[option] = f"{values[option]} {word}".strip()
    return values


_NAT_KINDS = {
    "DNAT": (NatKind.DNAT, "--to-destination"),
    "SNAT": (NatKind.SNAT, "--to-source"),
    "REDIRECT": (NatKind.REDIRECT, "--to-ports"),
    "MASQUERADE": (NatKind.MASQUERADE, "--to-ports"),
    "NETMAP": (NatKind.NETMAP, "--to"),
}


def _nat(name: str, values: dict[str, str]) -> Statement:
    kind, option = _NAT_KINDS[name]
    text = values.get(option, "")
    random = "--random" in values or "--random-fully" in values
    if option == "--to-ports":
        return Nat(kind, ports=_port_range(text) if text else None, random=random)
    if option == "--to":
        prefix = Prefix.parse(text)
        return Nat(kind, ((Ip(prefix.family, prefix.first), Ip(prefix.family, prefix.last)),))
    if text.startswith("["):
        address, _, ports = text[1:].partition("]")
        ports = ports.removeprefix(":")
    elif text.count(":") > 1:
        address, ports = text, ""
    else:
        address, _, ports = text.partition(":")
    base = ""
    if "/" in ports:
        ports, _, base = ports.partition("/")
    low, _, high = address.strip("[]").partition("-")
    addresses = ((Ip.parse(low), Ip.parse(high.strip("[]") or low)),) if low else ()
    unmodelled = say("shifted port range") if base else ""
    return Nat(kind, addresses, _port_range(ports) if ports else None, unmodelled, random)


def _set_mark(name: str, values: dict[str, str]) -> Statement | None:
    where = Field.MARK if name == "MARK" else Field.CT_MARK
    full = 0xFFFFFFFF
    for option, shape in (("--set-xmark", "xor"), ("--set-mark", "or")):
        if option in values:
            value, mask = _value_and_mask(values[option])
            return SetMark(where, value, mask if shape == "xor" else mask | value)
    if "--and-mark" in values:
        return SetMark(where, 0, full & ~int(values["--and-mark"], 0))
    if "--or-mark" in values:
        value = int(values["--or-mark"], 0)
        return SetMark(where, value, value)
    if "--xor-mark" in values:
        return SetMark(where, int(values["--xor-mark"], 0), 0)
    masks = [int(values[o], 0) for o in ("--mask", "--nfmask", "--ctmask") if o in values]
    if len(set(masks)) > 1:
        return None
    mask = masks[0] if masks else full
    if "--save-mark" in values:
        return CopyMark(Field.MARK, Field.CT_MARK, mask)
    if "--restore-mark" in values:
        return CopyMark(Field.CT_MARK, Field.MARK, mask)
    return None
