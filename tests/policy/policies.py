"""Policies for tests."""

from __future__ import annotations

from textwrap import dedent

from diag.model.analysis import Analysis
from diag.model.health import Expectation
from diag.policy.judge import judge
from diag.policy.loader import load_policy
from diag.policy.model import Policy


def policy_of(text: str) -> Policy:
    """From the sections of a YAML policy."""
    return load_policy("version: 1\n" + dedent(text), "policy.yaml")


def judged(text: str, analysis: Analysis) -> tuple[Expectation, ...]:
    """The expectations of a policy on a host."""
    return judge(policy_of(text), analysis)


def one(text: str, analysis: Analysis) -> Expectation:
    """Of a policy that has one."""
    (found,) = judged(text, analysis)
    return found
