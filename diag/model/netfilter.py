"""One intermediate representation for iptables (legacy and nft variant) and native nftables.

A rule body is an *ordered* sequence of matches and statements: nft interleaves them, iptables has its matches first and
one target last. What the model does not know is kept as :class:`Opaque` (a match that may or may not hold) or
:class:`OpaqueStatement` (a statement that may end the packet's walk); it is never left out.

Semantics: `iptables-extensions(8)`, `nft(8)`, net/netfilter/core.c.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType

from msgspec import Struct, field

from diag.model.address import Ip
from diag.model.enums import Number, Word
from diag.model.provenance import Evidence
from diag.model.set_index import SetIndex


class Hook(Word):
    """Where a base chain is attached."""

    INGRESS = "ingress"
    PREROUTING = "prerouting"
    INPUT = "input"
    FORWARD = "forward"
    OUTPUT = "output"
    POSTROUTING = "postrouting"
    EGRESS = "egress"


class TableFamily(Word):
    """Family of a table, `nft(8)`."""

    IP = "ip"
    IP6 = "ip6"
    INET = "inet"
    ARP = "arp"
    BRIDGE = "bridge"
    NETDEV = "netdev"


class Origin(Word):
    """Which variant a table lives in: each is a set of base chains of its own."""

    IPTABLES_LEGACY = "iptables-legacy"
    IPTABLES_NFT = "iptables-nft"
    NFT = "nft"


class Field(Word):
    """What a match looks at. Values are integers unless noted."""

    SADDR = "saddr"
    DADDR = "daddr"
    PROTOCOL = "l4proto"
    SPORT = "sport"
    DPORT = "dport"
    ICMP_TYPE = "icmp-type"
    ICMP_CODE = "icmp-code"
    ICMPV6_TYPE = "icmpv6-type"
    ICMPV6_CODE = "icmpv6-code"
    TCP_FLAGS = "tcp-flags"
    MARK = "mark"
    CT_MARK = "ct-mark"
    CT_STATE = "ct-state"
    """Bit mask of :class:`CtState`."""
    CT_STATUS = "ct-status"
    """Bit mask of :class:`CtStatus`."""
    CT_PROTOCOL = "ct-l4proto"
    CT_DIRECTION = "ct-direction"
    """0 original, 1 reply."""
    CT_ORIG_SADDR = "ct-orig-saddr"
    CT_ORIG_DADDR = "ct-orig-daddr"
    CT_ORIG_SPORT = "ct-orig-sport"
    CT_ORIG_DPORT = "ct-orig-dport"
    CT_REPL_SADDR = "ct-repl-saddr"
    CT_REPL_DADDR = "ct-repl-daddr"
    CT_REPL_SPORT = "ct-repl-sport"
    CT_REPL_DPORT = "ct-repl-dport"
    IIFNAME = "iifname"
    """A name."""
    OIFNAME = "oifname"
    """A name."""
    PHYSIN = "physin"
    """The bridge port a bridged packet came in by: a name (xt_physdev)."""
    PHYSOUT = "physout"
    """A name."""
    IBRNAME = "ibrname"
    """The bridge that a frame's input interface is a port of: a name."""
    OBRNAME = "obrname"
    """A name."""
    ETHER_SADDR = "ether-saddr"
    ETHER_DADDR = "ether-daddr"
    ETHER_TYPE = "ether-type"
    """The protocol of a frame, which iptables has no word for (`meta protocol`, `ether type`)."""
    ARP_OPERATION = "arp-operation"
    """1 for a question, 2 for an answer."""
    ARP_SADDR_IP = "arp-saddr-ip"
    ARP_DADDR_IP = "arp-daddr-ip"
    ARP_SADDR_ETHER = "arp-saddr-ether"
    ARP_DADDR_ETHER = "arp-daddr-ether"
    SADDR_TYPE = "saddr-type"
    """:class:`AddrType` of the source address in this namespace's FIB."""
    DADDR_TYPE = "daddr-type"
    SADDR_TYPE_IIF = "saddr-type-iif"
    """The same, looked up with the input interface only (`--limit-iface-in`, `fib saddr . iif type`)."""
    DADDR_TYPE_IIF = "daddr-type-iif"
    PKTTYPE = "pkttype"
    """0 unicast to this host, 1 broadcast, 2 multicast, 3 to another host."""
    NFPROTO = "nfproto"
    """2 for IPv4, 10 for IPv6."""
    FRAGMENT = "fragment"
    """1 for a second or later fragment; the model's packets are whole."""


class CtState(Number):
    """Bits of `ct state` (include/uapi/linux/netfilter/nf_conntrack_common.h, nft's numbering)."""

    INVALID = 1
    ESTABLISHED = 2
    RELATED = 4
    NEW = 8
    UNTRACKED = 64


