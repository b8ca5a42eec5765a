"""`diag trace`: many flows and look-ups at once, JSON Lines in and out."""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TextIO

import click
from msgspec import DecodeError
from msgspec.json import decode, encode

from diag.cli import DONE, FAILED
from diag.cli.forked import by_parts, processors
from diag.cli.source import load_bundle, source_option

if TYPE_CHECKING:
    from diag.reach.flows import FlowAnswerer

_MANY = 2_000
"""Lines for which a process of their own is worth it."""


@click.command("trace")
@source_option
@click.option(
    "--flows",
    type=click.File("r", encoding="utf-8", errors="replace"),
    required=True,
    help="JSON Lines; - is standard input.",
)
@click.option("--hops", is_flag=True, help="Add every hop, there and back.")
def command(source: str, flows: TextIO, hops: bool) -> int:
    """The fate of each flow, and the answer to each look-up, in order, one line each."""
    from diag.parse.snapshot import build_snapshot
    from diag.reach.flows import FlowAnswerer

    answerer = FlowAnswerer(build_snapshot(load_bundle(source)))
    lines = flows.readlines() if _is_file(flows) else []
    parts = min(processors(), len(lines) // _MANY)
    if parts < 2:
        return _write(_answer(answerer, line, hops=hops) for line in lines or flows)
    answered = by_parts(lambda part: [_answer(answerer, line, hops=hops) for line in part], lines, parts)
    return max(_write(answers) for answers in answered)


def _is_file(flows: TextIO) -> bool:
    """Whether all lines are there already. Those of a pipe are answered as they come."""
    try:
        return stat.S_ISREG(os.fstat(flows.fileno()).st_mode)
    except OSError:
        return False


def _write(answers: Iterable[tuple[str, int]]) -> int:
    """Returns the worst status of any."""
    worst = DONE
    for line, status in answers:
        sys.stdout.write(line)
        worst = max(worst, status)
    return worst


def _answer(answerer: FlowAnswerer, line: str, *, hops: bool) -> tuple[str, int]:
    """The line with its answer, and the status; nothing for an empty one."""
    from diag.reach.flows import BadRequestError

    if not line.strip():
        return "", DONE
    request: Any = None
    try:
        request = decode(line)
        if not isinstance(request, dict):
            raise BadRequestError("not a JSON object")
        return _line(answerer.answer(request, hops=hops)), DONE
    except (BadRequestError, DecodeError, RecursionError) as error:
        return _line({**(request if isinstance(request, dict) else {}), "error": str(error)}), FAILED


def _line(answer: dict[str, Any]) -> str:
    try:
        return encode(answer).decode() + "\n"
    except UnicodeEncodeError:  # half a surrogate pair, which the host's own JSON may hold
        return json.dumps(answer) + "\n"
