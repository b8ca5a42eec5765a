"""A report in a browser: `python -m benchmarks.browser BUNDLE` says how soon it can be used and how long its filters take.

Chromium is Debian's; the figures are milliseconds in the page, medians and worst of several tries, beside an empty page.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from msgspec import Struct
from playwright.sync_api import Browser, sync_playwright

from diag.pipeline import analyse_snapshot, load_snapshot
from diag.report.html import render_html
from diag.report.language import Language

CHROMIUM = "/usr/bin/chromium"
WORDS = ("", "app-001", "same-bridge", "no such thing", "")
"""What is typed into the filter, one after the other."""
TRIES = 5
_EMPTY = b"<!DOCTYPE html><title>empty</title><p>empty"
_READY = "() => { const t = performance.getEntriesByType('navigation')[0]; return t.domComplete - t.startTime; }"
_FILTER = """async (word) => {
  const filter = document.getElementById("filter");
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  const before = performance.now();
  filter.value = word;
  filter.dispatchEvent(new Event("input"));
  document.documentElement.scrollHeight;
  return performance.now() - before;
}"""


class Timed(Struct, frozen=True):
    """One thing, in milliseconds."""

    name: str
    middle: float
    worst: float


def timed(name: str, tries: Sequence[float]) -> Timed:
    """The median and the worst of some tries."""
    return Timed(name, median(tries), max(tries))


def measure(bundle: str) -> Iterator[Timed]:
    """Of the report of a bundle: until it is complete, and each filter with the layout that it causes."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder, sync_playwright() as playwright:
        page, empty = Path(folder) / "report.html", Path(folder) / "empty.html"
        page.write_bytes(render_html(analyse_snapshot(load_snapshot(bundle)), Language()))
        empty.write_bytes(_EMPTY)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield timed("empty page complete", [_opened(browser, empty, ())[0] for _ in range(TRIES)])
        runs = [_opened(browser, page, WORDS) for _ in range(TRIES)]
        browser.close()
    yield timed("report complete", [run[0] for run in runs])
    for position, word in enumerate(WORDS, 1):
        order = "first filter" if position == 1 else f"filter {position}"
        yield timed(f"{order}: {word!r}", [run[position] for run in runs])


def _opened(browser: Browser, path: Path, words: Sequence[str]) -> list[float]:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(path.as_uri())
    found = [float(page.evaluate(_READY))]
    page.wait_for_timeout(500)
    found += [float(page.evaluate(_FILTER, word)) for word in words]
    page.close()
    return found


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("bundle")
    print(f"{'':<32}{'median ms':>10}{'worst ms':>10}")
    for one in measure(parser.parse_args().bundle):
        print(f"{one.name:<32}{one.middle:10.0f}{one.worst:10.0f}", flush=True)


if __name__ == "__main__":
    main()
