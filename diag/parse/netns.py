"""One namespace's folder of a bundle: links, routes, rules, netfilter, sysctls, sockets."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import TypeVar

from diag.model.address import Family
from diag.model.bundle import FileRecord
from diag.model.message import say
from diag.model.netfilter import Hook, NfTable, Origin, Ruleset, TableFamily
from diag.model.netns import LOST, HostsEntry, Link, Netns, PolicyRule, ResolvConf, Route, RouteType, Socket
from diag.model.provenance import Gap, GapKind
from diag.parse.bridge_ports import parse_bridge_json, parse_bridge_text, with_ports
from diag.parse.equal_files import EqualFiles
from diag.parse.fdb import parse_fdb
from diag.parse.ipset import parse_ipset
from diag.parse.iptables_save import parse_iptables_save
from diag.parse.links import merge_links, parse_links_json, parse_links_text
from diag.parse.neighbours import parse_neighbours
from diag.parse.nft_json import parse_nft_json
from diag.parse.resolver_files import parse_hosts, parse_resolv_conf
from diag.parse.result import Parsed
from diag.parse.routes import local_routes, parse_routes_json, parse_routes_text
from diag.parse.rules import parse_rules_json, parse_rules_text
from diag.parse.sockets import parse_sockets
from diag.parse.sysctl import SysctlFacts, parse_sysctl

T = TypeVar("T")

_SAVE_FILES = (
    ("iptables-save.txt", TableFamily.IP),
    ("iptables-legacy-save.txt", TableFamily.IP),
    ("ip6tables-save.txt", TableFamily.IP6),
    ("ip6tables-legacy-save.txt", TableFamily.IP6),
)
_LOCAL = (PolicyRule(0, "lookup", "local"),)
_LOST = PolicyRule(1, LOST)
"""After the rule for the local table: addresses that are there are the namespace's own, whatever else was lost."""
_NO_SYSCTLS: SysctlFacts = (MappingProxyType({}), MappingProxyType({}))


