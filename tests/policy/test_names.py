"""Names that must resolve."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from diag.model.analysis import Analysis
from diag.names.resolver import Resolver
from diag.policy.names import LookUps
from diag.policy.select import Members
from diag.reach.analysis import analyse
from tests.hosts import Host
from tests.loading import COVERING, analysis_of, apart
from tests.policy.policies import judged, one


@pytest.mark.parametrize("capture", [*sorted(COVERING), apart("seed_connected-d28")])
def test_look_ups_are_the_resolvers(capture: str) -> None:
    analysis = analysis_of(capture)
    resolver = Resolver(analysis.snapshot)
    look_ups = LookUps(analysis, Members(analysis.snapshot))
    names = [c.name for c in analysis.snapshot.containers]
    for source in names:
        for name in (*names, "no.such.name", f"{names[0]}.net"):
            assert look_ups.answer(source, name) == resolver.resolve(source, name)


def test_by_name() -> None:
    good, wrong, none, own = judged(
        """
        resolve:
          - {from: ng1, name: ng2, to: ng2}
          - {from: ng1, name: ng2, to: ng1}
          - {from: mysql1, name: ng2}
          - {from: {network: test_net1}, to: {network: test_net1}}
        """,
        analysis_of("seed-d28"),
    )
    assert good.held
    assert own.held
    assert wrong.held is False
    assert wrong.explanation.startswith("In ng1 the name ng2 leads to ng2 (172.18.0.")
    assert (none.held, none.subject, none.failed) == (False, ("mysql1", "ng2"), 1)
    assert "the default bridge only" in none.explanation
    assert none.evidence is not None
    assert none.evidence.file.endswith("resolv.conf")


def test_names_that_others_answer_cannot_be_told() -> None:
    found = one("resolve: [{from: ng1, name: www.example.com}]", analysis_of("seed-d28"))
    assert found.held is None
    assert found.failed == 1
    assert found.explanation.startswith("ng1 may or may not resolve the name www.example.com")


def with_hosts_entry() -> Analysis:
    host = Host().network("app", "10.1.0.0/24").container("web", "app").uplink()
    snapshot = host.snapshot()
    containers = tuple(
        replace(c, extra_hosts=(("gate", "192.0.2.10"), ("far", "203.0.113.9"))) for c in snapshot.containers
    )
    return analyse(replace(snapshot, containers=containers))


def test_the_host_by_name() -> None:
    gate, far, named = judged(
        """
        resolve:
          - {from: web, name: gate, to: "@host"}
          - {from: web, name: far, to: "@host"}
          - {from: web, name: far}
        """,
        with_hosts_entry(),
    )
    assert gate.held
    assert named.held
    assert (far.held, far.explanation) == (False, "In web the name far leads to 203.0.113.9.")
