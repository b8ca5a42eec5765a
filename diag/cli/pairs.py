"""`diag pairs`: every ordered pair, one row each and per destination address, streamed."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable
from itertools import chain

import click

from diag.cli import DONE
from diag.cli.source import load_bundle, source_option

COLUMNS = ("source", "destination", "family", "address", "reachability", "allowed", "reason", "names")


@click.command("pairs")
@source_option
@click.option("--format", "form", type=click.Choice(["table", "jsonl", "csv"]), default="table", show_default=True)
@click.option(
    "--endpoints",
    type=click.Choice(["containers", "all"]),
    default="containers",
    show_default=True,
    help="all: also @host, the host's own stack, and @world, anything beyond its uplink.",
)
def command(source: str, form: str, endpoints: str) -> int:
    """Every ordered pair of containers and destination address, one row each."""
    from diag.parse.snapshot import build_snapshot
    from diag.reach.rows import PairRow, pair_rows, reserved_rows

    snapshot = build_snapshot(load_bundle(source))
    rows: Iterable[PairRow] = pair_rows(snapshot)
    if endpoints == "all":
        rows = chain(rows, reserved_rows(snapshot))
    if form == "jsonl":
        for row in rows:
            sys.stdout.write(json.dumps(row.as_json(), ensure_ascii=False) + "\n")
    elif form == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in rows:
            writer.writerow(row.as_text())
    else:
        _table(rows)
    return DONE


def _table(rows: Iterable[object]) -> None:
    """Columns as wide as their content; one pass over all rows, which a terminal can hold."""
    from diag.reach.rows import PairRow

    texts = [row.as_text() for row in rows if isinstance(row, PairRow)]
    widths = [max(len(column), *(len(t[i]) for t in texts), 0) for i, column in enumerate(COLUMNS)]
    for cells in (COLUMNS, *texts):
        print("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip())
