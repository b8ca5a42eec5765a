"""Pairs as a report shows them: nothing is said twice, and each step leads to what shows it."""

from __future__ import annotations

import re

from diag.report.html import render_html
from diag.report.language import Language
from diag.report.view import build_view
from tests.loading import analysis_of

ENGLISH = Language()


def test_what_stops_some_ports_is_said_once() -> None:
    view = build_view(analysis_of("user_rules-d29"), ENGLISH)
    paths = [path for group in view.groups for path in group.paths]
    assert any(path.partial for path in paths)
    for path in paths:
        if path.partial:
            assert path.lead.endswith(" on some ports only.")
            assert path.explanation.endswith(f"on {path.allowed}. Not on {'; '.join(path.partial)}.")
        else:
            assert path.lead == path.explanation


def test_steps_lead_to_lines_and_to_containers() -> None:
    analysis = analysis_of("user_rules-d29")
    view = build_view(analysis, ENGLISH)
    folders = {container.id: container.folder for container in view.containers}
    hops = [hop for group in view.groups for path in group.paths for hop in (*path.hops, *path.hops_back)]
    cited = [hop.cited for hop in hops if hop.cited is not None]
    for one in cited:
        if one.goal in folders:
            assert one.file == f"{folders[one.goal]}/{one.label}"
        else:
            assert one.label in (one.file, f"{one.file}:{one.line}")
    assert {one.goal for one in cited} & folders.keys()
    page = render_html(analysis, ENGLISH).decode()
    assert set(re.findall(r'href="#([ce]\d+)"', page)) <= set(re.findall(r'id="([ce]\d+)"', page))
