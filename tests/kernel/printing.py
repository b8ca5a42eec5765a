"""Rules of the intermediate representation as text for iptables-restore: what was read must be writable again."""

from __future__ import annotations

from collections.abc import Iterator

from diag.model.address import Family, Ip
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
    NfRule,
    NfTable,
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
    Within,
)

_PROTOCOLS = {6: "tcp", 17: "udp", 132: "sctp", 33: "dccp", 136: "udplite"}
_SIDES = {Field.SADDR: ("-s", "src"), Field.DADDR: ("-d", "dst")}
_DEVICES = {
    Field.IIFNAME: "-i",
    Field.OIFNAME: "-o",
    Field.PHYSIN: "-m physdev {no}--physdev-in",
    Field.PHYSOUT: "-m physdev {no}--physdev-out",
}
_CT_ADDRESSES = {
    Field.CT_ORIG_SADDR: "--ctorigsrc",
    Field.CT_ORIG_DADDR: "--ctorigdst",
    Field.CT_REPL_SADDR: "--ctreplsrc",
    Field.CT_REPL_DADDR: "--ctrepldst",
}
_CT_PORTS = {
    Field.CT_ORIG_SPORT: "--ctorigsrcport",
    Field.CT_ORIG_DPORT: "--ctorigdstport",
    Field.CT_REPL_SPORT: "--ctreplsrcport",
    Field.CT_REPL_DPORT: "--ctrepldstport",
}
_TYPES = {
    Field.SADDR_TYPE: ("--src-type", ""),
    Field.DADDR_TYPE: ("--dst-type", ""),
    Field.SADDR_TYPE_IIF: ("--src-type", " --limit-iface-in"),
    Field.DADDR_TYPE_IIF: ("--dst-type", " --limit-iface-in"),
}
_MARKS = {Field.MARK: "mark", Field.CT_MARK: "connmark"}
_TCP_FLAGS = ("FIN", "SYN", "RST", "PSH", "ACK", "URG")
_SIMPLE: dict[type, str] = {Accept: "ACCEPT", Drop: "DROP", Return: "RETURN", Notrack: "CT --notrack"}


def restore_text(tables: tuple[NfTable, ...]) -> str:
    """All tables for iptables-restore. Raises NotImplementedError for what cannot be written."""
    lines: list[str] = []
    for table in tables:
        lines.append(f"*{table.name}")
        for chain in table.chains.values():
            policy = "-" if chain.base is None else "DROP" if chain.base.policy_drop else "ACCEPT"
            lines.append(f":{chain.name} {policy} [0:0]")
        lines += [f"-A {chain.name} {rule_text(rule)}" for chain in table.chains.values() for rule in chain.rules]
        lines.append("COMMIT")
    return "\n".join(lines) + "\n"


def rule_text(rule: NfRule) -> str:
    """Everything after `-A CHAIN`."""
    words = []
    protocol = 0
    for part in sorted(rule.parts, key=lambda p: not _is_protocol(p)):
        if isinstance(part, Within) and _is_protocol(part) and not part.negated:
            protocol = part.ranges[0][0]
        words.append(_part(part, protocol))
    if rule.comment:
        words.insert(-1, f"-m comment --comment {_quoted(rule.comment)}")
    return " ".join(word for word in words if word)


def _is_protocol(part: Match | Statement) -> bool:
    """`-p` comes first: modules ask for it."""
    return isinstance(part, Within) and part.field is Field.PROTOCOL


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _part(part: Match | Statement, protocol: int) -> str:
    match part:
        case Within(Field.ETHER_SADDR, ((mac, _),), negated):
            return f"-m mac {_no(negated)}--mac-source {mac.to_bytes(6).hex(':')}"
        case Within():
            return _within(part, protocol)
        case Named(where, (pattern,), negated):
            name = f"{pattern[:-1]}+" if pattern.endswith("*") else pattern
            return f"{_option(_DEVICES[where], negated)} {name}"
        case Masked():
            return _masked(part)
        case AnyBit() if _is_conntrack(part):
            return f"-m conntrack {_conntrack(part)}"
        case AnyOf():
            return _any_of(part)
        case InSet(name, fields, negated):
            sides = ",".join(_SIDES[field][1] for field in fields)
            return f"-m set {_no(negated)}--match-set {name} {sides}"
        case Opaque(text):
            return text
        case _:
            return _target(part)


