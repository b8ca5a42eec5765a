"""The host's netfilter rules of one family, indexed in one pass for what Docker should have made.

What Docker makes, by version: moby 20.10 to 27 libnetwork/drivers/bridge/setup_ip_tables_linux.go (rules of each network in
FORWARD itself), 28.0.1 and later .../internal/iptabler (in DOCKER-FORWARD and chains below it), 29 with the nftables backend
.../internal/nftabler (table `docker-bridges`). All of them accept what comes in by a network's bridge, and rewrite the
source of what leaves its subnet for elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from diag.model.address import Family, Prefix
from diag.model.flow import TCP, UDP
from diag.model.netfilter import (
    Accept,
    AnyBit,
    Base,
    Chain,
    Drop,
    Field,
    Goto,
    Hook,
    Jump,
    Masked,
    Named,
    Nat,
    NatKind,
    NfRule,
    NfTable,
    OpaqueStatement,
    Origin,
    Reject,
    Ruleset,
    TableFamily,
    VerdictMap,
    Within,
)
from diag.model.provenance import Evidence
from diag.model.snapshot import Snapshot

NATIVE_TABLE = "docker-bridges"
"""Docker's own table with the nftables backend."""
PROTOCOLS = {"tcp": TCP, "udp": UDP, "sctp": 132}
"""Numbers of the protocols of which Docker publishes ports."""
_NFT_LISTINGS = ("host/nft-ruleset.json", "host/nft-ruleset.txt")
_SAVES = {
    Family.IPV4: ("host/iptables-save.txt", "host/iptables-legacy-save.txt"),
    Family.IPV6: ("host/ip6tables-save.txt", "host/ip6tables-legacy-save.txt"),
}
_OUTGOING = "filter-forward-out__"
"""Chains of the nftables backend for what comes in by a bridge; its name follows."""
_INCOMING = "filter-forward-in__"
"""The same for what goes out by a bridge."""
_LEADING = frozenset({Jump, Goto, VerdictMap})
"""Parts of rules that lead to other chains."""
TRANSLATING = frozenset({Nat, OpaqueStatement})
"""Parts that translate addresses, or may do so."""
_SOURCE_NAT = frozenset({NatKind.SNAT, NatKind.MASQUERADE})
_OF_SOME_PACKETS = frozenset(
    {Field.DADDR, Field.PROTOCOL, Field.SPORT, Field.DPORT, Field.SADDR_TYPE, Field.DADDR_TYPE, Field.MARK}
)
"""Fields that a rule which rewrites everything of a subnet does not ask for."""


class Place(Struct, frozen=True):
    """A rule with the table and the chain that it is in."""

    table: NfTable
    chain: str
    rule: NfRule


