"""`diag trace`: many flows and look-ups at once, JSON Lines in and out."""

from __future__ import annotations

import json
import sys
from typing import Any, TextIO

import click
from msgspec import DecodeError
from msgspec.json import decode, encode

from diag.cli import DONE, FAILED
from diag.cli.source import load_bundle, source_option


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
    from diag.reach.flows import BadRequestError, FlowAnswerer

    answerer = FlowAnswerer(build_snapshot(load_bundle(source)))
    status = DONE
    out = sys.stdout
    for line in flows:
        if not line.strip():
            continue
        request: Any = None
        try:
            request = decode(line)
            if not isinstance(request, dict):
                raise BadRequestError("not a JSON object")
            answer = answerer.answer(request, hops=hops)
        except (BadRequestError, DecodeError, RecursionError) as error:
            status = FAILED
            answer = {**(request if isinstance(request, dict) else {}), "error": str(error)}
        out.write(_line(answer))
    return status


def _line(answer: dict[str, Any]) -> str:
    try:
        return encode(answer).decode() + "\n"
    except UnicodeEncodeError:  # half a surrogate pair, which the host's own JSON may hold
        return json.dumps(answer) + "\n"
