"""Where connection tracking and NAT are among the chains of a hook: include/uapi/linux/netfilter_ipv4.h."""

from __future__ import annotations

from diag.model.netfilter import Hook

CONNTRACK_PRIORITY = -200
NAT_PRIORITY = {Hook.PREROUTING: -100, Hook.OUTPUT: -100, Hook.INPUT: 100, Hook.POSTROUTING: 100}
DEVICE_HOOKS = frozenset({Hook.INGRESS, Hook.EGRESS})
"""Of one device's frames."""
ENTRY_HOOKS = frozenset({Hook.PREROUTING, Hook.OUTPUT})
"""Where a packet meets conntrack, and its destination may be rewritten."""
