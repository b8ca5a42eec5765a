"""Captures of `fixtures/` as snapshots and analyses, each made once per test run."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pytest

from diag.bundle.reader import read_bundle
from diag.model.analysis import Analysis
from diag.model.snapshot import Snapshot
from diag.parse.snapshot import build_snapshot
from diag.pipeline import analyse_snapshot
from diag.reach.flows import FlowAnswerer

FIXTURES = Path(__file__).parent.parent / "fixtures"
CAPTURES = sorted(p.parent.name for p in (FIXTURES / "captures").glob("*/truth.json"))
COVERING = frozenset({"brnf_off-d20", "broken_links-d20", "gateway_modes-d29nft", "overlay_A-d29", "user_rules-d29nft"})
"""Captures that bring to coverage what all of them bring."""


def apart(name: str) -> Any:
    """A capture as a parameter of a test that goes over it apart from coverage."""
    return pytest.param(name, marks=pytest.mark.apart)


EACH_CAPTURE = [name if name in COVERING else apart(name) for name in CAPTURES]
"""All captures as parameters; with coverage only those that bring it something."""


def bundle_path(name: str) -> Path:
    """The archive of a capture."""
    return FIXTURES / "captures" / name / "bundle.tar.gz"


@functools.cache
def snapshot_of(name: str) -> Snapshot:
    """The facts of a capture."""
    return build_snapshot(read_bundle(str(bundle_path(name))))


@functools.cache
def analysis_of(name: str) -> Analysis:
    """The analysis of a capture."""
    return analyse_snapshot(snapshot_of(name))


def truth_of(name: str) -> dict[str, Any]:
    """What real packets did."""
    found: dict[str, Any] = json.loads((FIXTURES / "captures" / name / "truth.json").read_text())
    return found


def question(flow: dict[str, Any]) -> dict[str, Any]:
    """What is asked of a flow of `truth.json`."""
    return {key: flow[key] for key in ("source", "address", "protocol", "port")}


@functools.cache
def answers_of(name: str) -> tuple[dict[str, Any], ...]:
    """What the product says of the flows of a capture's truth, in their order."""
    answerer = FlowAnswerer(snapshot_of(name))
    return tuple(answerer.answer(question(flow)) for flow in truth_of(name)["flows"])
