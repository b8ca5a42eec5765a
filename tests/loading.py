"""Captures of `fixtures/` as snapshots and analyses, each made once per test run."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from diag.bundle.reader import read_bundle
from diag.model.analysis import Analysis
from diag.model.snapshot import Snapshot
from diag.parse.snapshot import build_snapshot
from diag.reach.analysis import analyse

FIXTURES = Path(__file__).parent.parent / "fixtures"
CAPTURES = sorted(p.parent.name for p in (FIXTURES / "captures").glob("*/truth.json"))


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
    return analyse(snapshot_of(name))


def truth_of(name: str) -> dict[str, Any]:
    """What real packets did."""
    found: dict[str, Any] = json.loads((FIXTURES / "captures" / name / "truth.json").read_text())
    return found
