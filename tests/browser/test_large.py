"""A host of a thousand containers: its report stays small, and every pair has its link."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import pytest
from playwright.sync_api import expect

from benchmarks.hosts import HostSpec, write_host
from diag.model.analysis import Analysis
from diag.pipeline import analyse_snapshot, load_snapshot
from diag.reach.fixes import MAX_CONTAINERS
from diag.report.html import render_html
from diag.report.language import Language
from diag.report.words import LARGE
from tests.browser.conftest import DESK, PHONE, Open, complaints_of_axe

pytestmark = pytest.mark.apart
MEGABYTES = 6
CROWD = HostSpec(containers=MAX_CONTAINERS + 1, networks=4, multihomed=0.2)
"""Just large enough for a report of a large host that is quickly made, and with containers of several addresses."""
APART = HostSpec(containers=MAX_CONTAINERS + 1, networks=8, distinct=True)
"""No two containers behave alike."""
BYTES_PER_GROUP = 2_300


@functools.cache
def made_up(spec: HostSpec) -> Analysis:
    with tempfile.TemporaryDirectory() as folder:
        write_host(Path(folder) / "bundle", spec)
        return analyse_snapshot(load_snapshot(str(Path(folder) / "bundle")))


def thousand() -> Analysis:
    return made_up(HostSpec())


def test_the_file_is_small() -> None:
    assert len(render_html(thousand(), Language())) < MEGABYTES * 1_000_000


def test_a_group_takes_few_bytes() -> None:
    groups = len(made_up(APART).groups)
    assert groups > 5 * LARGE
    assert len(render_html(made_up(APART), Language())) < BYTES_PER_GROUP * groups


@pytest.mark.parametrize(("size", "dark"), [(DESK, False), (PHONE, True)], ids=["light", "dark phone"])
def test_links_are_large_enough_to_tap(opened: Open, size: tuple[int, int], dark: bool) -> None:
    """Groups out of sight are not laid out yet, so that links in them are judged by where they would be."""
    page = opened(made_up(CROWD), size=size, dark=dark)
    assert complaints_of_axe(page, "target-size") == []


def test_the_matrix_is_folded(opened: Open) -> None:
    page = opened(thousand())
    rows = page.locator(".matrix tbody tr")
    assert 1 < rows.count() <= LARGE
    cell = page.locator(".matrix td.mixed a").first
    title = str(cell.get_attribute("title"))
    cell.click()
    expect(page.locator("#filter-count")).to_have_text(title)
    chosen = str(cell.get_attribute("data-groups"))
    shown = page.locator("article.group:not([hidden])")
    assert shown.first.get_attribute("id") == f"group-{chosen.replace('-', ',').split(',')[0]}"


def test_a_link_to_a_pair_leads_to_its_group(opened: Open) -> None:
    names = [c.name for c in thousand().snapshot.containers]
    source, destination = names[1], names[-1]
    group = next(g for g in thousand().groups if source in g.sources and destination in g.destinations)
    page = opened(thousand(), f"#pair={source}/{destination}")
    article = page.locator("article.group.lit")
    expect(article).to_be_in_viewport()
    expect(article.locator(".pair-bar")).to_contain_text(f"{source} → {destination}")
    expect(article).to_contain_text(group.example[0])


def test_no_pair_is_lost_in_the_folds(opened: Open) -> None:
    page = opened(thousand())
    told = page.locator(".matrix td a").evaluate_all(
        """(links) => links.flatMap((link) => link.title.split(": ").pop().split(", ")
             .map((part) => Number(part.match(/^\\d+/)[0]))).reduce((a, b) => a + b)"""
    )
    assert told == sum(g.pairs for g in thousand().groups)


@pytest.mark.parametrize("word", ["app-001", "same-bridge", "zzz"])
def test_the_filter_leaves_what_has_the_word(opened: Open, word: str) -> None:
    page = opened(thousand())
    every = page.locator("article.group").count()
    page.fill("#filter", word)
    left = page.locator("article.group:not([hidden])")
    assert left.count() < every
    assert (left.count() == 0) == (word == "zzz")
    page.fill("#filter", "")
    assert left.count() == every


def test_it_fits_a_phone(opened: Open) -> None:
    page = opened(thousand(), size=PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE[0]
