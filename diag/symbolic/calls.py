"""The host's hooks for all flows of one kind of caller, and what becomes of them.

The kernel's behaviour is that of the interpreter's modules, told over sets: net/ipv4/ip_forward.c,
net/bridge/br_netfilter_hooks.c, net/netfilter/core.c, nf_conntrack_core.c, nf_nat_core.c.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

from msgspec.structs import replace

from diag.kernel import sysctl
from diag.kernel.hooks import NAT_PRIORITY
from diag.kernel.topology import Topology
from diag.model.address import Family
from diag.model.docker import DockerNetwork
from diag.model.netfilter import Field, Hook
from diag.model.netns import Link
from diag.model.snapshot import Snapshot
from diag.symbolic.discovery import unheard
from diag.symbolic.hooks import before_conntrack, run_hook
from diag.symbolic.kinds import Kind, Kinds
from diag.symbolic.own_discovery import unheard_inside
from diag.symbolic.own_rules import OwnRules
from diag.symbolic.pairs import Pairs
from diag.symbolic.policy_rules import picked
from diag.symbolic.rules import Blocker, Outcome, RuleWalker
from diag.symbolic.space import Set
from diag.symbolic.stacks import NOWHERE, routes_by_mark
from diag.symbolic.tables import TABLES
from diag.symbolic.view import Packet, View

_OF_MASKED = frozenset({Field.CT_STATUS, Field.CT_REPL_DADDR, Field.CT_REPL_DPORT})
"""What is different where the host's address stands for the caller's."""
_OF_TRANSLATED = frozenset({Field.CT_STATUS, Field.CT_ORIG_DADDR, Field.CT_ORIG_DPORT})
"""What is different where a flow got another destination."""
_PORTS_OF_BRIDGES = frozenset({Field.PHYSIN, Field.PHYSOUT})
_DESTINATION = frozenset({Field.DADDR, Field.DADDR_TYPE, Field.DADDR_TYPE_IIF})
_CALLED = _DESTINATION | {Field.DPORT}
_ANSWERING = frozenset({Field.SADDR, Field.SADDR_TYPE, Field.SADDR_TYPE_IIF, Field.SPORT})
_Traits = tuple[str, str, bool]
_ViewKey = tuple[Packet, Hook, bool, frozenset[Field], bool, bool, bool]


class Ground:
    """What the flows of all callers meet alike."""

    def __init__(self, snapshot: Snapshot, topology: Topology, pairs: Pairs) -> None:
        self.snapshot = snapshot
        self.host = snapshot.netns["host"]
        self.pairs = pairs
        self.space = pairs.space
        self.family = pairs.family
        own = {a.ip.value for link in self.host.links or () for a in link.addresses if a.ip.family is self.family}
        marks = routes_by_mark(self.host, self.family)
        self.rules = RuleWalker(self.host.ruleset, self.family, own, pairs.bridge_of, routes_by_mark=marks)
        self.own_rules = OwnRules(snapshot, pairs)
        self.filtered = self.closed = self.closed_back = self.space.empty
        """Pairs on one bridge whose packets meet iptables there; and those whose packets, or replies, come in where the
        host does not forward."""
        self.filtered_perhaps = self.closed_perhaps = self.closed_back_perhaps = self.unsure = self.space.empty
        """The same of which a sysctl is not known; and those for which that decides more than what is stopped."""
        self._calling: list[str] = []
        """Bridges that call iptables, and the uplink, which is none and has no ports."""
        self._ask_sysctls(topology)
        self.unheard = unheard(pairs, self.host, topology, self.rules, self.filtered | self.filtered_perhaps)
        self.unheard = self.unheard | unheard_inside(pairs, self.own_rules)
        if not self.rules.reads.isdisjoint(_PORTS_OF_BRIDGES):
            self.unheard = self.unheard | pairs.unseen
        """Pairs of which somebody may not find a neighbour, or is behind a port that rules ask for and nobody knows."""
        self.rules_are_lost = bool(self.host.ruleset.missing.get(TABLES[self.family]))
        """The host's were not captured: what meets the first of them is unknown."""
        self._views: dict[_ViewKey, View] = {}
        self.picked = picked(pairs, self.host, topology, self.one_link)

    def _ask_sysctls(self, topology: Topology) -> None:
        for name in self.pairs.bridges:
            link = topology.link("host", name)
            if link is None:  # a segment that is no bridge of the host
                continue
            called = _calls(link, self.family) or sysctl.bridge_nf_call(self.host, self.family)
            forwards = sysctl.forwarding(self.host, self.family, name)
            forth, back = self.pairs.from_bridge[name], self.pairs.to_bridge[name]
            if called:
                self.filtered = self.filtered | forth
                self._calling.append(name)
            elif called is None and self.rules.reads.isdisjoint(_PORTS_OF_BRIDGES):
                self.filtered_perhaps = self.filtered_perhaps | forth
            elif called is None:
                self.unsure = self.unsure | forth | back
            if forwards is None:
                self.closed_perhaps, self.closed_back_perhaps = (
                    self.closed_perhaps | forth,
                    self.closed_back_perhaps | back,
                )
            elif not forwards:
                self.closed, self.closed_back = self.closed | forth, self.closed_back | back

    def view(
        self,
        packet: Packet,
        hook: Hook,
        unknown: frozenset[Field],
        *,
        early: bool,
        to_host: bool,
        from_host: bool,
        routed: bool,
    ) -> View:
        """How rules see a packet; the same one where they look at nothing that would differ."""
        unknown &= self.rules.reads
        routed = routed and hook is Hook.POSTROUTING
        key = (packet, hook, early, unknown, to_host, from_host, routed)
        if key not in self._views:
            self._views[key] = View(
                self.pairs,
                self.host,
                packet,
                hook,
                tracked=not early,
                unknown=unknown,
                to_host=to_host,
                from_host=from_host,
                routed=routed,
                framed=self._framed,
            )
        return self._views[key]

    @functools.cached_property
    def _framed(self) -> tuple[Set, Set] | None:
        """Pairs whose packets, and those whose replies, come in by a port of a bridge that calls iptables, if a rule asks."""
        if self.rules.reads.isdisjoint(_PORTS_OF_BRIDGES):
            return None
        forth, back = self.pairs.from_bridge, self.pairs.to_bridge
        return self.space.union(forth[b] for b in self._calling), self.space.union(back[b] for b in self._calling)

    @functools.cached_property
    def one_link(self) -> Set:
        """Pairs on one bridge."""
        pairs = self.pairs
        return self.space.union(pairs.from_bridge[b] & pairs.to_bridge[b] for b in pairs.bridges)

    @functools.cached_property
    def troubles(self) -> tuple[tuple[str, Set], ...]:
        """Pairs by what is wrong with the links of both sides."""
        return tuple(self.pairs.troubles())

    @functools.cached_property
    def between(self) -> tuple[tuple[_Traits, Set], ...]:
        """Pairs by what Docker says of the networks between."""
        return tuple(self._between())

    def _between(self) -> Iterator[tuple[_Traits, Set]]:
        docker = {n.bridge_name: n for n in self.snapshot.networks if n.driver == "bridge"}
        out_of: dict[str, list[Set]] = {}
        into: dict[str, list[Set]] = {}
        for bridge in self.pairs.bridges:
            traits = _traits(docker.get(bridge))
            out_of.setdefault(traits, []).append(self.pairs.from_bridge[bridge])
            into.setdefault(traits, []).append(self.pairs.to_bridge[bridge])
        rest = self.space.all
        for near, sources in out_of.items():
            for far, destinations in into.items():
                both = self.space.union(sources) & self.space.union(destinations)
                rest = rest & ~both
                yield (near, far, False), both & ~self.one_link
                yield (near, far, True), both & self.one_link
        yield ("", "", False), rest


