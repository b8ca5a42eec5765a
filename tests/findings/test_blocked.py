"""What rules stop, by rule."""

from __future__ import annotations

from diag.findings.blocked import by_culprit, subject_of, what_is_stopped
from diag.findings.check import Facts
from tests.loading import analysis_of


def test_rules_that_stop_containers_of_one_network() -> None:
    facts = Facts(analysis_of("user_rules-d29nft"))
    stopped = {subject_of(facts, culprit): what_is_stopped(stops) for culprit, stops in by_culprit(facts.blocked)}
    assert stopped["filter FORWARD policy"] == "api to web and 5 more on app, api to cache and 5 more on db"
    assert stopped["filter GUARDS: -p udp -m udp --dport 53 -j DROP"] == "api to pg and 1 more on db"
    assert len(stopped) == 6


def test_only_one_reason_is_the_whole_reason() -> None:
    facts = Facts(analysis_of("user_rules-d29nft"))
    assert {subject_of(facts, blocked.culprit) for blocked in facts.blocked if blocked.wholly} == {
        "filter FORWARD policy"
    }


def test_docker_itself_is_no_culprit() -> None:
    for name in ("internal_icc-d20", "internal_icc-d29", "gateway_modes-d29nft"):
        assert Facts(analysis_of(name)).blocked == ()
