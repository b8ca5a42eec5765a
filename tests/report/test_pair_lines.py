"""Lines that share what they have in common are those that a CSV writer and json.dumps make of each row."""

from __future__ import annotations

import csv
import io
import json

import pytest

from diag.reach.rows import source_rows
from diag.report.pair_lines import COLUMNS, CsvLines, JsonLines, csv_heading
from tests.hosts import Host
from tests.loading import snapshot_of


@pytest.mark.parametrize("name", ["seed_connected-d29", "ipv6-d20", "stopped-d28"])
def test_lines_are_the_rows(name: str) -> None:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    blocks = list(source_rows(snapshot_of(name)))
    rows = [row for block in blocks for row in block.rows()]
    writer.writerows(row.as_text() for row in rows)
    as_csv, as_json = CsvLines(), JsonLines()
    assert csv_heading() + "".join(as_csv.block(block) for block in blocks) == out.getvalue()
    expected = [json.dumps(row.as_json(), ensure_ascii=False) for row in rows]
    assert "".join(as_json.block(block) for block in blocks).splitlines() == expected
    assert "".join(as_json.line(row) for row in rows).splitlines() == expected


def test_names_that_need_quotes() -> None:
    host = Host().network("n", "10.1.0.0/24").container('a,"b', "n").container("c", "n")
    lines = CsvLines()
    text = "".join(lines.block(block) for block in source_rows(host.snapshot()))
    assert [row[:2] for row in csv.reader(io.StringIO(text))] == [['a,"b', "c"], ["c", 'a,"b']]
