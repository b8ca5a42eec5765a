"""What the analysis says: the data behind `analysis.json` and every report. Plain data, already explained."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import islice, pairwise
from operator import attrgetter

from msgspec import Struct, field

from diag.model.finding import Finding
from diag.model.flow import Hop
from diag.model.message import SEMICOLON, listed, say
from diag.model.provenance import Evidence, Gap
from diag.model.reasons import Reachability, Reason, Via
from diag.model.snapshot import Snapshot

ALL, NONE = say("all"), say("none")
"""Of ports."""
_FIRST, _LAST = 1, 65535


def _listed(ranges: Iterable[tuple[int, int]]) -> str:
    return ",".join([str(lo) if lo == hi else f"{lo}-{hi}" for lo, hi in ranges])


def _cut(ranges: Iterable[tuple[int, int]]) -> str:
    text = _listed(islice(ranges, _SHORT))  # of which each is a digit and a comma at least
    return text if len(text) <= _SHORT else f"{text[: _SHORT - 3].rpartition(',')[0]},…"


_SHORT = 60
"""Characters."""


class PortSet(Struct, frozen=True):
    """Destination ports as sorted, disjoint, inclusive ranges within 1-65535."""

    ranges: tuple[tuple[int, int], ...] = ()

    @property
    def is_all(self) -> bool:
        return self.ranges == ((_FIRST, _LAST),)

    def __contains__(self, port: int) -> bool:
        return any(lo <= port <= hi for lo, hi in self.ranges)

    def __bool__(self) -> bool:
        return bool(self.ranges)

    def __str__(self) -> str:
        """For a program: `all`, `none` or `80,443,8000-8100`."""
        return self._named or _listed(self.ranges)

    @property
    def words(self) -> str:
        """For a person: as for a program, but `all but 53` where the ports that are left out are fewer."""
        return self._told(_listed)

    @property
    def short(self) -> str:
        """The same, of which a long list is cut: `80,443,…`."""
        return self._told(_cut)

    def _told(self, told: Callable[[Iterable[tuple[int, int]]], str]) -> str:
        if self._named:
            return self._named
        if not self._leaves_out_few:
            return told(self.ranges)
        left_out = ((before[1] + 1, after[0] - 1) for before, after in pairwise(self.ranges))
        return say("all but {ports}", ports=told(left_out))

    @property
    def _named(self) -> str:
        if not self.ranges:
            return NONE
        return ALL if self.is_all else ""

    @property
    def _leaves_out_few(self) -> bool:
        """From the first port to the last, most of them."""
        if self.ranges[0][0] != _FIRST or self.ranges[-1][1] != _LAST:
            return False
        return 2 * sum([hi - lo + 1 for lo, hi in self.ranges]) > _LAST


_words = attrgetter("words")


class Allowed(Struct, frozen=True):
    """Exactly what is delivered and answered; ports in `unknown_*` cannot be told."""

    icmp: bool | None = False
    """None: cannot be told."""
    tcp: PortSet = PortSet()
    udp: PortSet = PortSet()
    unknown_tcp: PortSet = PortSet()
    unknown_udp: PortSet = PortSet()

    @property
    def everything(self) -> bool:
        return self.icmp is True and self.tcp.is_all and self.udp.is_all

    @property
    def nothing(self) -> bool:
        return self.icmp is False and not (self.tcp or self.udp or self.unknown_tcp or self.unknown_udp)

    @property
    def certain(self) -> bool:
        return self.icmp is not None and not self.unknown_tcp and not self.unknown_udp

    def __str__(self) -> str:
        """For a program: `icmp; tcp 80,443; udp all`, or `none`; what cannot be told has a `?`."""
        return self._put(str)

    @property
    def words(self) -> str:
        """For a person: the same with `udp all but 53`."""
        return self._put(_words)

    def _put(self, told: Callable[[PortSet], str]) -> str:
        parts: list[str] = []
        if self.icmp is not False:
            parts.append("icmp" if self.icmp else "icmp?")
        for name, known, unknown in (("tcp", self.tcp, self.unknown_tcp), ("udp", self.udp, self.unknown_udp)):
            if known:
                parts.append(say("{protocol} {ports}", protocol=name, ports=told(known)))
            if unknown:
                parts.append(say("{protocol}? {ports}", protocol=name, ports=told(unknown)))
        return listed(parts, SEMICOLON) if parts else NONE


class Fix(Struct, frozen=True):
    """A command that was applied to the model before it is suggested."""

    command: str
    """One line for a root shell on the host."""
    effect: Reachability
    """What the pair becomes."""
    opens: tuple[tuple[str, str], ...] = ()
    """Every ordered pair that it opens, this one included."""
    note: str = ""


class Path(Struct, frozen=True):
    """One way from source to destination: one destination address, or in a group one class of them."""

    family: str
    """`ipv4`, `ipv6`, or empty when the destination has no address the source could use."""
    address: str
    """The destination address; in a group empty unless all pairs share it."""
    network: str
    """The Docker network that the address belongs to; empty for none."""
    reachability: Reachability
    allowed: Allowed
    reason: Reason
    decided_by: Evidence | None
    explanation: str
    """Sentences a tired engineer understands; in a group they speak of its example pair."""
    hops: tuple[Hop, ...] = ()
    """There; for the witness packet of this path."""
    hops_back: tuple[Hop, ...] = ()
    fixes: tuple[Fix, ...] = ()
    partial: tuple[str, ...] = ()
    """For `partial`: one clause per blocked set of ports, with its rule."""
    stoppers: tuple[tuple[Reason, Evidence], ...] = ()
    """Every rule or policy that stops some of the flows there or back; in a group those of its example pair."""


class NameAnswer(Struct, frozen=True):
    """A name as one container resolves it."""

    name: str
    addresses: tuple[str, ...]
    via: Via | None
    reason: Reason | None = None
    """Why it is not found."""
    evidence: Evidence | None = None
    target: str = ""
    """The container that owns the address."""
    explanation: str = ""


class PairResult(Struct, frozen=True):
    """One ordered pair."""

    source: str
    destination: str
    reachability: Reachability
    paths: tuple[Path, ...]
    names: tuple[NameAnswer, ...] = ()


class Group(Struct, frozen=True):
    """Every ordered pair of `sources` × `destinations` (a container with itself left out) behaves alike."""

    sources: tuple[str, ...]
    destinations: tuple[str, ...]
    reachability: Reachability
    paths: tuple[Path, ...]
    example: tuple[str, str]
    """The pair that explanation and hops speak of."""

    @property
    def pairs(self) -> int:
        return sum(1 for s in self.sources for d in self.destinations if s != d)


class MissingNames(Struct, frozen=True):
    """Names of other containers that one cannot resolve, all for one reason."""

    names: tuple[str, ...]
    """The first of them."""
    count: int
    """All of them."""
    reason: Reason | None
    explanation: str


class NameScope(Struct, frozen=True):
    """What one container can call the others."""

    container: str
    resolver: str
    """`embedded-dns` (127.0.0.11), `hosts-only`, or the external resolver's address."""
    names: tuple[NameAnswer, ...]
    """Every name that it resolves to a container or an address of its hosts file."""
    missing: tuple[MissingNames, ...] = ()
    """Names of other containers that it cannot resolve, by reason."""
    shared: tuple[tuple[NameAnswer, ...], ...] = ()
    """What all containers resolve that are on each of its networks, one object for all of them; the first with a name counts."""


