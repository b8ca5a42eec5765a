"""The printed report: its parts, its tags, its fonts, and how large it gets. Pages are left in build/screenshots/ to look at."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
import zlib
from pathlib import Path

import pytest
from msgspec.structs import replace

from diag.model.analysis import Analysis
from diag.model.reasons import Reachability
from diag.reach.analysis import analyse
from diag.report.language import Language
from diag.report.paper import Paper
from diag.report.pdf import NoFetcher, print_html, render_pdf
from diag.report.weasy import load_weasyprint
from tests.hostile import HOSTILE, hostile
from tests.hosts import Host
from tests.loading import analysis_of
from tests.report.test_large import large

SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"
CHINESE = {"web": "前端服务器", "db": "数据库"}
SECTIONS = (
    "Networks",
    "Who reaches whom",
    "Pairs, and why",
    "The host and the world",
    "Names",
    "Containers",
    "Evidence",
)


class Pdf:
    """What a test asks of a document."""

    def __init__(self, data: bytes, path: Path) -> None:
        self.path = path
        path.write_bytes(data)
        streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", data, re.DOTALL)
        self.objects = (data + b"\n".join(_inflated(stream) for stream in streams)).decode("latin-1")

    def tool(self, name: str, *arguments: str) -> str:
        """What one of poppler's tools says."""
        return subprocess.run([name, *arguments], capture_output=True, text=True, check=True).stdout

    @functools.cached_property
    def pages(self) -> list[str]:
        return self.tool("pdftotext", "-layout", str(self.path), "-").split("\f")[:-1]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.pages).split())

    @property
    def info(self) -> str:
        return self.tool("pdfinfo", str(self.path))

    @property
    def fonts(self) -> str:
        return self.tool("pdffonts", str(self.path))

    @property
    def outline(self) -> list[str]:
        return [_string(title) for title in re.findall(r"/Title (<[0-9a-fA-F]*>|\((?:\\.|[^\\)])*\))", self.objects)]


def _inflated(stream: bytes) -> bytes:
    try:
        return zlib.decompress(stream)
    except zlib.error:
        return b""


def _string(text: str) -> str:
    """A string object as text: UTF-16 in hexadecimal digits, or Latin."""
    if text.startswith("<"):
        return bytes.fromhex(text[1:-1]).decode("utf-16").removeprefix("\ufeff")
    return re.sub(r"\\(.)", r"\1", text[1:-1])


