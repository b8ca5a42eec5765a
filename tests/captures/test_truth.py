"""Every verdict on every bundled capture against what real packets did on that host."""

from __future__ import annotations

from typing import Any

import pytest

from diag.reach.flows import FlowAnswerer
from tests.loading import CAPTURES, EACH_CAPTURE, answers_of, snapshot_of, truth_of

UNDECIDED = {"timeout", "EHOSTUNREACH"}
"""No answer on the link looks like either, by how long the caller waits."""

SYMPTOM_SHARE = 0.2
"""Hosts limit the rate of ICMP errors, so that on hosts with many of them a caller sees timeouts in between."""


def judge(truth: dict[str, Any], flow: dict[str, Any], answer: dict[str, Any]) -> str:
    """`wrong`, `unknown`, `symptom` or nothing."""
    disposition, symptom, result = answer["disposition"], answer["symptom"], flow["result"]
    if disposition == "unknown":
        return "unknown"
    nobody_listened = flow["port"] not in truth.get(flow["protocol"], [0])
    if disposition == "delivered" and result == symptom == "ECONNREFUSED" and nobody_listened:
        return ""
    if (disposition == "delivered") != (result == "ok"):
        return "wrong"
    if result != "ok" and symptom != result and not {symptom, result} <= UNDECIDED:
        return "symptom"
    return ""


@pytest.mark.parametrize("name", EACH_CAPTURE)
def test_verdicts_equal_real_packets(name: str) -> None:
    truth = truth_of(name)
    found: dict[str, list[Any]] = {"wrong": [], "unknown": [], "symptom": []}
    for flow, answer in zip(truth["flows"], answers_of(name), strict=True):
        verdict = judge(truth, flow, answer)
        if verdict:
            found[verdict].append((flow, answer))
    assert not found["wrong"], found["wrong"][:3]
    assert not found["unknown"], found["unknown"][:3]
    assert len(found["symptom"]) <= SYMPTOM_SHARE * len(truth["flows"]), found["symptom"][:3]
    assert truth["flows"]


@pytest.mark.parametrize("name", EACH_CAPTURE)
def test_names_equal_real_look_ups(name: str) -> None:
    truth = truth_of(name)
    answerer = FlowAnswerer(snapshot_of(name))
    for asked in truth["names"]:
        answer = answerer.answer({"source": asked["source"], "name": asked["name"]})
        if asked["address"] is None:
            assert answer["addresses"] == [], (asked, answer)
        else:
            assert asked["address"] in answer["addresses"], (asked, answer)


@pytest.mark.apart
def test_symptoms_are_right_where_no_error_was_rate_limited() -> None:
    """The seed's scenario and its neighbours have no wrong symptom at all."""
    names = [
        n for n in CAPTURES if n.split("-")[0] in ("seed", "seed_connected", "internal_icc", "published", "user_rules")
    ]
    assert len(names) >= 12
    for name in names:
        truth = truth_of(name)
        for flow, answer in zip(truth["flows"], answers_of(name), strict=True):
            assert judge(truth, flow, answer) == "", (name, flow, answer)
