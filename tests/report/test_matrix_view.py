"""The matrix folds as far as it must, and no pair is lost in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from diag.model.analysis import Analysis
from diag.reach.analysis import analyse
from diag.report.language import Language
from diag.report.matrix_view import CellView
from diag.report.view import ReportView, build_view
from diag.report.words import LARGE
from tests.hosts import Host
from tests.loading import analysis_of


def cells(view: ReportView) -> Iterator[CellView]:
    for block in view.grid.blocks:
        for row in block.rows:
            assert len(row.cells) == len(view.grid.columns)
            yield from row.cells


def host(networks: int, each: int, *, distinct: bool = False) -> Analysis:
    """Networks that keep to themselves; if distinct, no two containers behave alike."""
    made = Host()
    for network in range(networks):
        made = made.network(f"n{network}", f"10.{network}.0.0/24")
    for network in range(networks):
        for number in range(each):
            made = made.container(f"c{network}-{number}", f"n{network}")
    rules = [f"-A FORWARD -i br-n{a} -o br-n{b} -j DROP" for a in range(networks) for b in range(networks) if a != b]
    if distinct:
        own = enumerate(c for c in made.containers)
        rules = [f"-A FORWARD -d {c.endpoints[0].ip} -p tcp --dport {7000 + n} -j DROP" for n, c in own] + rules
    return analyse(made.rules("\n".join(rules)).snapshot())


@pytest.mark.parametrize("name", ["seed_connected-d29", "broken_links-d20"])
def test_a_small_host_has_a_cell_per_pair(name: str) -> None:
    view = build_view(analysis_of(name), Language())
    found = Counter(cell.key for cell in cells(view))
    assert not view.grid.folded
    assert {c.key: c.pairs for c in view.counts if c.pairs} | {"self": len(view.grid.columns)} == found
    links = {link.id for group in view.groups for link in group.links}
    assert {cell.href for cell in cells(view) if cell.href} == links


def test_those_that_behave_alike_share_a_row() -> None:
    view = build_view(host(4, 16), Language())
    assert view.grid.folded
    assert [column.name for column in view.grid.columns] == [f"c{n}-0 +15" for n in range(4)]
    assert [block.networks for block in view.grid.blocks] == ["n0", "n1", "n2", "n3"]
    assert Counter(cell.key for cell in cells(view)) == {"reachable": 4, "unreachable": 12}


def test_networks_that_look_alike_share_a_row() -> None:
    view = build_view(host(LARGE + 2, 2), Language())
    assert [column.name for column in view.grid.columns] == [f"c0-0 +{2 * (LARGE + 2) - 1}"]
    (cell,) = cells(view)
    assert (cell.key, cell.mark) == ("mixed", "✓✕")
    assert cell.title.endswith(f": {2 * (LARGE + 2)} reachable, {4 * (LARGE + 2) * (LARGE + 1)} not reachable")


def test_networks_are_the_last_fold() -> None:
    view = build_view(host(4, 16, distinct=True), Language())
    assert [block.networks for block in view.grid.blocks] == ["n0", "n1", "n2", "n3"]
    assert Counter(cell.key for cell in cells(view)) == {"partial": 4, "unreachable": 12}