def _calls(link: Link, family: Family) -> bool:
    """Whether a bridge calls iptables, whatever the sysctl says."""
    return link.nf_call_iptables if family is Family.IPV4 else link.nf_call_ip6tables


def _traits(network: DockerNetwork | None) -> str:
    if network is None:
        return "no network"
    return " ".join(word for word, on in (("internal", network.internal), ("icc", network.icc)) if on)


class Calls:
    """The flows of one kind of caller on their way, and the kinds that were found of them."""

    from_host = False
    """The caller is the host itself."""
    translated = False
    """The flows have got another destination before."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self.pairs = ground.pairs
        self.space = ground.space
        self.kinds: dict[Kind, Set] = {}
        self.unclear = ground.unsure
        """What is left to the interpreter."""
        self.doubtful = self.space.empty
        """What may be stopped on its way."""

    def add(self, kind: Kind, flows: Set) -> None:
        if flows != self.space.empty:
            self.kinds[kind] = self.kinds.get(kind, self.space.empty) | flows

    def deliver(self, flows: Set, *, routed: bool) -> None:
        """Note what gets there and back, for certain or perhaps."""
        self.add(Kind(delivered=True, routed=routed), flows & ~self.doubtful)
        self.add(Kind(delivered=False, unknown=True, routed=routed), flows & self.doubtful)

    def vanish(self, arrived: Set) -> Set:
        """Of flows that arrive those that can be followed: the others get to a namespace that was not captured."""
        self.add(Kind(delivered=False, unknown=True), arrived & self.pairs.unseen)
        return arrived & ~self.pairs.unseen

    def give_up(self, flows: Set) -> None:
        """Leave them to the interpreter."""
        self.unclear = self.unclear | flows

    def outcome(self) -> Outcome:
        return Outcome.none(self.space.empty)

    def note(self, outcome: Outcome, *, reply: bool) -> None:
        """Keep what was stopped, told apart by what Docker says of the networks between, on which the reason hangs."""
        self.give_up(outcome.unclear)
        self.doubtful = self.doubtful | outcome.may_stop
        for blocker, flows in outcome.stopped.items():
            for networks, between in self.ground.between:
                kind = Kind(delivered=False, blocker=blocker.key, reply=reply, networks=networks)
                here = flows & between
                self.add(kind, here & ~self.doubtful)
                self.add(replace(kind, doubtful=True), here & self.doubtful)

    def note_refusals(self, outcome: Outcome) -> None:
        """Of the ACK that ends TCP's handshake: a rule that rejects it ends a connection that a process would have taken.

        What may be stopped before is unknown already.
        """
        self.give_up(self.space.union(flows for blocker, flows in outcome.stopped.items() if blocker.rejects))
        self.give_up(outcome.unclear | outcome.may_stop & ~self.doubtful)

    def found(self, everything: Set) -> Kinds:
        """The kinds, which together are all flows: what is in none would be a mistake here, and is left to the interpreter."""
        self.give_up(everything & ~self.space.union(self.kinds.values()))
        clear = ~self.unclear
        found = [(kind, flows & clear) for kind, flows in self.kinds.items()]
        found = [(kind, flows) for kind, flows in found if flows != self.space.empty]
        unclear = everything & self.unclear
        if unclear != self.space.empty:
            found.append((Kind(delivered=False, covered=False), unclear))
        return tuple(found)

    # Hooks

    def leave(self, packet: Packet, flows: Set, *, masked: bool = False) -> Set:
        """What the rules of the senders' own namespaces let out; the rest is noted."""
        return self._pass_own(self.ground.own_rules.leave, packet, flows, masked=masked)

    def arrive(self, packet: Packet, flows: Set, *, masked: bool = False) -> Set:
        """What the rules of the receivers' own namespaces let in."""
        return self._pass_own(self.ground.own_rules.arrive, packet, flows, masked=masked)

    def _pass_own(self, step: Callable[..., Set], packet: Packet, flows: Set, *, masked: bool) -> Set:
        if self.ground.own_rules.empty:
            return flows
        outcome = self.outcome()
        passed = step(packet, flows, outcome, masked=masked)
        if packet is Packet.THIRD:
            self.note_refusals(outcome)
        else:
            self.note(outcome, reply=packet is Packet.REPLY)
        return passed & ~self.unclear

    def hooks(
        self, packet: Packet, bridged: Set, routed: Set, up: Set, outcome: Outcome, *, masked: bool = False
    ) -> tuple[Set, Set]:
        """What gets up to the host itself, and what goes through it; replies of the host are among the latter."""
        back = packet is Packet.REPLY
        start = bridged | routed if back else bridged | routed | up
        passed = self.hook(packet, Hook.PREROUTING, start, outcome, masked=masked)
        self.give_up(passed & (routed & self.ground.picked.sent_on | up & self.ground.picked.answered))
        passed = self.forward(packet, passed & routed, outcome) | passed & ~routed
        if not back:
            passed = passed & ~self._without_way_on(passed & routed, outcome)
        inside = self.space.empty
        if back:
            sent = self.hook(packet, Hook.OUTPUT, up, outcome, masked=masked)
        else:
            inside, sent = self.hook(packet, Hook.INPUT, passed & up, outcome, masked=masked), self.space.empty
        passed = self.hook(packet, Hook.FORWARD, passed & ~up, outcome, masked=masked)
        return inside, self.hook(packet, Hook.POSTROUTING, passed | sent, outcome, masked=masked)

    def forward(self, packet: Packet, routed: Set, outcome: Outcome) -> Set:
        """Of what the host is to send on what came in where it does so."""
        ground, back = self.ground, packet is Packet.REPLY
        if packet is not Packet.THIRD:  # which passes where the first one did
            perhaps = ground.closed_back_perhaps if back else ground.closed_perhaps
            outcome.may_stop = outcome.may_stop | routed & perhaps
        refused = routed & (ground.closed_back if back else ground.closed)
        if refused == self.space.empty:
            return routed
        outcome.stop(Blocker("forwarding is off"), refused)
        return routed & ~refused

    def _without_way_on(self, flows: Set, outcome: Outcome) -> Set:
        """Flows that the host does not know where to send."""
        found = self.space.empty
        for way in NOWHERE:
            refused = flows & self.pairs.sent[way]
            if refused != self.space.empty:
                outcome.stop(Blocker(f"the host's way is {way.value}"), refused)
                found = found | refused
        return found

    def lose(self, flows: Set, *, reply: bool = False) -> None:
        """Note flows for whose next hop nobody answers, told apart by what is wrong with the links."""
        if flows == self.space.empty:
            return
        for trouble, between in self.ground.troubles:
            kind = Kind(delivered=False, blocker=f"nobody answers: {trouble}", reply=reply)
            here = flows & between
            self.add(kind, here & ~self.doubtful)
            self.add(replace(kind, doubtful=True), here & self.doubtful)

    def hook(self, packet: Packet, hook: Hook, flows: Set, outcome: Outcome, *, masked: bool = False) -> Set:
        """What passes a hook of the host."""

        def view(priority: int) -> View:
            return self._view(packet, hook, priority, masked=masked)

        first = packet is Packet.REQUEST
        return run_hook(self.ground.rules, hook, flows, outcome, view, first=first, translated=self.translated)

    def _view(self, packet: Packet, hook: Hook, priority: int, *, masked: bool) -> View:
        before_nat = priority < NAT_PRIORITY.get(hook, priority)
        unknown: frozenset[Field] = frozenset()
        to_host = masked and packet is Packet.REPLY and hook is Hook.PREROUTING and before_nat
        if masked:
            unknown |= _OF_MASKED
        if to_host:
            unknown |= _DESTINATION
        if self.translated:
            unknown |= _OF_TRANSLATED
            if packet is Packet.THIRD and hook is Hook.PREROUTING and before_nat:
                unknown |= _CALLED
            if packet is Packet.REPLY and hook is Hook.POSTROUTING and not before_nat:
                unknown |= _ANSWERING
        return self.ground.view(
            packet,
            hook,
            unknown,
            early=before_conntrack(hook, priority),
            to_host=to_host,
            from_host=self.from_host,
            routed=self.translated,
        )