class CtStatus(Number):
    """Bits of `ct status`."""

    EXPECTED = 1
    SEEN_REPLY = 2
    ASSURED = 4
    CONFIRMED = 8
    SNAT = 16
    DNAT = 32


class AddrType(Number):
    """RTN_* of include/uapi/linux/rtnetlink.h, as xt_addrtype and `fib … type` use them."""

    UNSPEC = 0
    UNICAST = 1
    LOCAL = 2
    BROADCAST = 3
    ANYCAST = 4
    MULTICAST = 5
    BLACKHOLE = 6
    UNREACHABLE = 7
    PROHIBIT = 8
    THROW = 9
    NAT = 10
    XRESOLVE = 11


Ranges = tuple[tuple[int, int], ...]
"""Inclusive ranges."""


class Within(Struct, frozen=True):
    """The field's value lies in one of the ranges."""

    field: Field
    ranges: Ranges
    negated: bool = False


class Masked(Struct, frozen=True):
    """`(field & mask) == value`."""

    field: Field
    mask: int
    value: int
    negated: bool = False


class AnyBit(Struct, frozen=True):
    """`(field & mask) != 0`: what `ct state a,b` and `--ctstate A,B` mean."""

    field: Field
    mask: int
    negated: bool = False


class Named(Struct, frozen=True):
    """The name is one of these; a pattern that ends in `*` is a prefix."""

    field: Field
    patterns: tuple[str, ...]
    negated: bool = False


def name_fits(name: str, pattern: str) -> bool:
    """Whether a name is the pattern, or starts with what is before its `*`."""
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


class AnyOf(Struct, frozen=True):
    """At least one alternative holds; an alternative is a conjunction."""

    alternatives: tuple[tuple[Match, ...], ...]
    negated: bool = False


class InSet(Struct, frozen=True):
    """The tuple of fields is an element of a named set (ipset, or an nft set of the rule's own table)."""

    set_name: str
    fields: tuple[Field, ...]
    """Which field each dimension is compared with."""
    negated: bool = False
    ipset: bool = False


class FibOif(Struct, frozen=True):
    """nft's `fib saddr . iif oif`: the device by which an address is routed (net/ipv4/netfilter/nft_fib_ipv4.c)."""

    source: bool
    """Of the source address; else of the destination."""
    limited: bool
    """Only if it is the input interface (`. iif`)."""
    marked: bool
    """Looked up with the packet's mark (`. mark`)."""
    names: tuple[str, ...]
    """The empty name is `missing`."""
    negated: bool = False


class Opaque(Struct, frozen=True):
    """A match that the model cannot evaluate: it may hold or not."""

    text: str
    """As in the source, e.g. `-m string --algo bm --string x`."""


Match = Within | Masked | AnyBit | Named | AnyOf | InSet | FibOif | Opaque


class Accept(Struct, frozen=True):
    """Ends the base chain; later base chains of the hook still run."""


class Drop(Struct, frozen=True):
    """Ends the packet."""


class Reject(Struct, frozen=True):
    """Ends the packet and answers."""

    kind: str = "icmp-port-unreachable"
    """iptables' `--reject-with` word, e.g. `tcp-reset`, `icmp-admin-prohibited`, `icmp6-port-unreachable`, `icmpx-…`."""


class Jump(Struct, frozen=True):
    """Go on in another chain and come back."""

    chain: str


class Goto(Struct, frozen=True):
    """Go on in another chain; its end is the end of the calling chain."""

    chain: str


class Return(Struct, frozen=True):
    """Back to the caller; in a base chain, its policy."""


class Queue(Struct, frozen=True):
    """Handed to a program in user space."""

    bypass: bool = False


class DataMap(Struct, frozen=True):
    """What a named or anonymous nft map holds for the packet; a rule has asked before whether it holds anything."""

    fields: tuple[Field, ...]
    map_name: str


class Nat(Struct, frozen=True):
    """DNAT, SNAT, REDIRECT or MASQUERADE."""

    kind: NatKind
    addresses: tuple[tuple[Ip, Ip], ...] = ()
    """Inclusive ranges; empty: unchanged (DNAT, SNAT) or chosen by the interface (the others)."""
    ports: tuple[int, int] | None = None
    """Inclusive range; None: unchanged where possible."""
    unmodelled: str = ""
    """`--persistent` needs nothing; a shifted port map does."""
    random: bool = False
    """The source port is always changed: `--random`, `--random-fully`."""
    address_map: DataMap | None = None
    """Where the address comes from, and the port too if the elements have one."""
    port_map: DataMap | None = None
    family: TableFamily | None = None
    """Packets of the other family pass by (nft_nat_inet_eval())."""


