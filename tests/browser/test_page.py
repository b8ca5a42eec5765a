"""The HTML report in a real browser: what people do with it, on a desk, on a phone, and without scripts."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import DESK, PHONE, Open, complaints_of_axe
from tests.hostile import HOSTILE, hostile
from tests.loading import analysis_of

pytestmark = pytest.mark.apart
CASES = ("published-d29", "broken_links-d20", "overlay_A-d29", "ipv6-d20")
PAIR = "#pair=client_a/client_b"


def test_the_summary_is_first(opened: Open) -> None:
    page = opened(analysis_of("broken_links-d20"))
    verdict = page.locator("#verdict")
    expect(verdict).to_have_text("Something is broken.")
    expect(verdict).to_be_in_viewport()
    expect(page.locator(".problem").first).to_contain_text("link-down")
    expect(page.locator(".problem").first).to_be_in_viewport()


def test_the_filter_takes_names_networks_and_results(opened: Open) -> None:
    page = opened(analysis_of("published-d29"))
    groups, rows = page.locator("article.group:visible"), page.locator(".matrix tbody tr:visible")
    every = groups.count()
    page.fill("#filter", "pub_lo")
    assert 0 < groups.count() < every
    assert page.locator("#filter-count").inner_text().startswith(f"{groups.count()} of {every}")
    page.fill("#filter", "no such thing")
    expect(page.locator("#none")).to_be_visible()
    assert rows.count() == 0
    page.fill("#filter", "")
    assert groups.count() == every
    page.uncheck('.result[value="unreachable"]')
    assert page.locator("article.group.unreachable:visible").count() == 0
    page.check('.result[value="unreachable"]')
    page.select_option("#network", label="neta")
    assert 0 < groups.count() < every
    expect(page.locator(".matrix td.dim").first).to_be_attached()


def test_a_cell_leads_to_its_explanation_and_evidence(opened: Open) -> None:
    page = opened(analysis_of("published-d29"))
    page.locator(".matrix td.unreachable a").first.click()
    article = page.locator("article.group.lit")
    expect(article).to_be_in_viewport()
    expect(article.locator(".path ol li").first).to_be_visible()
    cited = article.locator(".excerpt .cited").first
    expect(cited).to_be_visible()
    anchor = article.locator(".path > pre a").first.get_attribute("href")
    line = page.locator(f".evidence > {anchor}")
    assert cited.inner_text().split("←")[0].strip() == line.inner_text().split("←")[0].strip()
    expect(line).to_have_class("cited lit")
    back = line.locator(".back a", has_text=str(article.get_attribute("id")))
    expect(back.first).to_be_attached()
    expect(page.locator(".matrix td.lit")).to_have_count(1)


def test_a_link_to_a_pair_opens_it(opened: Open) -> None:
    page = opened(analysis_of("published-d29"), PAIR)
    article = page.locator("article.group.lit")
    expect(article).to_be_in_viewport()
    expect(article.locator(".pair-bar")).to_contain_text("client_a → client_b")
    article.locator(".pair-bar button").click()
    expect(article.locator(".pair-bar button")).to_have_text("copied")
    assert _pasted(page).endswith(PAIR)
    page.evaluate("location.hash = 'pair=client_b→client_a'")
    expect(page.locator(".pair-bar")).to_contain_text("client_b → client_a")
    page.evaluate("location.hash = 'pair=client_b/nobody'")
    expect(page.locator("#found")).to_have_text("No container of this report is called nobody.")


def test_a_pair_is_found_by_its_names(opened: Open) -> None:
    page = opened(analysis_of("published-d29"))
    page.fill("#filter", "pub_lo")
    page.fill("#from", "client_a")
    page.fill("#to", "client_b")
    page.click("#find")
    expect(page.locator("article.group.lit")).to_be_in_viewport()
    assert page.evaluate("location.hash") == PAIR


def test_commands_are_copied(opened: Open) -> None:
    page = opened(analysis_of("published-d29"))
    fix = page.locator("#fixes ~ .fixed .fix").first
    fix.get_by_role("button").click()
    expect(fix.get_by_role("button")).to_have_text("copied")
    assert _pasted(page) == fix.locator("code").inner_text()


def _pasted(page: Page) -> str:
    """What a person gets who pastes."""
    page.evaluate("document.getElementById('filter').value = ''")
    page.focus("#filter")
    page.keyboard.press("Control+V")
    return page.input_value("#filter")


def test_arrow_keys_move_in_the_matrix(opened: Open) -> None:
    page = opened(analysis_of("published-d29"))
    links = page.locator(".matrix td a")
    links.first.focus()
    before = page.evaluate("document.activeElement.title")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    after = page.evaluate("document.activeElement.title")
    assert before.split(" → ")[0] != after.split(" → ")[0]
    assert page.locator('.matrix a[tabindex="0"]').count() == 1
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    expect(page.locator("article.group.lit")).to_be_in_viewport()


def test_a_container_of_the_picture_shows_what_it_reaches(opened: Open) -> None:
    page = opened(analysis_of("published-d29"))
    boxes = page.locator(".topology .box[data-at]")
    boxes.filter(has_text="client_a").hover()
    expect(page.locator("#reach")).to_have_text("client_a reaches 3 of 8")
    assert page.locator(".box.r-reachable").count() >= 2
    boxes.first.focus()
    page.keyboard.press("ArrowRight")
    expect(boxes.nth(1)).to_be_focused()
    expect(boxes.nth(1)).to_have_class("box box-ok source")


def test_dark_and_light(opened: Open) -> None:
    colour = "getComputedStyle(document.body).backgroundColor"
    light, dark = opened(analysis_of("seed-d20")), opened(analysis_of("seed-d20"), dark=True)
    at_first = light.evaluate(colour), dark.evaluate(colour)
    assert at_first[0] != at_first[1]
    for page in (light, dark):
        page.click("#theme")
    assert (dark.evaluate(colour), light.evaluate(colour)) == at_first


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("case", [*CASES, "hostile"])
def test_nothing_is_wider_than_the_page(opened: Open, case: str, size: tuple[int, int]) -> None:
    page = opened(hostile() if case == "hostile" else analysis_of(case), size=size)
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") == size[0]
    assert page.evaluate(_OVERFLOWING) == []


_OVERFLOWING = """() => Array.from(document.querySelectorAll("body *")).filter((e) => {
  const scrolls = e.closest(".scroll, .picture, .evidence, nav.toc > div, .skip, svg");
  return !scrolls && e.getBoundingClientRect().right > innerWidth + 1;
}).map((e) => e.tagName + "." + e.className)"""


def test_without_scripts_everything_is_there(opened: Open) -> None:
    page = opened(analysis_of("published-d29"), PAIR, scripts=False)
    link = page.locator('[id="pair=client_a/client_b"]')
    expect(link).to_be_in_viewport()
    groups = page.locator("article.group")
    assert groups.count() == page.locator("article.group:visible").count() > 0
    for section in ("summary", "topology", "matrix", "pairs", "endpoints", "names", "fixes", "evidence", "gaps"):
        expect(page.locator(f"#{section}")).to_be_visible()
    assert page.locator(".js-only:visible, .tools:visible").count() == 0


def test_hostile_names_are_text(opened: Open) -> None:
    page = opened(hostile())
    heads = page.locator(".matrix tbody th[scope=row]").all_inner_texts()
    assert HOSTILE[0] in heads
    assert "n" * 255 in [text.replace("\n", "") for text in heads]
    for number in range(page.locator(".matrix td a").count()):
        link = page.locator(".matrix td a").nth(number)
        title = str(link.get_attribute("title")).rpartition(":")[0]
        page.evaluate("(hash) => { location.hash = hash; }", link.get_attribute("href"))
        expect(page.locator(".pair-bar b")).to_have_text(title)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("case", [*CASES, "hostile"])
def test_nothing_serious_for_axe(opened: Open, case: str, dark: bool) -> None:
    page = opened(hostile() if case == "hostile" else analysis_of(case), dark=dark)
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    page.locator(".matrix td a").first.click()
    expect(page.locator("article.group.lit")).to_be_visible()
    assert complaints_of_axe(page) == []


def test_paper_shows_what_is_folded(opened: Open) -> None:
    page = opened(analysis_of("published-d29"), dark=True, scripts=False)
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    expect(page.locator(".path ol li").first).to_be_visible()
    expect(page.locator("nav.toc")).to_be_hidden()


@pytest.mark.parametrize("case", ["published-d29", "broken_links-d20", "hostile"])
def test_pictures_for_people(opened: Open, screenshots: Path, case: str) -> None:
    for name, size, dark in (("light", DESK, False), ("dark", DESK, True), ("phone", PHONE, False)):
        page = opened(hostile() if case == "hostile" else analysis_of(case), size=size, dark=dark)
        page.screenshot(path=screenshots / f"{case}-{name}.png", full_page=True)
        assert (screenshots / f"{case}-{name}.png").stat().st_size > 0
