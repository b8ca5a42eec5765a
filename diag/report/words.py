"""The words and marks that every format uses for a result, and when a host is too large to show everything at once."""

from __future__ import annotations

from diag.model.message import say
from diag.model.reasons import Reachability

LARGE = 60
"""Containers above which a report groups and folds: no cell per pair, no row of names per container."""

MARKS = {
    Reachability.REACHABLE: "✓",
    Reachability.PARTIAL: "◐",
    Reachability.UNREACHABLE: "✕",
    Reachability.UNKNOWN: "?",
}
"""A shape for each result, so that colour alone never carries it."""

WORDS = {
    Reachability.REACHABLE: say("reachable"),
    Reachability.PARTIAL: say("partly reachable"),
    Reachability.UNREACHABLE: say("not reachable"),
    Reachability.UNKNOWN: say("cannot tell"),
}