def _no(negated: bool) -> str:
    return "! " if negated else ""


def _option(option: str, negated: bool) -> str:
    return option.format(no=_no(negated)) if "{no}" in option else f"{_no(negated)}{option}"


def _ranges(ranges: tuple[tuple[int, int], ...]) -> str:
    return ",".join(str(low) if low == high else f"{low}:{high}" for low, high in ranges)


def _prefix(low: int, high: int, family: Family = Family.IPV4) -> str:
    size = (low ^ high).bit_length()
    if low & ((1 << size) - 1) or high - low + 1 != 1 << size:
        return ""
    return f"{Ip(family, low)}/{family.bits - size}"


def _within(part: Within, protocol: int) -> str:
    where, ranges, no = part.field, part.ranges, _no(part.negated)
    low, high = ranges[0]
    if where in _SIDES:
        prefix = _prefix(low, high)
        option, side = _SIDES[where]
        if prefix:
            return f"{no}{option} {prefix}"
        return f"-m iprange {no}--{side}-range {Ip(Family.IPV4, low)}-{Ip(Family.IPV4, high)}"
    if where is Field.PROTOCOL:
        return f"{no}-p {low}"
    if where in (Field.SPORT, Field.DPORT):
        side = "sport" if where is Field.SPORT else "dport"
        if len(ranges) == 1 and protocol in _PROTOCOLS:
            return f"-m {_PROTOCOLS[protocol]} {no}--{side} {_ranges(ranges)}"
        return f"-m multiport {no}--{side}s {_ranges(ranges)}"
    if where is Field.FRAGMENT:
        return f"{no}-f"
    if where is Field.PKTTYPE:
        return f"-m pkttype {no}--pkt-type {('unicast', 'broadcast', 'multicast')[low]}"
    if where in _TYPES:
        option, limit = _TYPES[where]
        return f"-m addrtype {no}{option} {','.join(AddrType(value).name for value, _ in ranges)}{limit}"
    return f"-m conntrack {_conntrack(part)}"


def _masked(part: Masked) -> str:
    where, no = part.field, _no(part.negated)
    if where is Field.TCP_FLAGS:
        return f"-m tcp {no}--tcp-flags {_flags(part.mask)} {_flags(part.value)}"
    if where in _SIDES:
        return f"{no}{_SIDES[where][0]} {Ip(Family.IPV4, part.value)}/{Ip(Family.IPV4, part.mask)}"
    return f"-m {_MARKS[where]} {no}--mark {part.value:#x}/{part.mask:#x}"


def _flags(bits: int) -> str:
    return ",".join(name for position, name in enumerate(_TCP_FLAGS) if bits >> position & 1) or "NONE"


def _is_conntrack(part: Match) -> bool:
    match part:
        case AnyBit() | Within():
            return part.field.value.startswith("ct-")
        case AnyOf(alternatives):
            return all(_is_conntrack(inner) for alternative in alternatives for inner in alternative)
    return False


def _any_of(part: AnyOf) -> str:
    no = _no(part.negated)
    if _is_conntrack(part):
        return f"-m conntrack {_conntrack(part)}"
    first = part.alternatives[0]
    match first:
        case (Within(field=Field.ICMP_TYPE, ranges=((kind, _),)), *rest):
            code = "".join(f"/{inner.ranges[0][0]}" for inner in rest if isinstance(inner, Within))
            return f"-m icmp {no}--icmp-type {kind}{code}"
        case (Within(field=Field.SPORT, ranges=ranges),) if len(part.alternatives) == 2:
            return f"-m multiport {no}--ports {_ranges(ranges)}"
        case (Named(field=Field.PHYSIN), Named(field=Field.PHYSOUT)):
            return f"-m physdev {no}--physdev-is-bridged"
        case (Named(field=Field.PHYSIN),):
            return f"-m physdev {no}--physdev-is-in"
        case (Named(field=Field.PHYSOUT),):
            return f"-m physdev {no}--physdev-is-out"
    raise NotImplementedError(str(part))