class HostRules:
    """Built once per host and family."""

    def __init__(self, snapshot: Snapshot, ruleset: Ruleset, family: Family) -> None:
        own = TableFamily.IP if family is Family.IPV4 else TableFamily.IP6
        self.family = family
        tables = [table for table in ruleset.tables if table.family in (own, TableFamily.INET)]
        self.iptables = [table for table in tables if table.origin is not Origin.NFT]
        self.native = next((t for t in tables if t.family is own and t.name == NATIVE_TABLE), None)
        self.uses_nft = snapshot.engine.firewall_backend.startswith("nftables") or (
            not snapshot.engine.firewall_backend and self.native is not None
        )
        """Docker's firewall backend is nftables."""
        self.complete = own not in ruleset.missing and (
            any(name in snapshot.files for name in _NFT_LISTINGS)
            if self.uses_nft
            else any(name in snapshot.files for name in _SAVES[family])
            and all(rule.number for table in self.iptables for c in table.chains.values() for rule in c.rules)
        )
        """All rules of Docker's backend were captured: lines that were left out stand as rules without a number."""
        self.shows_both_variants = self.uses_nft or all(name in snapshot.files for name in _SAVES[family])
        """Rules that are not in one variant of iptables would be seen in the other."""
        self.reached: set[tuple[str, Hook, str]] = set()
        """Table, hook, and chain that packets may meet there."""
        self.accepted_from: dict[str, Place] = {}
        """Interfaces from which some rule on a packet's way through FORWARD accepts, other than an administrator's in
        DOCKER-USER; a name may end in `*`."""
        self.bridged_drops: dict[str, Place] = {}
        """Interfaces between whose own ports nothing passes."""
        self.into_internal: set[str] = set()
        """Bridges that drop what comes from outside of their subnet."""
        self.out_of_internal: set[str] = set()
        """Bridges that drop what leaves their subnet."""
        self.published: dict[tuple[int, int], list[Place]] = {}
        """DNAT of what comes in, by protocol and port."""
        self.wide_dnat = False
        """Some DNAT is not of one single port: it may publish any."""
        self.direct_drops: dict[int, Place] = {}
        """By container address: what drops packets to it that do not come over its bridge (28.0.2 and later)."""
        self.loopback_drops: set[tuple[int, int]] = set()
        """Protocol and port of those published on the host's loopback that strangers do not get at (28 and later)."""
        self.opened: dict[tuple[int, int, int], Place] = {}
        """By address, protocol and port: what lets packets for a published port in."""
        self.closing: list[Place] = []
        """What drops or refuses packets for a port of the host's own."""
        self._exact_sources: dict[tuple[int, int], NfRule] = {}
        self._source_nat: list[NfRule] = []
        for table in tables:
            self._index(table)

    @property
    def has_docker_chains(self) -> bool:
        """Docker has been at work in this family, with the backend that it uses now."""
        if self.uses_nft:
            return self.native is not None
        return any(name == "DOCKER" or name.startswith("DOCKER-") for table in self.iptables for name in table.chains)

    @property
    def forward(self) -> Base | None:
        """The chain where Docker's backend starts with packets that are forwarded."""
        tables = [self.native] if self.native is not None and self.uses_nft else self.iptables
        for table in tables:
            for chain in table.chains.values():
                named = table.name == "filter" or table is self.native
                if named and chain.base is not None and chain.base.hook is Hook.FORWARD:
                    return chain.base
        return None

    @property
    def forward_line(self) -> Evidence | None:
        """The line that gives its policy."""
        return self.forward.evidence if self.forward is not None else None

    @property
    def is_filtered(self) -> bool:
        """Docker has chains for what is forwarded in this family, whether they are in force or not."""
        return self.native is not None or any(
            table.name == "filter" and name.startswith("DOCKER") for table in self.iptables for name in table.chains
        )

    @property
    def publishes(self) -> bool:
        """Whether the packets that come in meet the chain of Docker's published ports."""
        if self.uses_nft:
            return (NATIVE_TABLE, Hook.PREROUTING, "nat-prerouting-and-output") in self.reached
        return ("nat", Hook.PREROUTING, "DOCKER") in self.reached

    def has_table(self, name: str) -> bool:
        """Whether the capture shows an iptables table; a host where everything was flushed shows none at all."""
        return not self.iptables or any(table.name == name for table in self.iptables)

    def accepts_from(self, bridge: str) -> bool:
        """Whether FORWARD has a rule that accepts what comes in by a bridge."""
        return bridge in self.accepted_from or any(
            name.endswith("*") and bridge.startswith(name[:-1]) for name in self.accepted_from
        )

    def rewrites_source(self, subnet: Prefix) -> bool:
        """Whether some rule masquerades or rewrites what leaves a subnet; one that cannot be read counts as one."""
        return (subnet.first, subnet.last) in self._exact_sources or any(
            _covers(rule, subnet) for rule in self._source_nat
        )

    def masquerading(self, subnet: Prefix, bridge: str) -> NfRule | None:
        """The rule of Docker's kind that rewrites what leaves a subnet by anything but its bridge."""
        rule = self._exact_sources.get((subnet.first, subnet.last))
        if rule is None or not any(
            isinstance(part, Named) and part.field is Field.OIFNAME and part.negated and bridge in part.patterns
            for part in rule.parts
        ):
            return None
        return rule

    # The pass

    def _index(self, table: NfTable) -> None:
        # Types are compared by themselves here and below: to hear from isinstance() that a Struct is none takes long.
        for hook, chain, rule in self._met(table):
            last = rule.parts[-1] if rule.parts else None
            if type(last) is Nat:
                if last.kind is NatKind.DNAT and hook is Hook.PREROUTING:
                    self._dnat(Place(table, chain, rule))
                elif last.kind in _SOURCE_NAT:
                    self._snat(rule)
            elif type(last) is Accept and hook is Hook.FORWARD:
                self._forward_accept(Place(table, chain, rule))
            elif type(last) is Drop and hook is Hook.FORWARD:
                self._forward_drop(Place(table, chain, rule))
            elif type(last) is Drop and hook is Hook.PREROUTING:
                self._early_drop(Place(table, chain, rule))
            elif isinstance(last, (Drop, Reject)) and hook is Hook.INPUT and _asks_port(rule):
                self.closing.append(Place(table, chain, rule))

    def _met(self, table: NfTable) -> Iterator[tuple[Hook, str, NfRule]]:
        """Every rule that packets may meet, once for each hook that leads to it."""
        below: dict[str, tuple[str, ...]] = {}
        for base in table.chains.values():
            if base.base is None:
                continue
            hook, pending, seen = base.base.hook, [base.name], {base.name}
            while pending:
                chain = table.chains[pending.pop()]
                self.reached.add((table.name, hook, chain.name))
                for rule in chain.rules:
                    yield hook, chain.name, rule
                if chain.name not in below:
                    below[chain.name] = _targets(table, chain)
                found = [name for name in below[chain.name] if name not in seen]
                seen.update(found)
                pending += found

    def _forward_accept(self, place: Place) -> None:
        port, chain = _opened(place.rule), place.chain
        if port is not None:
            self.opened.setdefault(port, place)
        elif chain != "DOCKER-USER" and not chain.startswith(_INCOMING):
            for name in _names(place.rule, Field.IIFNAME) if not _names(place.rule, Field.OIFNAME) else ():
                self.accepted_from.setdefault(name, place)
            if chain.startswith(_OUTGOING) and not any(isinstance(part, AnyBit) for part in place.rule.parts):
                self.accepted_from.setdefault(chain.removeprefix(_OUTGOING), place)

    def _forward_drop(self, place: Place) -> None:
        rule = place.rule
        into, out_of = _names(rule, Field.OIFNAME), _names(rule, Field.IIFNAME)
        fields = {part.field for part in rule.parts if isinstance(part, (Named, Within))}
        names_only = fields <= {Field.IIFNAME, Field.OIFNAME}
        for name in out_of:
            if names_only and (name in into or place.chain == _INCOMING + name):
                self.bridged_drops.setdefault(name, place)
        strangers = {part.field for part in rule.parts if isinstance(part, Within) and part.negated}
        if Field.SADDR in strangers:
            self.into_internal.update(into)
        if Field.DADDR in strangers:
            self.out_of_internal.update(out_of)
        elsewhere = {(p.field, name) for p in rule.parts if isinstance(p, Named) and p.negated for name in p.patterns}
        for way, name in elsewhere if names_only else ():
            if place.chain == _INCOMING + name and way is Field.IIFNAME:
                self.into_internal.add(name)
            if place.chain == _OUTGOING + name and way is Field.OIFNAME:
                self.out_of_internal.add(name)

    def _early_drop(self, place: Place) -> None:
        address = _single(place.rule, Field.DADDR)
        if address is None or not any(type(p) is Named and p.negated for p in place.rule.parts):
            return
        protocol, port = _single(place.rule, Field.PROTOCOL), _single(place.rule, Field.DPORT)
        if protocol is None or port is None:
            self.direct_drops.setdefault(address, place)
        elif self.family is Family.IPV4 and address >> 24 == 127:
            self.loopback_drops.add((protocol, port))

    def _dnat(self, place: Place) -> None:
        protocol, port = _single(place.rule, Field.PROTOCOL), _single(place.rule, Field.DPORT)
        if protocol is None or port is None:
            self.wide_dnat = True
        else:
            self.published.setdefault((protocol, port), []).append(place)

    def _snat(self, rule: NfRule) -> None:
        asked = {part.field for part in rule.parts if isinstance(part, (Within, Named, Masked)) and not part.negated}
        if asked & _OF_SOME_PACKETS:
            return
        for part in rule.parts:
            if isinstance(part, Within) and part.field is Field.SADDR and not part.negated and len(part.ranges) == 1:
                self._exact_sources.setdefault(part.ranges[0], rule)
        self._source_nat.append(rule)


