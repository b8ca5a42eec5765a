"""One browser for all tests; no page that a test opens may ask the network for anything or complain."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from diag.model.analysis import Analysis
from diag.report.html import render_html
from diag.report.language import Language

SCREENSHOTS = Path(__file__).parent.parent.parent / "build" / "screenshots"
DESK, PHONE = (1280, 900), (390, 844)
TAGS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
"""Of axe's rules."""


def complaints_of_axe(page: Page, *rules: str) -> list[tuple[str, str, list[str]]]:
    """Rules that a page breaks, how bad that is, and the first places; `rules` if not all are to be asked."""
    only = {"type": "rule", "values": list(rules)} if rules else list(TAGS)
    found = Axe().run(page, options={"resultTypes": ["violations"], "runOnly": only}).response["violations"]
    return [(v["id"], v["impact"], [n["html"][:200] for n in v["nodes"][:3]]) for v in found]


class Open(Protocol):
    """Opens the report of an analysis."""

    def __call__(
        self,
        analysis: Analysis,
        fragment: str = "",
        *,
        size: tuple[int, int] = DESK,
        dark: bool = False,
        scripts: bool = True,
    ) -> Page: ...


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[int, tuple[Analysis, Path]]:
    """Reports by the identity of their analysis, which is kept so that it stays one."""
    return {}


@pytest.fixture
def opened(
    browser: Browser, written: dict[int, tuple[Analysis, Path]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Open]:
    requests: list[str] = []
    complaints: list[str] = []
    contexts = []

    def open_report(
        analysis: Analysis,
        fragment: str = "",
        *,
        size: tuple[int, int] = DESK,
        dark: bool = False,
        scripts: bool = True,
    ) -> Page:
        if id(analysis) not in written:
            path = tmp_path_factory.mktemp("report") / "report.html"
            path.write_bytes(render_html(analysis, Language()))
            written[id(analysis)] = analysis, path
        context = browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme="dark" if dark else "light",
            java_script_enabled=scripts,
        )
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(written[id(analysis)][1].as_uri() + fragment)
        return page

    yield open_report
    for context in contexts:
        context.close()
    assert not complaints
    assert all(url.startswith("file://") for url in requests)


@pytest.fixture(scope="session")
def screenshots() -> Path:
    """Where pictures for people to look at go."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    return SCREENSHOTS
