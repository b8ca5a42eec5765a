"""`diag pairs`: every ordered pair, one row each and per destination address, streamed."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from itertools import chain
from typing import TYPE_CHECKING

import click

from diag.cli import DONE
from diag.cli.source import load_bundle, source_option

if TYPE_CHECKING:
    from diag.reach.rows import PairRow


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
    from diag.reach.rows import pair_rows, reserved_rows, source_rows
    from diag.report.pair_lines import CsvLines, JsonLines, csv_heading

    snapshot = build_snapshot(load_bundle(source))
    others = reserved_rows(snapshot) if endpoints == "all" else iter(())
    if form == "table":
        _table(chain(pair_rows(snapshot), others))
        return DONE
    if form == "csv":
        sys.stdout.write(csv_heading())
    lines = CsvLines() if form == "csv" else JsonLines()
    sys.stdout.writelines(lines.block(rows) for rows in source_rows(snapshot))
    sys.stdout.writelines(lines.line(row) for row in others)
    return DONE


def _table(rows: Iterable[PairRow]) -> None:
    """Columns as wide as their content; one pass over all rows, which a terminal can hold."""
    from diag.report.pair_lines import COLUMNS

    texts = [_for_a_person(row, COLUMNS.index("allowed")) for row in rows]
    widths = [max(len(column), *(len(t[i]) for t in texts), 0) for i, column in enumerate(COLUMNS)]
    for cells in (COLUMNS, *texts):
        print("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip())


def _for_a_person(row: PairRow, allowed: int) -> tuple[str, ...]:
    """Its columns, of which one is for programs as it is."""
    texts = row.as_text()
    return (*texts[:allowed], row.text.path.allowed.words, *texts[allowed + 1 :])