def _conntrack(part: Match) -> str:
    """The options of one `-m conntrack`."""
    match part:
        case AnyBit(Field.CT_STATE, mask, negated):
            return f"{_no(negated)}--ctstate {','.join(_bits(CtState, mask))}"
        case AnyBit(Field.CT_STATUS, mask, negated):
            return f"{_no(negated)}--ctstatus {','.join(_bits(CtStatus, mask)) or 'NONE'}"
        case AnyOf(((AnyBit(Field.CT_STATE, states),), (AnyBit(Field.CT_STATUS, status),)), negated):
            names = [*_bits(CtState, states), *_bits(CtStatus, status)]
            return f"{_no(negated)}--ctstate {','.join(names)}"
        case AnyOf((tests, _)):  # the other alternative is that there is no connection
            return " ".join(_conntrack(test) for test in tests)
        case Within(field, ranges, negated):
            low, high = ranges[0]
            if field is Field.CT_DIRECTION:
                return f"--ctdir {'REPLY' if low else 'ORIGINAL'}"
            if field is Field.CT_PROTOCOL:
                return f"{_no(negated)}--ctproto {low}"
            if field in _CT_PORTS:
                return f"{_no(negated)}{_CT_PORTS[field]} {_ranges(ranges)}"
            return f"{_no(negated)}{_CT_ADDRESSES[field]} {_prefix(low, high)}"
    raise NotImplementedError(str(part))


def _bits(names: type[CtState] | type[CtStatus], mask: int) -> Iterator[str]:
    return (member.name for member in names if mask & member)


def _target(statement: Match | Statement) -> str:
    simple = _SIMPLE.get(type(statement))
    if simple:
        return f"-j {simple}"
    match statement:
        case Reject(kind):
            return f"-j REJECT --reject-with {kind}"
        case Jump(chain):
            return f"-j {chain}"
        case Goto(chain):
            return f"-g {chain}"
        case Queue(bypass):
            return f"-j NFQUEUE --queue-num 0{' --queue-bypass' if bypass else ''}"
        case Nat():
            return f"-j {_nat(statement)}"
        case SetMark(field, value, mask):
            return f"-j {_MARKS[field].upper()} --set-xmark {value:#x}/{mask:#x}"
        case CopyMark(source, _, mask):
            verb = "save" if source is Field.MARK else "restore"
            return f"-j CONNMARK --{verb}-mark --nfmask {mask:#x} --ctmask {mask:#x}"
        case SetHopLimit(value):
            return f"-j HL --hl-set {value}"
        case NoEffect("no target"):
            return ""
        case NoEffect(text) | OpaqueStatement(text):
            return f"-j {text}"
    raise NotImplementedError(str(statement))


def _nat(nat: Nat) -> str:
    random = " --random" if nat.random else ""
    ports = "" if nat.ports is None else _ranges((nat.ports,)).replace(":", "-")
    if nat.kind in (NatKind.MASQUERADE, NatKind.REDIRECT):
        return f"{nat.kind.name}{f' --to-ports {ports}' if ports else ''}{random}"
    if nat.kind is NatKind.NETMAP:
        first, last = nat.addresses[0]
        return f"NETMAP --to {_prefix(first.value, last.value)}"
    option = "--to-destination" if nat.kind is NatKind.DNAT else "--to-source"
    address = ""
    if nat.addresses:
        first, last = nat.addresses[0]
        address = str(first) if first == last else f"{first}-{last}"
    return f"{nat.kind.name} {option} {address}{f':{ports}' if ports else ''}{random}"
