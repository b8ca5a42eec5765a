"""The picture of the networks on pages."""

from __future__ import annotations

import re

from diag.report.language import Language
from diag.report.picture_pages import PAGES, picture_pages
from diag.report.topology import draw
from tests.loading import analysis_of


def heights(pages: tuple[str, ...]) -> list[float]:
    return [float(height) for page in pages for height in re.findall(r'viewBox="0 [\d.]+ [\d.]+ ([\d.]+)"', page)]


def test_a_picture_is_cut_between_lanes() -> None:
    picture = draw(analysis_of("seed_connected-d20"), Language())
    lanes = picture.whole().count('<g class="lane ')
    assert lanes == len(picture.lanes)
    assert picture_pages(picture, 5.0) == (picture.whole(),)
    pages = picture_pages(picture, 0.4)
    assert 1 < len(pages) <= PAGES
    assert sum(page.count('<g class="lane ') for page in pages) == lanes
    assert all(page.endswith("</svg>") and page.count("<title>Networks") == 1 for page in pages)
    assert max(heights(pages)) <= 0.4 * 1120 + 2


def test_too_many_pages_are_none() -> None:
    assert picture_pages(draw(analysis_of("seed_connected-d20"), Language()), 0.1) == ()
