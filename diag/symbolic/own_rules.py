"""The rules of containers' own namespaces, which what they send and what they get meets beside the host's.

A namespace sees its flows as they are on its link: with the host's address for the caller's where the host masquerades.
What NAT of its own would do to them is left to the interpreter.
"""

from __future__ import annotations

from collections.abc import Mapping

from diag.model.netfilter import Field, Hook
from diag.model.netns import LinkKind, Netns
from diag.model.snapshot import Snapshot
from diag.symbolic.hooks import before_conntrack, run_hook
from diag.symbolic.pairs import Pairs
from diag.symbolic.rules import Outcome, RuleWalker
from diag.symbolic.space import Set
from diag.symbolic.view import Packet, View, fits

LEAVING = (Hook.OUTPUT, Hook.POSTROUTING)
ARRIVING = (Hook.PREROUTING, Hook.INPUT)
NAMED_AT = {Field.IIFNAME: ARRIVING, Field.OIFNAME: LEAVING}


class OwnView(View):
    """What a container's rules see of its packets."""

    def __init__(
        self,
        pairs: Pairs,
        netns: Netns,
        links: Mapping[str, Set],
        packet: Packet,
        hook: Hook,
        *,
        tracked: bool,
        from_host: bool,
    ) -> None:
        super().__init__(pairs, netns, packet, hook, tracked=tracked, from_host=from_host)
        self._links = links
        """Pairs by the link that their packets take here."""

    def _named(self, where: Field, patterns: tuple[str, ...]) -> Set | None:
        if where not in NAMED_AT:
            return None
        if self.hook not in NAMED_AT[where]:
            return self.space.all if any(fits("", pattern) for pattern in patterns) else self.space.empty
        named = (by for name, by in self._links.items() if any(fits(name, pattern) for pattern in patterns))
        return self.space.union(named)


class _Container:
    """One namespace with rules."""

    def __init__(self, snapshot: Snapshot, pairs: Pairs, number: int) -> None:
        stack = pairs.stacks[number]
        self._pairs = pairs
        self.netns = snapshot.netns[stack.netns]
        self.links = frozenset(link.name for link in self.netns.links or () if link.kind is not LinkKind.LOOPBACK)
        self.rules = RuleWalker(self.netns.ruleset, pairs.family, (), pairs.bridge_of)
        numbers = {n: port.link for n, port in enumerate(pairs.ports) if pairs.owner[n] == number}
        self._links = {
            True: {link: pairs.calls_by(n) for n, link in numbers.items()},
            False: {link: pairs.space.destinations(n, n) for n, link in numbers.items()},
        }
        """By whether the container is the caller."""
        self.flows = {
            True: pairs.space.sources(number, number),
            False: pairs.space.destinations_among(numbers),
        }
        """Its flows, by the same."""
        self._views: dict[tuple[Packet, Hook, bool, bool, bool], OwnView] = {}

    def run(self, packet: Packet, hook: Hook, flows: Set, outcome: Outcome, *, caller: bool, from_host: bool) -> Set:
        """What passes one of its hooks."""

        def view(priority: int) -> View:
            early = before_conntrack(hook, priority)
            key = (packet, hook, early, caller, from_host)
            if key not in self._views:
                self._views[key] = OwnView(
                    self._pairs,
                    self.netns,
                    self._links[caller],
                    packet,
                    hook,
                    tracked=not early,
                    from_host=from_host,
                )
            return self._views[key]

        return run_hook(self.rules, hook, flows, outcome, view, first=packet is Packet.REQUEST)


class OwnRules:
    """Of all stacks."""

    def __init__(self, snapshot: Snapshot, pairs: Pairs) -> None:
        self._space = pairs.space
        self.containers = [
            _Container(snapshot, pairs, number) for number, stack in enumerate(pairs.stacks) if stack.filters
        ]

    @property
    def empty(self) -> bool:
        """No container has any."""
        return not self.containers

    @property
    def rejects(self) -> bool:
        """Some rule answers instead of dropping in silence."""
        return any(container.rules.rejects for container in self.containers)

    def leave(self, packet: Packet, flows: Set, outcome: Outcome, *, masked: bool = False) -> Set:
        """What their senders let out; `masked`: the called see the host's address for the caller's."""
        return self._pass(packet, LEAVING, flows, outcome, caller=packet is not Packet.REPLY, masked=masked)

    def arrive(self, packet: Packet, flows: Set, outcome: Outcome, *, masked: bool = False) -> Set:
        """What their receivers let in."""
        return self._pass(packet, ARRIVING, flows, outcome, caller=packet is Packet.REPLY, masked=masked)

    def _pass(
        self, packet: Packet, hooks: tuple[Hook, ...], flows: Set, outcome: Outcome, *, caller: bool, masked: bool
    ) -> Set:
        nothing = self._space.empty
        for container in self.containers:
            mine = passed = flows & container.flows[caller]
            found = Outcome.none(nothing)
            for hook in hooks:
                passed = container.run(packet, hook, passed, found, caller=caller, from_host=masked and not caller)
            outcome.unclear = outcome.unclear | found.unclear | found.masked | found.elsewhere
            outcome.may_stop = outcome.may_stop | found.may_stop
            for blocker, stopped in found.stopped.items():
                outcome.stop(blocker, stopped)
            flows = (flows & ~mine) | passed
        return flows