@dataclass
class NetnsReader:
    """Reads the files of one folder and collects what was missing or unreadable."""

    files: Mapping[str, bytes]
    """By their names in the folder."""
    records: Mapping[str, FileRecord]
    """What the manifest says of files, by their paths in the bundle."""
    prefix: str
    """`host/`, `containers/<id>/` or `netns/<name>/`."""
    label: str
    """What a person calls the namespace."""
    equal: EqualFiles = field(default_factory=EqualFiles)
    """What the files of other namespaces gave."""
    gaps: list[Gap] = field(default_factory=list)

    def read(self, netns: str) -> Netns:
        """All that is there; a part whose file is missing is None and has a gap."""
        links = self._links()
        if self.prefix != "host/" and self._is_damaged("ip-addr", "ip-link", "ifconfig"):
            links = None  # of the host what was read stays: where it leads to is known to be unknown
        routes = {family: self._routes(family, links) for family in Family}
        sysctl, sysctl_evidence = self._take(("sysctl.txt",), parse_sysctl) or _NO_SYSCTLS
        return Netns(
            netns,
            links,
            MappingProxyType(routes),
            MappingProxyType({family: self._rules(family) for family in Family}),
            self._take(("ip-neigh.json", "ip-neigh.txt"), parse_neighbours) or (),
            sysctl,
            sysctl_evidence,
            self._ruleset(),
            self._sockets(),
            self.hosts,
            self.resolv_conf,
            self._take(("bridge-fdb.json", "bridge-fdb.txt"), parse_fdb) or (),
        )

    @cached_property
    def hosts(self) -> tuple[HostsEntry, ...] | None:
        """`/etc/hosts`, where it was captured."""
        return self._take(("hosts",), parse_hosts)

    @cached_property
    def resolv_conf(self) -> ResolvConf | None:
        """`/etc/resolv.conf`, where it was captured."""
        return self._take(("resolv.conf",), parse_resolv_conf)

    def has(self, name: str) -> bool:
        """Whether the bundle holds the file."""
        return name in self.files

    def _take(self, names: tuple[str, ...], parse: Callable[..., Parsed[T]], *options: Hashable) -> T | None:
        """Parse the first of these files that is there."""
        for name in names:
            data = self.files.get(name)
            if data is not None:
                parsed = self.equal.parse(parse, data, self.prefix + name, *options)
                if parsed.gaps:
                    self.gaps += parsed.gaps
                return parsed.value
        return None

    def _is_damaged(self, *stems: str) -> bool:
        """Whether a part of any of these files could not be read."""
        if not self.gaps:
            return False
        paths = {f"{self.prefix}{stem}.{suffix}" for stem in stems for suffix in ("json", "txt")}
        return any(gap.kind is GapKind.UNREADABLE and gap.file in paths for gap in self.gaps)

    def missing(self, name: str, what: str, affects: str) -> None:
        """Record that a file is not there, with the collector's own reason if the manifest has one."""
        path = self.prefix + name
        record = self.records.get(path)
        if record is not None and record.error:
            detail = say("{what} could not be captured: {why}", what=what, why=record.error)
            self.gaps.append(Gap(GapKind.FAILED, path, 0, detail, affects))
        elif what.endswith("s"):
            detail = say("{what} of {whose} were not captured", what=what, whose=self.label)
            self.gaps.append(Gap(GapKind.MISSING, path, 0, detail, affects))
        else:
            detail = say("{what} of {whose} was not captured", what=what, whose=self.label)
            self.gaps.append(Gap(GapKind.MISSING, path, 0, detail, affects))

    def _links(self) -> tuple[Link, ...] | None:
        links = self._take(("ip-addr.json",), parse_links_json)
        for name in ("ip-addr.txt", "ip-link.txt", "ifconfig.txt"):
            more = self._take((name,), parse_links_text)
            if more is not None:
                links = more if links is None else merge_links(links, more)
        ports = self._take(("bridge-link.json",), parse_bridge_json)
        for name in ("bridge-link.txt", "brctl-show.txt"):
            more_ports = self._take((name,), parse_bridge_text)
            ports = more_ports if ports is None else (*ports, *(more_ports or ()))
        if links is None and not ports:
            self.missing("ip-addr.json", say("the interfaces"), say("every flow through {who}", who=self.label))
            return None
        return with_ports(links or (), ports) if ports else links

    def _routes(self, family: Family, links: tuple[Link, ...] | None) -> tuple[Route, ...] | None:
        stem = "ip-route" if family is Family.IPV4 else "ip6-route"
        found = self._take((f"{stem}.json",), parse_routes_json, family)
        if found is None:
            found = self._take((f"{stem}.txt",), parse_routes_text, family)
        if found is None:
            if family is Family.IPV4 and self.label:
                affects = say("every flow that {who} sends or forwards", who=self.label)
                self.missing(f"{stem}.json", say("the routes"), affects)
            return None
        if not any(route.type is RouteType.LOCAL for route in found):
            found = (*found, *local_routes(links or (), family))
        return found

    def _rules(self, family: Family) -> tuple[PolicyRule, ...] | None:
        stem = "ip-rule" if family is Family.IPV4 else "ip6-rule"
        found = self._take((f"{stem}.json",), parse_rules_json, family)
        if found is None:
            found = self._take((f"{stem}.txt",), parse_rules_text, family)
        if self._is_damaged(stem, stem.replace("rule", "route")):
            return (*(found or _LOCAL), _LOST)
        return found or None  # no namespace is without: the command failed

    def _sockets(self) -> tuple[Socket, ...] | None:
        found: list[Socket] | None = None
        for name in ("tcp", "tcp6", "udp", "udp6"):
            part = self._take((f"proc-net-{name}.txt",), parse_sockets, name.removesuffix("6"))
            if part is not None:
                found = [*(found or []), *part]
        return None if found is None else tuple(found)

    # Netfilter

    def _ruleset(self) -> Ruleset:
        tables: list[NfTable] = []
        for name, family in _SAVE_FILES:
            data = self.files.get(name)
            if data is not None:
                found = self._take((name,), parse_iptables_save, family, _origin(name, data)) or ()
                tables.extend(t for t in found if not _known(t, tables))
        nft = self._nft(tables)
        ipsets = self._take(("ipset.txt",), parse_ipset) or {}
        return Ruleset((*tables, *nft), MappingProxyType(ipsets), MappingProxyType(self._missing_families()))

    def _nft(self, tables: list[NfTable]) -> tuple[NfTable, ...]:
        shown = frozenset((t.family.value, t.name) for t in tables if t.origin is Origin.IPTABLES_NFT)
        found = self._take(("nft-ruleset.json",), parse_nft_json, shown)
        if found is None or (self.has("nft-ruleset.txt") and _lacks_devices(found)):
            found = self._nft_text(shown)
        if found is None and self.prefix == "host/":
            self.missing("nft-ruleset.json", say("the native nft ruleset"), "")
        return found or ()

    def _nft_text(self, shown: frozenset[tuple[str, str]]) -> tuple[NfTable, ...] | None:
        if not self.has("nft-ruleset.txt"):
            return None
        from diag.parse.nft_text import parse_nft_text  # few bundles need it

        return self._take(("nft-ruleset.txt",), parse_nft_text, shown)

    def _missing_families(self) -> dict[TableFamily, str]:
        if self.has("nft-ruleset.json") or self.has("nft-ruleset.txt"):
            return {}
        lost: dict[TableFamily, str] = {}
        if not self.has("iptables-save.txt") and not self.has("iptables-legacy-save.txt"):
            lost[TableFamily.IP] = self._lost_rules("iptables-save.txt", say("the IPv4 rules"))
        if self.prefix == "host/" and not self.has("ip6tables-save.txt") and not self.has("ip6tables-legacy-save.txt"):
            lost[TableFamily.IP6] = self._lost_rules("ip6tables-save.txt", say("the IPv6 rules"))
        return lost

    def _lost_rules(self, name: str, what: str) -> str:
        self.missing(name, what, say("every flow that meets the rules of {who}", who=self.label))
        record = self.records.get(self.prefix + name)
        if record is not None and record.error:
            return record.error
        return say("{file} is not in the bundle", file=self.prefix + name)


def _lacks_devices(tables: tuple[NfTable, ...]) -> bool:
    """JSON of nft 1.0.6 does not say to which devices a chain is attached; text does."""
    bases = [chain.base for table in tables for chain in table.chains.values()]
    return any(base and base.hook in (Hook.INGRESS, Hook.EGRESS) and not base.devices for base in bases)


def _origin(name: str, data: bytes) -> Origin:
    """Versions before 1.8 name no variant: they are legacy."""
    head = data[:4096]
    if "legacy" in name or b"legacy" in head.split(b"\n", 1)[0]:
        return Origin.IPTABLES_LEGACY
    if b"nf_tables" in head or b"iptables-nft-save" in head or b"ip6tables-nft-save" in head or not head.strip():
        return Origin.IPTABLES_NFT
    return Origin.IPTABLES_LEGACY


def _known(table: NfTable, tables: list[NfTable]) -> bool:
    """The legacy rules once more, from a host whose plain iptables is the legacy variant."""
    return any(
        t.origin is table.origin is Origin.IPTABLES_LEGACY and t.family is table.family and t.name == table.name
        for t in tables
    )
