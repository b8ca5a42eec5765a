"""What sets of flows have in common, and the sets that a solution is read from."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from diag.model.provenance import Evidence
from diag.symbolic.pairs import Pairs
from diag.symbolic.product import Product
from diag.symbolic.rules import About, Translation
from diag.symbolic.space import Set

UNHEARD = "nobody listens"
"""What stops flows that get to a stack on which no process takes them."""


class Kind(Struct, frozen=True, cache_hash=True):
    """What a set of flows has in common.

    The hash is kept: behaviours of many ranges are compared again and again.
    """

    delivered: bool
    """And answered."""
    unknown: bool = False
    """Whether they are delivered hangs on what is not known."""
    routed: bool = False
    """By the host, from one bridge to another."""
    blocker: str = ""
    """What stops them, where something does."""
    doubtful: bool = False
    """Something else, of which that is not known, may have stopped them before."""
    reply: bool = False
    """The reply is stopped, not the request."""
    elsewhere: bool = False
    """They are for the host, and a container takes them: by DNAT or docker-proxy."""
    proxied: bool = False
    """They are for the host, and docker-proxy answers them."""
    networks: tuple[str, str, bool] = ("", "", False)
    """What Docker says of the networks between: of the source's, the destination's, and whether they are one."""
    covered: bool = True
    """Whether the engine can tell; else the interpreter decides."""

    @property
    def unheard(self) -> bool:
        """Whether for certain nobody listens for them: nothing on their way has a part in that."""
        return self.blocker == UNHEARD and not self.doubtful


Kinds = tuple[tuple[Kind, Set], ...]


class FlowSets(Struct, frozen=True):
    """The flows of one family of all pairs of plain stacks, by kind: disjoint sets that together are all."""

    pairs: Pairs
    kinds: Kinds
    from_host: Kinds
    """The host's own flows to every destination, whatever the source."""
    translations: tuple[tuple[Translation, Product], ...]
    diverting: Set
    """Flows to the host that DNAT gives another destination, as far as they are in the latter: disjoint sets."""
    translated: Kinds
    """The same flows with the destination and port that they get; none of those that do not get one."""
    proxied: Kinds
    """Those that docker-proxy takes."""
    blockers: Mapping[tuple[str, About], Evidence | None]
    """The rule behind each blocker, by what it is about; None: there are several."""
    rules_are_lost: bool = False
    """The host's rules were not captured: nobody knows what they translate."""
