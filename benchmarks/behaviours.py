"""How many kinds of pairs a report tells apart: `python -m benchmarks.behaviours REPORT.json`.

Pairs are of one kind when the same arrives, by the same networks, for the same reason; who they are does not count.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_SPACE = re.compile(r"\s*")
_PATH = ("family", "network", "reachability", "allowed", "reason")


def kinds(report: str, part: str) -> int:
    """Of the pairs in one part of `analysis.json`: `groups`, or `endpoints`, which are those with the host and the world.

    The rest of the text, which is many times as large, is not decoded. Containers before it have `endpoints` of their own.
    """
    key = f'"{part}":'
    space = _SPACE.match(report, report.rindex(key) + len(key))
    assert space is not None
    groups, _ = json.JSONDecoder().raw_decode(report, space.end())
    return len({_kind(group) for group in groups})


def _kind(group: dict[str, Any]) -> str:
    paths = [[path[name] for name in _PATH] for path in group["paths"]]
    return json.dumps([group["reachability"], paths], sort_keys=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.behaviours", description="Count the kinds of pairs of a report."
    )
    parser.add_argument("report", type=Path, metavar="REPORT", help="what diag report -o x.json wrote")
    report = parser.parse_args(arguments).report.read_text("utf-8")
    print(json.dumps({part: kinds(report, part) for part in ("groups", "endpoints")}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
