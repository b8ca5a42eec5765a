"""Expectations in words."""

from __future__ import annotations

from collections.abc import Sequence

from diag.model.message import listed, say
from diag.policy.model import Deny, Expectation, Only, Reach, Resolve, Selector
from diag.policy.traffic import ALL_TRAFFIC, Traffic

_MOST = 4
"""Selectors named in one text."""


def expected_text(expected: Expectation) -> str:
    """What is expected: its own description, else one sentence."""
    if expected.description:
        return expected.description
    a = _names(expected.sources)
    match expected:
        case Reach():
            if expected.traffic is None:
                return say("{a} must reach {b}", a=a, b=_names(expected.destinations))
            return say(
                "{a} must reach {b} on {what}",
                a=a,
                b=_names(expected.destinations),
                what=traffic_words(expected.traffic),
            )
        case Deny():
            if expected.traffic == ALL_TRAFFIC:
                return say("{a} must not reach {b}", a=a, b=_names(expected.destinations))
            b, what = _names(expected.destinations), traffic_words(expected.traffic)
            return say("{a} must not reach {b} on {what}", a=a, b=b, what=what)
        case Only():
            return _only(expected, a)
        case Resolve():
            return _resolves(expected, a)


def _only(expected: Only, a: str) -> str:
    b, what = _names(expected.destinations), traffic_words(expected.traffic)
    match bool(expected.sources), expected.traffic == ALL_TRAFFIC:
        case True, True:
            return say("only {a} may reach {b}", a=a, b=b)
        case True, False:
            return say("only {a} may reach {b} on {what}", a=a, b=b, what=what)
        case False, True:
            return say("nobody may reach {b}", b=b)
        case _:
            return say("nobody may reach {b} on {what}", b=b, what=what)


def _resolves(expected: Resolve, a: str) -> str:
    b = _names(expected.targets)
    if not expected.name:
        return say("{a} must resolve {b} by name", a=a, b=b)
    if not expected.targets:
        return say("{a} must resolve {name}", a=a, name=expected.name)
    return say("{a} must resolve {name} to {b}", a=a, name=expected.name, b=b)


def _names(selectors: Sequence[Selector]) -> str:
    shown = [selector.words for selector in selectors[:_MOST]]
    if len(selectors) > _MOST:
        return say("{names} and {n} more", names=listed(shown), n=len(selectors) - _MOST)
    return listed(shown)


def traffic_words(traffic: Traffic) -> str:
    """Not too many ports of it."""
    text = say("everything") if traffic == ALL_TRAFFIC else traffic.words
    return text if len(text) <= 80 else say("{ports}, …", ports=", ".join(traffic.spelled)[:60].rpartition(",")[0])
