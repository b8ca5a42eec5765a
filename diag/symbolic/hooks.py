"""One hook of one namespace: its base chains in the kernel's order (net/netfilter/core.c, nf_nat_core.c)."""

from __future__ import annotations

from collections.abc import Callable

from diag.kernel.hooks import CONNTRACK_PRIORITY, ENTRY_HOOKS, NAT_PRIORITY
from diag.model.netfilter import ChainType, Hook
from diag.symbolic.rules import Outcome, RuleWalker
from diag.symbolic.space import Set
from diag.symbolic.view import View


def before_conntrack(hook: Hook, priority: int) -> bool:
    """Whether a chain sees packets that conntrack has not seen."""
    return hook in ENTRY_HOOKS and priority < CONNTRACK_PRIORITY


def run_hook(
    rules: RuleWalker,
    hook: Hook,
    flows: Set,
    outcome: Outcome,
    view: Callable[[int], View],
    *,
    first: bool,
    translated: bool = False,
) -> Set:
    """Returns what passes. `view` gives what chains of a priority see.

    NAT chains see the first packet only, and the first binding wins; of `translated` flows they have seen it before.
    """
    chains = list(rules.base_chains(hook, ChainType.FILTER))
    if translated and first and hook is Hook.PREROUTING:  # the others came before the new destination
        chains = [entry for entry in chains if entry[0] > NAT_PRIORITY[hook]]
    elif first and hook in NAT_PRIORITY:
        chains += [(NAT_PRIORITY[hook], table, chain) for _, table, chain in rules.base_chains(hook, ChainType.NAT)]
    for priority, table, chain in sorted(chains, key=lambda entry: entry[0]):
        if flows == outcome.nothing:
            break
        bound = flows & outcome.masked
        if priority > NAT_PRIORITY.get(hook, priority):
            outcome.unclear = outcome.unclear | bound
        flows = bound | rules.run(view(priority), table, chain, flows & ~bound, outcome)
    return flows