class InterfaceRole(Struct, frozen=True):
    """Row 1 of the product: who is what on the host."""

    name: str
    role: str
    """A phrase: `bridge of test_net1`, `veth of web (eth0) on docker0`, `the host's uplink`, `loopback`."""
    addresses: tuple[str, ...]
    container: str = ""
    bridge: str = ""
    state: str = "up"
    """`up`, `down`, `no-carrier`."""
    evidence: Evidence | None = None


class Analysis(Struct, frozen=True):
    """One host, analysed."""

    snapshot: Snapshot
    interfaces: tuple[InterfaceRole, ...]
    groups: tuple[Group, ...]
    """Every ordered pair of containers is in exactly one."""
    endpoints: tuple[Group, ...]
    """Every ordered pair with `@host` or `@world`, in groups of their own."""
    names: tuple[NameScope, ...]
    gaps: tuple[Gap, ...]
    notes: tuple[str, ...] = ()
    """Facts worth a sentence that belong to no pair, e.g. a fixed address, an address that changes on restart."""
    roles: Mapping[str, str] = field(default_factory=dict)
    """Container name to a phrase on its network mode."""
    findings: tuple[Finding, ...] = ()
    """What the checks found, the worst first."""

    @property
    def counts(self) -> dict[Reachability, int]:
        """Pairs by reachability."""
        found = dict.fromkeys(Reachability, 0)
        for group in self.groups:
            found[group.reachability] += group.pairs
        return found
