"""Scopes of names beside the seed's: aliases, extra hosts, external names."""

from __future__ import annotations

from diag.model.reasons import Reason, Via
from diag.names.resolver import Resolver
from tests.loading import snapshot_of

ICC = Resolver(snapshot_of("internal_icc-d28"))


def test_alias_extra_host_and_link() -> None:
    assert ICC.resolve("p2", "web").target == "p1"
    extra = ICC.resolve("p2", "fixed.example")
    assert (extra.via, extra.addresses) == (Via.EXTRA_HOST, ("10.9.9.9",))
    link = ICC.resolve("q2", "db")
    assert (link.via, link.target) == (Via.LINK, "q1")
    assert ICC.resolve("q3", "db").addresses == ()


def test_short_id_and_network_suffix() -> None:
    container = snapshot_of("internal_icc-d28").container("p1")
    assert container is not None
    assert ICC.resolve("p2", container.short_id).target == "p1"
    assert ICC.resolve("p2", "p1.plain").target == "p1"
    assert ICC.resolve("p2", "p1.quiet").addresses == ()


def test_a_name_that_nobody_has() -> None:
    assert ICC.resolve("p2", "nothing").reason is Reason.NAME_UNKNOWN
    assert ICC.resolve("p2", "www.example.org").via is Via.EXTERNAL


def test_an_address_is_its_own_name() -> None:
    assert ICC.resolve("p2", "172.20.0.3").addresses == ("172.20.0.3",)


def test_the_scope_lists_what_resolves_and_what_does_not() -> None:
    scope = ICC.scope("p2")
    assert scope.resolver == "embedded-dns"
    assert {"p1", "web", "fixed.example"} <= {n.name for n in scope.names}
    assert "s1" in {name for missing in scope.missing for name in missing.names}
    assert all(missing.count == len(missing.names) for missing in scope.missing)
    assert {n.reason for n in scope.missing} == {Reason.NAME_SCOPE}
