"""Commands that would help, each applied to the facts and judged by a new trace before it is offered."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Iterator
from itertools import permutations

from msgspec import Struct
from msgspec.structs import replace

from diag.interpreter.trace import Tracer
from diag.model.address import Family
from diag.model.analysis import Fix
from diag.model.docker import Container, DockerNetwork
from diag.model.flow import HopKind
from diag.model.message import say, sentences
from diag.model.netfilter import Accept, NfRule
from diag.model.netns import LinkKind
from diag.model.provenance import Evidence
from diag.model.reasons import Disposition, Reachability, Reason
from diag.model.snapshot import Snapshot
from diag.reach import whatif
from diag.reach.accepting import Wanted, wanted
from diag.reach.matrix import PairMatrix, bits
from diag.reach.pairs import PairAnalyser, PairFacts, PathFacts
from diag.reach.windows import Span
from diag.symbolic.tables import TABLES

MAX_CONTAINERS = 64
"""Of a host whose groups get fixes in a report: each proof is an analysis of the changed host. `diag explain` has no limit."""
MAX_OPENS = 200
"""Pairs listed for one fix; the note says how many more there are."""


_BY_RULES = frozenset({Reason.FIREWALL_DROP, Reason.FIREWALL_REJECT, Reason.POLICY_DROP})


class Proposal(Struct, frozen=True):
    """A command, the snapshot after it, and the containers whose pairs it can touch."""

    command: str
    after: Snapshot
    touched: frozenset[str]
    note: str = ""
    alone: bool = False
    """Only pairs of which both are touched may change."""


class FixFinder:
    """Finds and proves fixes for pairs of one snapshot."""

    def __init__(self, snapshot: Snapshot, pairs: PairAnalyser) -> None:
        self.snapshot = snapshot
        self.pairs = pairs
        self._after: dict[str, PairAnalyser] = {}
        self._effects: dict[tuple[str, str, str], Reachability] = {}
        self._opens: dict[str, tuple[tuple[str, str], ...]] = {}

    @functools.cached_property
    def _matrix(self) -> PairMatrix:
        return PairMatrix(self.snapshot, self.pairs)

    def find(self, pair: PairFacts, path: PathFacts) -> tuple[Fix, ...]:
        """Fixes for a pair whose path is stopped, best first; none that the model does not confirm."""
        found: dict[str, Fix] = {}
        for proposal in self._proposals(pair, path):
            fix = self._prove(pair, proposal)
            if fix is not None and fix.command not in found:
                found[fix.command] = fix
            if len(found) == 2:
                break
        best = (Reachability.REACHABLE, Reachability.PARTIAL)
        return tuple(sorted(found.values(), key=lambda f: best.index(f.effect)))

    def _prove(self, pair: PairFacts, proposal: Proposal) -> Fix | None:
        after = proposal.after
        source, destination = after.container(pair.source), after.container(pair.destination)
        if source is None or destination is None:
            return None
        effect = self._effect(proposal, source, destination)
        better = {
            Reachability.UNREACHABLE: 0,
            Reachability.UNKNOWN: 0,
            Reachability.PARTIAL: 1,
            Reachability.REACHABLE: 2,
        }
        if better[effect] <= better[pair.reachability]:
            return None
        opens = self._opened(proposal)
        note = proposal.note
        if len(opens) > MAX_OPENS:
            many = say("It opens {n} pairs in all.", n=len(opens))
            note = sentences((note, many))
        return Fix(proposal.command, effect, opens[:MAX_OPENS], note)

    def _analyser(self, proposal: Proposal) -> PairAnalyser:
        if proposal.command not in self._after:
            self._after[proposal.command] = PairAnalyser(
                proposal.after, Tracer(proposal.after, self.pairs.tracer.world)
            )
        return self._after[proposal.command]

    def _opened(self, proposal: Proposal) -> tuple[tuple[str, str], ...]:
        """Every ordered pair that becomes reachable, or reachable on more."""
        if proposal.command not in self._opens:
            if proposal.alone:
                return self._opened_between(proposal)
            before = self._matrix.standing(proposal.touched)
            after = PairMatrix(proposal.after, self._analyser(proposal)).standing(proposal.touched)
            names = [container.name for container in self.snapshot.containers]
            found = []
            for position, ((reached, partly), (reached_now, partly_now)) in enumerate(zip(before, after, strict=True)):
                opened = (reached_now & ~reached) | (partly_now & ~(partly | reached))
                found += [(source, position) for source in bits(opened)]
            self._opens[proposal.command] = tuple((names[a], names[b]) for a, b in sorted(found))
        return self._opens[proposal.command]

    def _opened_between(self, proposal: Proposal) -> tuple[tuple[str, str], ...]:
        """The same where a few pairs alone have to be asked for."""
        containers = [(n, c) for n, c in enumerate(self.snapshot.containers) if c.name in proposal.touched]
        before, found = self._matrix.standing(proposal.touched), []
        for (position, source), (number, destination) in permutations(containers, 2):
            reached, partly = (bool(mask >> position & 1) for mask in before[number])
            now = self._effect(proposal, source, destination) if not reached else Reachability.REACHABLE
            if not reached and (now is Reachability.REACHABLE or (now is Reachability.PARTIAL and not partly)):
                found.append((source.name, destination.name))
        return tuple(found)

    def _effect(self, proposal: Proposal, source: Container, destination: Container) -> Reachability:
        key = proposal.command, source.name, destination.name
        if key not in self._effects:
            self._effects[key] = self._analyser(proposal).pair(source, destination).reachability
        return self._effects[key]

    # What to try, by reason

    def _proposals(self, pair: PairFacts, path: PathFacts) -> Iterator[Proposal]:
        source, destination = self.snapshot.container(pair.source), self.snapshot.container(pair.destination)
        if source is None or destination is None:
            return
        match path.reason:
            case Reason.IP_FORWARD_OFF:
                note = say("Containers of all networks may then be routed to each other where rules allow.")
                after = whatif.set_ip_forward(self.snapshot)
                yield Proposal("sysctl -w net.ipv4.ip_forward=1", after, frozenset(), note)
                yield from self._connects(source, destination)
            case Reason.LINK_DOWN | Reason.NO_BRIDGE_PORT:
                yield from self._links(source, destination)
            case _ if _is_by_rules_alone(path, source, destination):
                yield from self._accept(path, source, destination)  # opens no more than is stopped
                yield from self._connects(source, destination)
            case Reason.FIREWALL_DROP | Reason.FIREWALL_REJECT | Reason.POLICY_DROP | Reason.ICC_OFF:
                yield from self._connects(source, destination)
                yield from self._accept(path, source, destination)
            case _:
                yield from self._connects(source, destination)

    def _connects(self, source: Container, destination: Container) -> Iterator[Proposal]:
        """Put one on a network of the other: the caller on the callee's network first, user-defined networks first."""
        for moved, other in ((source, destination), (destination, source)):
            for network in self._networks_of(other):
                yield from self._connect(moved, network)

    def _networks_of(self, container: Container) -> list[DockerNetwork]:
        netns = self.snapshot.netns_of.get(container.name)
        owners = [c for c in self.snapshot.containers if netns and self.snapshot.netns_of.get(c.name) == netns]
        names = [e.network for c in owners or [container] for e in c.endpoints]
        found = [n for name in dict.fromkeys(names) if (n := self.snapshot.network(name)) is not None]
        usable = [n for n in found if n.driver == "bridge" and n.icc]
        return sorted(usable, key=lambda n: (n.is_default_bridge, n.internal))

    def _connect(self, container: Container, network: DockerNetwork) -> Iterator[Proposal]:
        owner = self._stack_owner(container)
        after = whatif.connect(self.snapshot, owner, network)
        if after is None:
            return
        command = f"docker network connect {shlex.quote(network.name)} {shlex.quote(owner.name)}"
        if owner.network_mode == "none":
            command = f"docker network disconnect none {shlex.quote(owner.name)} && {command}"
        note = ""
        if owner.name != container.name:
            note = say("{name} shares the network of {owner}.", name=container.name, owner=owner.name)
        touched = frozenset(
            c.name
            for c in self.snapshot.containers
            if self.snapshot.netns_of.get(c.name) == self.snapshot.netns_of.get(owner.name)
        )
        yield Proposal(command, after, touched, note)

    def _stack_owner(self, container: Container) -> Container:
        for _ in range(8):
            owner = self.snapshot.container(container.joined_to) if container.joined_to else None
            if owner is None:
                return container
            container = owner
        return container

    def _links(self, source: Container, destination: Container) -> Iterator[Proposal]:
        """Bring up what is down, put a veth back on its bridge."""
        for container in (source, destination):
            netns = self.snapshot.netns_of.get(container.name)
            if netns is None or netns == "host":
                continue
            for link in self.snapshot.netns[netns].links or ():
                peer = self.pairs.tracer.world.topology.peers.get((netns, link.name))
                if link.kind is LinkKind.VETH and not link.up and container.pid:
                    command = f"nsenter -t {container.pid} -n ip link set dev {shlex.quote(link.name)} up"
                    yield Proposal(command, self._set_up(netns, link.name), frozenset((container.name,)))
                if peer is not None and peer[0] == "host":
                    yield from self._host_veth(peer[1], container)
            for network in self._all_networks(container):
                bridge = self.pairs.tracer.world.link("host", network.bridge_name)
                if bridge is not None and not bridge.up:
                    command = f"ip link set dev {shlex.quote(bridge.name)} up"
                    yield Proposal(command, self._set_up("host", bridge.name), frozenset())

    def _host_veth(self, name: str, container: Container) -> Iterator[Proposal]:
        link = self.pairs.tracer.world.link("host", name)
        if link is None:
            return
        if not link.up:
            command = f"ip link set dev {shlex.quote(name)} up"
            yield Proposal(command, self._set_up("host", name), frozenset((container.name,)))
        if not link.master:
            for network in self._all_networks(container):
                after = whatif.change_link(
                    self.snapshot,
                    "host",
                    name,
                    lambda k, n=network: replace(k, master=n.bridge_name),  # type: ignore[misc]
                )
                command = f"ip link set dev {shlex.quote(name)} master {shlex.quote(network.bridge_name)}"
                yield Proposal(command, after, frozenset((container.name,)))

    def _all_networks(self, container: Container) -> list[DockerNetwork]:
        found = (self.snapshot.network(e.network) for e in container.endpoints)
        return [n for n in found if n is not None and n.driver == "bridge"]

    def _set_up(self, netns: str, name: str) -> Snapshot:
        after = whatif.change_link(self.snapshot, netns, name, lambda k: replace(k, up=True, carrier=True))
        peer = self.pairs.tracer.world.topology.peers.get((netns, name))
        if peer is not None:
            after = whatif.change_link(after, peer[0], peer[1], lambda k: replace(k, carrier=True))
        return after

    def _accept(self, path: PathFacts, source: Container, destination: Container) -> Iterator[Proposal]:
        """An accept in front of every other rule that the flows meet where one stops them."""
        trace = path.sweep.witness() if path.sweep else None
        if path.sweep is None or path.target is None or trace is None or trace.source_ip is None:
            return
        stopped = _stopped(path)
        rule = wanted(trace.source_ip, path.target.ip, stopped)
        hops = (hop for span in stopped for hop in (*span.trace.forth, *span.trace.back))
        dropping = {hop.netns for hop in hops if hop.kind is HopKind.DROP}
        chain, both = self._admin_chain(path.target.ip.family), self._in_netns_of(source, destination)
        if chain is not None and "host" in dropping:
            note = say("Lasts until the next reboot or reload unless it is saved; addresses may change on restart.")
            yield self._inserted("host", "", chain, rule, path.target.ip.family, both, note)
        for container, own in ((source, "OUTPUT"), (destination, "INPUT")):
            netns = self.snapshot.netns_of.get(container.name, "")
            if netns != "host" and container.pid and netns in dropping:
                within = f"nsenter -t {container.pid} -n "
                note = say("Lasts until {name} restarts.", name=container.name)
                yield self._inserted(netns, within, own, rule, path.target.ip.family, both, note)

    def _inserted(
        self,
        netns: str,
        within: str,
        chain: str,
        rule: Wanted,
        family: Family,
        touched: frozenset[str],
        note: str,
    ) -> Proposal:
        program = "iptables" if family is Family.IPV4 else "ip6tables"
        command = f"{within}{program} -I {chain} {rule.options} -j ACCEPT"
        made = NfRule((*rule.matches, Accept()), Evidence("(proposed)", 0, command), 1)
        after = whatif.insert_rule(self.snapshot, netns, family, "filter", chain, made)
        return Proposal(command, after, touched, note, alone=True)

    def _in_netns_of(self, *containers: Container) -> frozenset[str]:
        """These, and those that share a namespace with one of them."""
        netns = {self.snapshot.netns_of.get(c.name) for c in containers}
        return frozenset(c.name for c in self.snapshot.containers if self.snapshot.netns_of.get(c.name) in netns)

    def _admin_chain(self, family: Family) -> str | None:
        """Docker's chain for the administrator, or FORWARD itself."""
        host = self.snapshot.netns.get("host")
        for table in host.ruleset.tables if host else ():
            if table.name == "filter" and table.family is TABLES[family]:
                if "DOCKER-USER" in table.chains:
                    return "DOCKER-USER"
                if "FORWARD" in table.chains:
                    return "FORWARD"
        return None


def _stopped(path: PathFacts) -> list[Span]:
    spans = path.sweep.spans if path.sweep is not None else ()
    return [span for span in spans if span.trace.disposition is not Disposition.DELIVERED]


def _is_by_rules_alone(path: PathFacts, source: Container, destination: Container) -> bool:
    """Whether no more is between them than rules that are not Docker's."""
    if path.reachability is Reachability.PARTIAL:
        return all(span.trace.reason in _BY_RULES for span in _stopped(path))
    joined = not {e.network for e in source.endpoints}.isdisjoint(e.network for e in destination.endpoints)
    return path.reason in _BY_RULES and joined