def printed(analysis: Analysis, name: str, lang: str = "en", paper: Paper = Paper.A4) -> Pdf:
    """The document, in a file that stays; its first pages as pictures where that is possible."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    pdf = Pdf(render_pdf(analysis, Language(lang), paper), SCREENSHOTS / f"{name}.pdf")
    if shutil.which("pdftoppm"):
        prefix = str(SCREENSHOTS / f"print-{name}")
        subprocess.run(["pdftoppm", "-png", "-r", "60", "-l", "6", str(pdf.path), prefix], check=True)
    return pdf


@functools.cache
def seed() -> Pdf:
    return printed(analysis_of("seed_connected-d20"), "seed")


def chinese() -> Analysis:
    snapshot = Host().network("a", "10.1.0.0/24").container("web", "a").container("db", "a").snapshot()
    containers = tuple(replace(c, name=CHINESE[c.name]) for c in snapshot.containers)
    of = {CHINESE[name]: netns for name, netns in snapshot.netns_of.items()}
    return analyse(replace(snapshot, containers=containers, netns_of=of))


def test_the_cover_has_the_verdict_and_what_is_apart() -> None:
    cover = " ".join(seed().pages[0].split())
    for text in (
        "Docker networking on dockerhost",
        "Docker 20.10.24",
        "not recorded",
        "Nothing is broken.",
        "114 do not",
    ):
        assert text in cover
    assert "docker network connect bridge goofy_swartz" in cover
    broken = " ".join(printed(analysis_of("broken_links-d20"), "broken").pages[0].split())
    assert "Something is broken." in broken
    assert "What is wrong first Link is down" in re.sub(r"[✕?◐] ", "", broken)


def test_contents_name_the_pages() -> None:
    contents = dict(re.findall(r"^\s*([A-Z][^\n]*?)\s{3,}(\d+)$", seed().pages[1], re.MULTILINE))
    assert set(SECTIONS) <= contents.keys()
    for title, number in contents.items():
        assert re.search(rf"^{re.escape(title)}$", seed().pages[int(number) - 1], re.MULTILINE), title


def test_pages_have_running_headers() -> None:
    for number, page in enumerate(seed().pages[2:], 3):
        heading = page.splitlines()[0]
        assert heading.startswith("Docker networking on dockerhost")
        assert heading.endswith(("Evidence", *SECTIONS, "Interfaces of the host", "What is not known"))
        assert f"Page {number} of {len(seed().pages)}" in page


def test_the_outline_has_sections_and_groups() -> None:
    assert set(SECTIONS) <= set(seed().outline)
    assert any("lonely → goofy_swartz" in title for title in seed().outline)


def test_it_is_tagged() -> None:
    objects = seed().objects
    assert "/Marked true" in objects
    assert "/DisplayDocTitle true" in objects
    assert "pdfuaid" in objects
    for tag in ("/H1", "/H2", "/H3", "/Table", "/TH", "/TD", "/Figure", "/Link"):
        assert f"/S {tag}" in objects, tag
    assert objects.count("/S /Figure") == objects.count("/Alt ") == 2
    assert "/Headers [" in objects
    assert "/Lang (en)" in objects
    assert "Docker networking on dockerhost" in seed().info
    assert "CreationDate" not in seed().info


def test_fonts_are_embedded() -> None:
    rows = [line.split() for line in seed().fonts.splitlines()[2:]]
    assert rows
    assert all(row[-5] == "yes" for row in rows)


def test_chinese_has_glyphs() -> None:
    pdf = printed(chinese(), "zh", "zh")
    assert "/Lang (zh)" in pdf.objects
    for text in (*CHINESE.values(), Language("zh").say("reachable")):
        assert text in pdf.text
    assert re.search(r"WenQuanYi|CJK|DroidSansFallback|Droid-Sans-Fallback", pdf.fonts), pdf.fonts
    assert CHINESE["web"] in printed(chinese(), "zh-names").text


@pytest.mark.parametrize(("paper", "size"), [(Paper.A4, "A4"), (Paper.LETTER, "letter")])
def test_papers(paper: Paper, size: str) -> None:
    pdf = printed(analysis_of("ipv6-d20"), f"paper-{size}", paper=paper)
    sizes = set(re.findall(r"Page size:.*\((\w+)\)", pdf.info))
    assert sizes == {size}


def test_the_same_analysis_gives_the_same_bytes() -> None:
    analysis = analysis_of("ipv6-d20")
    first = render_pdf(analysis, Language(), Paper.LETTER)
    assert first == render_pdf(analysis, Language(), Paper.LETTER)
    assert first != render_pdf(analysis, Language(), Paper.A4)


def test_nothing_is_fetched() -> None:
    for text in (
        print_html(hostile(), Language(), Paper.A4),
        print_html(analysis_of("seed-d20"), Language(), Paper.A4),
    ):
        assert not re.search(r"<(img|link|script|object|iframe|image)\b", text)
        assert not re.search(r"<[^>]*\b(src|xlink:href)=|url\(", text)
        assert set(re.findall(r'href="(.)', text)) <= {"#"}


def test_a_fetcher_that_fetches_nothing_fails_nothing() -> None:
    page = load_weasyprint().HTML(string='<img src="http://192.0.2.1/">still there', url_fetcher=NoFetcher())
    assert page.write_pdf().startswith(b"%PDF")


def test_hostile_names_are_text_and_stay_on_the_page() -> None:
    pdf = printed(hostile(), "hostile")
    assert "<script>alert(1)</script>" in pdf.text
    assert "{{ 7 * 7 }}" in pdf.text
    assert "/URI" not in pdf.objects
    boxes = pdf.tool("pdftotext", "-bbox", str(pdf.path), "-")
    words = [float(right) for right in re.findall(r'<word[^>]* xMax="([\d.]+)"', boxes)]
    assert words
    assert max(words) <= 595.3 - 18 / 25.4 * 72 + 1
    assert any(name.startswith("nnn") for name in HOSTILE)


def test_a_large_host_is_a_summary_that_says_what_is_left_out() -> None:
    pdf = printed(large(), "large")
    assert len(pdf.pages) < 40
    assert "more rows are in the HTML and JSON reports." in pdf.text
    assert "the HTML and JSON reports have them whole" in pdf.text


def test_the_verdict_does_not_colour_the_marks() -> None:
    text = print_html(analysis_of("broken_links-d20"), Language(), Paper.A4)
    cover = re.search(r'<section class="cover ([^"]+)">', text)
    assert cover is not None
    assert not set(cover[1].split()) & {reachability.value for reachability in Reachability}