class NatKind(Word):
    """What a NAT statement rewrites."""

    DNAT = "dnat"
    SNAT = "snat"
    MASQUERADE = "masquerade"
    REDIRECT = "redirect"
    NETMAP = "netmap"


class SetMark(Struct, frozen=True):
    """`field = (field & ~mask) ^ value`; xt_MARK's `--set-xmark value/mask`."""

    field: Field
    value: int
    mask: int = 0xFFFFFFFF


class CopyMark(Struct, frozen=True):
    """`target = (target & ~mask) | ((source & source_mask) ^ toggled)`: CONNMARK save and restore, nft's mark expressions."""

    source: Field
    target: Field
    mask: int = 0xFFFFFFFF
    source_mask: int = 0xFFFFFFFF
    toggled: int = 0


class MapMark(Struct, frozen=True):
    """`meta mark set … map …`."""

    field: Field
    data: DataMap


class Notrack(Struct, frozen=True):
    """The packet gets no connection tracking in this namespace."""


class NoEffect(Struct, frozen=True):
    """LOG, counter, comment, TRACE, MSS clamping: the walk goes on with the next part of the rule."""

    text: str


class SetHopLimit(Struct, frozen=True):
    """HL and `ip6 hoplimit set`: messages of neighbour discovery are void with any but 255 (RFC 4861, 7.1)."""

    value: int


class VerdictMap(Struct, frozen=True):
    """nft `vmap`: look the fields up, and do what the element says, if there is one."""

    fields: tuple[Field, ...]
    map_name: str


class OpaqueStatement(Struct, frozen=True):
    """A target whose effect the model does not know: it may end the walk or change the packet."""

    text: str


Statement = (
    Accept
    | Drop
    | Reject
    | Jump
    | Goto
    | Return
    | Queue
    | Nat
    | SetMark
    | CopyMark
    | MapMark
    | Notrack
    | NoEffect
    | SetHopLimit
    | VerdictMap
    | OpaqueStatement
)


class NfRule(Struct, frozen=True):
    """One rule: the parts are evaluated in order until a match fails or a statement ends it."""

    parts: tuple[Match | Statement, ...]
    evidence: Evidence
    number: int = 0
    """1-based position in its chain, as `iptables -L --line-numbers` counts."""
    comment: str = ""


class ChainType(Word):
    """Type of an nft base chain."""

    FILTER = "filter"
    NAT = "nat"
    ROUTE = "route"


class Base(Struct, frozen=True):
    """How a base chain is attached."""

    hook: Hook
    priority: int
    type: ChainType = ChainType.FILTER
    policy_drop: bool = False
    devices: tuple[str, ...] = ()
    evidence: Evidence | None = None
    """The line that gives the policy."""


class Chain(Struct, frozen=True):
    """A chain; `base` is None for one that is only jumped to."""

    name: str
    rules: tuple[NfRule, ...] = ()
    base: Base | None = None


class SetElement(Struct, frozen=True):
    """One element: per dimension a range of integers, or a name."""

    key: tuple[tuple[int, int] | str, ...]
    verdict: Statement | None = None
    evidence: Evidence | None = None
    negated: bool = False
    """ipset `nomatch`."""
    data: tuple[tuple[int, int], ...] = ()
    """What a map gives for the key: per dimension a range."""


PORT_OF = {Field.SADDR: Field.SPORT, Field.DADDR: Field.DPORT}
"""The port that `src` or `dst` means in the `port` dimension of an ipset."""


class NamedSet(Struct, frozen=True, dict=True):
    """An ipset, an nft set or an nft verdict map."""

    name: str
    elements: tuple[SetElement, ...]
    unmodelled: str = ""
    """Not empty: membership cannot be told, and why."""
    evidence: Evidence | None = None
    dimensions: tuple[str, ...] = ()
    """ipset only: `ip`, `net`, `port`, `iface` or `mark` per dimension; a port is kept as protocol × 65536 + port."""

    @cached_property
    def by_first(self) -> SetIndex[SetElement]:
        """The elements by their first dimension."""
        return SetIndex([(element.key[0], element) for element in self.elements if element.key])


class NfTable(Struct, frozen=True):
    """A table of one family in one variant."""

    family: TableFamily
    name: str
    origin: Origin
    chains: Mapping[str, Chain]
    sets: Mapping[str, NamedSet] = field(default_factory=lambda: MappingProxyType({}))


class Ruleset(Struct, frozen=True):
    """All tables of a namespace."""

    tables: tuple[NfTable, ...] = ()
    ipsets: Mapping[str, NamedSet] = field(default_factory=lambda: MappingProxyType({}))
    missing: Mapping[TableFamily, str] = field(default_factory=lambda: MappingProxyType({}))
    """Families whose rules were not captured, with the reason: every hook of theirs is unknown."""
