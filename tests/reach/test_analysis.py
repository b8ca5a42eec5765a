"""Everything there is to say about a host, in one process and in two."""

from __future__ import annotations

import pytest

from diag.forked import at_once
from diag.reach.analysis import analyse
from diag.report.language import Language
from diag.report.render import ReportFormat, render_parts
from tests.loading import EACH_CAPTURE, snapshot_of


@pytest.mark.parametrize("name", EACH_CAPTURE)
def test_two_processes_find_what_one_does(name: str) -> None:
    snapshot = snapshot_of(name)
    alone, together = analyse(snapshot), analyse(snapshot, both=at_once)
    assert together == alone
    for report_format in (ReportFormat.JSON, ReportFormat.HTML):
        written = [b"".join(render_parts(found, report_format, Language())) for found in (together, alone)]
        assert written[0] == written[1]
