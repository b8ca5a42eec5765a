"""The verdict on a host: what is broken is told from what rules stop and from what is apart because it was set up so."""

from __future__ import annotations

import pytest

from diag.model.analysis import Analysis
from diag.reach.analysis import analyse
from diag.report.language import Language
from diag.report.summary_view import SummaryView
from diag.report.view import build_view
from tests.hosts import Host
from tests.loading import analysis_of


def summary(analysis: Analysis) -> SummaryView:
    return build_view(analysis, Language()).summary


@pytest.mark.parametrize(
    ("name", "key", "problem", "apart"),
    [
        ("broken_links-d20", "unreachable", "link-down", "no-route"),
        ("stopped-d28", "partial", "", "not-running"),
        ("user_rules-d29nft", "partial", "policy-drop", "direct-access-drop"),
        ("seed-d29", "reachable", "", "direct-access-drop"),
        ("cross_accept-d20", "reachable", "", "isolation"),
        ("published-d29", "reachable", "", "internal-network"),
        ("user_rules-d20", "partial", "firewall-drop", "isolation"),
        ("macvlan-d29", "unreachable", "no-neighbour", "macvlan-isolation"),
    ],
)
def test_verdicts(name: str, key: str, problem: str, apart: str) -> None:
    found = summary(analysis_of(name))
    assert found.key == key
    assert (problem in {p.reason for p in found.problems}) == bool(problem)
    assert (apart in {p.reason for p in found.apart}) == bool(apart)


@pytest.mark.parametrize("name", ["broken_links-d20", "random_2-d28", "seed-d29"])
def test_every_pair_that_does_not_work_is_counted_once(name: str) -> None:
    view = build_view(analysis_of(name), Language())
    told = sum(p.pairs for p in (*view.summary.problems, *view.summary.apart))
    works = next(count.pairs for count in view.counts if count.key == "reachable")
    assert view.summary.more == 0
    assert told + works == sum(count.pairs for count in view.counts)
    assert {p.group for p in view.summary.problems} <= {group.id for group in view.groups}


def test_what_docker_stops_in_part_is_not_a_problem() -> None:
    apart = summary(analysis_of("cross_accept-d20")).apart
    assert [p.title for p in apart] == [
        "Works on some ports only: Docker keeps networks apart",
        "Docker keeps networks apart",
    ]
    assert "rule 1 of DOCKER-ISOLATION-STAGE-2 drops it" in apart[0].example


def test_a_fix_is_in_the_summary_and_in_the_list() -> None:
    view = build_view(analysis_of("user_rules-d20"), Language())
    first = next(p.fix for p in view.summary.problems if p.fix)
    assert first in {fixed.fix for fixed in view.fixes}


def test_hosts_without_pairs_and_without_trouble() -> None:
    host = Host().network("a", "10.1.0.0/24")
    assert summary(analyse(host.snapshot())).verdict == "There is nothing to judge."
    found = summary(analyse(host.container("x", "a").container("y", "a").snapshot()))
    assert (found.key, found.verdict, found.problems, found.apart) == (
        "reachable",
        "Everything reaches everything.",
        (),
        (),
    )


def test_where_no_fix_is_proved_there_is_advice() -> None:
    found = summary(analysis_of("broken_links-d20")).problems
    assert next(p.advice for p in found if p.reason == "link-down") == "ip link set dev INTERFACE up."
    assert all(bool(p.fix) != bool(p.advice) for p in found)
