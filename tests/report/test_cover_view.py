"""The verdict on a host."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from diag.model.analysis import Analysis
from diag.model.reasons import Reachability, Reason
from diag.reach.analysis import analyse
from diag.reach.codes import CODES
from diag.report.cover_view import SET_APART, CoverView, cover_view
from diag.report.language import Language
from diag.report.view import build_view
from tests.hosts import Host
from tests.loading import analysis_of


def cover(analysis: Analysis) -> CoverView:
    return cover_view(build_view(analysis, Language()), Language())


@pytest.mark.parametrize(("name", "key"), [("seed_connected-d20", "healthy"), ("broken_links-d20", "broken")])
def test_isolation_is_no_fault(name: str, key: str) -> None:
    assert cover(analysis_of(name)).key == key


def test_a_host_with_nothing_to_judge() -> None:
    found = cover(analyse(Host().network("a", "10.1.0.0/24").container("web", "a").snapshot()))
    assert (found.key, found.troubles) == ("empty", ())


def test_what_cannot_be_told_is_no_health() -> None:
    analysis = analysis_of("seed_connected-d20")
    group = replace(analysis.groups[0], reachability=Reachability.UNKNOWN)
    found = cover(replace(analysis, groups=(group, *analysis.groups[1:])))
    assert found.key == "unknown"
    assert found.troubles[0].key == "unknown"


def test_faults_come_before_what_is_apart() -> None:
    troubles = cover(analysis_of("broken_links-d20")).troubles
    titles = [code.title for code in CODES if code.code in SET_APART]
    apart = [trouble.title in titles for trouble in troubles]
    assert apart == sorted(apart)


def test_every_pair_is_counted_once() -> None:
    analysis = analysis_of("seed_connected-d20")
    counted = [int(trouble.pairs.split()[0]) for trouble in cover(analysis).troubles]
    assert sum(counted) == sum(
        group.pairs for group in analysis.groups if group.reachability is not Reachability.REACHABLE
    )


def test_what_keeps_apart_is_documented_as_trouble() -> None:
    works = {code.code for code in CODES if code.works}
    assert not works & SET_APART
    assert Reason.LINK_DOWN not in SET_APART