def _targets(table: NfTable, chain: Chain) -> tuple[str, ...]:
    """The chains that a chain's rules lead to, in their order."""
    found: list[str] = []
    for part in [part for rule in chain.rules for part in rule.parts if type(part) in _LEADING]:
        if isinstance(part, (Jump, Goto)):
            found.append(part.chain)
        elif isinstance(part, VerdictMap) and part.map_name in table.sets:
            verdicts = (element.verdict for element in table.sets[part.map_name].elements)
            found += [verdict.chain for verdict in verdicts if isinstance(verdict, (Jump, Goto))]
    return tuple(dict.fromkeys(name for name in found if name in table.chains))


def _names(rule: NfRule, field: Field) -> tuple[str, ...]:
    for part in rule.parts:
        if type(part) is Named and part.field is field and not part.negated:
            return part.patterns
    return ()


def _asks_port(rule: NfRule) -> bool:
    return any(isinstance(part, Within) and part.field is Field.DPORT and not part.negated for part in rule.parts)


def _single(rule: NfRule, field: Field) -> int | None:
    """The one value that the rule asks a field for."""
    for part in rule.parts:
        if type(part) is Within and part.field is field and not part.negated and len(part.ranges) == 1:
            low, high = part.ranges[0]
            return low if low == high else None
    return None


def _opened(rule: NfRule) -> tuple[int, int, int] | None:
    """Address, protocol and port of a rule that asks for one of each."""
    address = _single(rule, Field.DADDR)
    protocol = None if address is None else _single(rule, Field.PROTOCOL)
    port = None if protocol is None else _single(rule, Field.DPORT)
    return None if address is None or protocol is None or port is None else (address, protocol, port)


def _covers(rule: NfRule, subnet: Prefix) -> bool:
    for part in rule.parts:
        if isinstance(part, Within) and part.field is Field.SADDR:
            inside = any(low <= subnet.first and subnet.last <= high for low, high in part.ranges)
            outside = all(subnet.last < low or high < subnet.first for low, high in part.ranges)
            if not (outside if part.negated else inside):
                return False
    return True
