"""A host that is too large to show everything at once: lists are folded, and nothing is lost."""

from __future__ import annotations

import functools
import json
from importlib import resources

import jsonschema
from msgspec.structs import replace

from diag.model.analysis import Analysis
from diag.model.docker import Container
from diag.reach.analysis import analyse
from diag.report.html import render_html
from diag.report.json_text import on_one_line
from diag.report.language import Language
from diag.report.members_view import BUT, MembersViews
from diag.report.names_view import SHARED, scope_views
from diag.report.pairs_view import pair_count
from diag.report.render import ReportFormat, render
from diag.report.words import LARGE
from tests.hosts import Host

APPS, EACH = 4, 16


ENGLISH = Language()


@functools.cache
def large() -> Analysis:
    """Networks of containers that are called by their service, too, and one container that is on all networks."""
    host = Host()
    for app in range(APPS):
        host = host.network(f"net{app}", f"10.{app}.0.0/24")
    for app in range(APPS):
        for number in range(EACH):
            host = host.container(f"app{app}-web-{number}", f"net{app}")
    snapshot = host.container("proxy", *(f"net{app}" for app in range(APPS))).snapshot()
    assert len(snapshot.containers) > LARGE
    return analyse(replace(snapshot, containers=tuple(_serving(c) for c in snapshot.containers)))


def _serving(container: Container) -> Container:
    return replace(container, endpoints=tuple(replace(e, aliases=("web",)) for e in container.endpoints))


def test_members_of_a_group_are_all_there() -> None:
    members = MembersViews(large().snapshot, ENGLISH)
    everyone = {c.name for c in large().snapshot.containers}
    leads = set()
    for group in large().groups:
        for names in (group.sources, group.destinations):
            view = members.of(names)
            listed = set(view.full.removeprefix(BUT).split(", "))
            assert (everyone - listed if view.lead else listed) == set(names)
            leads.add(view.lead)
    assert leads == {"", BUT}
    assert members.of(tuple(sorted(everyone))).full == "all containers"


def test_names_of_a_network_are_shown_once() -> None:
    scopes = {scope.container: scope for scope in large().names}
    views = list(scope_views(large(), ENGLISH))
    assert len(views) == APPS + 1
    for view in views:
        assert (view.note == SHARED) == (len(view.callers) > 1)
        for caller in view.callers:
            scope = scopes.pop(caller.container)
            container = large().snapshot.container(caller.container)
            ips = {str(e.ip) for e in container.endpoints} if container else set()
            found = {(a.name, ", ".join(a.addresses), a.via) for a in scope.names}
            own = {(row.name, row.addresses, row.via) for row in caller.own}
            shared = {(row.name, row.addresses, row.via) for row in view.names}
            alone = {row for row in shared if len(view.callers) > 1 and ips.issuperset(row[1].split(", "))}
            assert shared - alone | own == found
    assert not scopes


def test_pairs_are_counted() -> None:
    assert [pair_count(group) for group in large().groups] == [group.pairs for group in large().groups]


def test_html_folds() -> None:
    page = render_html(large(), ENGLISH).decode()
    assert page.count(SHARED) == APPS
    assert "<summary>As a picture</summary>" in page
    assert f'{BUT}<span class="but from">' in page


def test_json_has_a_line_per_name() -> None:
    text = render(large(), ReportFormat.JSON)
    document = json.loads(text)
    jsonschema.validate(
        document, json.loads(resources.files("diag.report").joinpath("schema/analysis.schema.json").read_text())
    )
    lines = {line.strip().rstrip(b",") for line in text.splitlines()}
    for scope in document["names"]:
        for item in (*scope["names"], *scope["missing"]):
            assert on_one_line(item) in lines
    del document["names"]
    assert set(json.dumps(document, indent=2, ensure_ascii=False).encode().splitlines()[1:-1]) <= set(text.splitlines())
