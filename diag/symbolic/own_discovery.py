"""Neighbour discovery of IPv6 through the rules of containers' own namespaces.

A container whose rules let every question and every answer pass, whomever it is about, finds and is found as without them.
Others are left to the interpreter.
"""

from __future__ import annotations

from collections.abc import Callable

from diag.model.address import Family
from diag.model.netfilter import Field, Ranges
from diag.model.netns import Netns
from diag.symbolic.discovery import Message, MessageView, Neighbours, stopped, voids_messages
from diag.symbolic.own_rules import ARRIVING, LEAVING, NAMED_AT, OwnRules
from diag.symbolic.pairs import Pairs
from diag.symbolic.space import Set
from diag.symbolic.view import fits

_NOBODY = Neighbours({}, {}, {})


class AnyMessage(MessageView):
    """A question or an answer that a container sends or gets, of which nothing is told but its kind."""

    def __init__(self, pairs: Pairs, netns: Netns, message: Message, links: frozenset[str]) -> None:
        super().__init__(pairs, netns, message, _NOBODY)
        self._links = links
        """Any of which it takes."""

    def _computed(self, where: Field, ranges: Ranges | None, accepts: Callable[[int], bool]) -> tuple[Set, Set | None]:
        present, _ = MessageView._computed(self, where, ranges, accepts)
        return present, None

    def _named(self, where: Field, patterns: tuple[str, ...]) -> Set | None:
        if where not in NAMED_AT:
            return None
        names = self._links if self.hook in NAMED_AT[where] else frozenset({""})
        fitting = {name for name in names if any(fits(name, pattern) for pattern in patterns)}
        if fitting and fitting != names:
            return None
        return self.space.all if fitting else self.space.empty


def unheard_inside(pairs: Pairs, own_rules: OwnRules) -> Set:
    """Pairs with a container whose own rules may stop some message."""
    found = pairs.space.empty
    if pairs.family is not Family.IPV6:
        return found
    for container in own_rules.containers:
        flows, netns, links = container.flows[True] | container.flows[False], container.netns, container.links
        if voids_messages(container.rules):
            found = found | flows
            continue

        def view(message: Message, netns: Netns = netns, links: frozenset[str] = links) -> MessageView:
            return AnyMessage(pairs, netns, message, links)

        for hook in (*LEAVING, *ARRIVING):
            for solicits in (True, False):
                message = Message(solicits, hook in LEAVING, hook, early=False, host=False)
                found = found | stopped(container.rules, flows, message, view)
    return found
