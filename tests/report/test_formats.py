"""Every format, on real captures and on a host with hostile names."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable
from html.parser import HTMLParser

import jsonschema
import pytest

from diag.errors import UsageError
from diag.model.analysis import Analysis
from diag.report.html import render_html
from diag.report.json_text import array_of, lines_of, object_of, on_lines, on_one_line
from diag.report.language import Language
from diag.report.render import ReportFormat, format_of, render
from diag.report.shown import shown
from diag.report.templates_env import template_folder
from diag.report.topology import draw
from tests.hostile import hostile
from tests.loading import analysis_of, apart

ENGLISH = Language()


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def page_of(analysis: Analysis) -> Page:
    page = Page()
    page.feed(render_html(analysis, ENGLISH).decode())
    return page


@pytest.mark.parametrize("analysis", [analysis_of("seed-d20"), hostile()], ids=["seed", "hostile"])
def test_html_is_one_file_that_asks_for_nothing(analysis: Analysis) -> None:
    page = page_of(analysis)
    assert [a.get("type") for tag, a in page.tags if tag == "script"] == ["application/json", None]
    for tag, attributes in page.tags:
        assert tag not in ("img", "iframe", "link", "object", "embed", "form")
        assert not any(name.startswith("on") for name in attributes)
        assert not attributes.get("src")
        assert (attributes.get("href") or "#").startswith("#")
    policy = next(
        a["content"] for t, a in page.tags if t == "meta" and "content-security-policy" in str(a.values()).lower()
    )
    assert str(policy).startswith("default-src 'none'")


def test_anchors_exist() -> None:
    page = page_of(analysis_of("published-d29"))
    ids = [a["id"] for _, a in page.tags if a.get("id")]
    assert len(ids) == len(set(ids))
    for _, attributes in page.tags:
        link = attributes.get("href")
        if link:
            assert link[1:] in ids


def test_hostile_names_are_text_everywhere() -> None:
    analysis = hostile()
    page = page_of(analysis)
    assert "<script>alert(1)</script>" in page.text
    assert "{{ 7 * 7 }}" in page.text
    assert "half‹U+D800›a pair" in page.text
    for report_format in (ReportFormat.HTML, ReportFormat.MARKDOWN, ReportFormat.TEXT):
        text = render(analysis, report_format).decode()
        assert "\u202e" not in text
        assert "202E›" in text
    assert render(analysis, ReportFormat.PDF).startswith(b"%PDF-")


@pytest.mark.parametrize(
    "name", ["seed-d20", apart("published-d29nft"), "broken_links-d20", apart("ipv6-d20"), "macvlan-d29"]
)
def test_json_fits_its_schema(name: str) -> None:
    from importlib import resources

    schema = json.loads(resources.files("diag.report").joinpath("schema/analysis.schema.json").read_text())
    document = json.loads(render(analysis_of(name), ReportFormat.JSON))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(document, schema)
    jsonschema.validate(json.loads(render(hostile(), ReportFormat.JSON)), schema)


def test_json_is_what_the_standard_library_writes() -> None:
    values = {"a": [], "b": {}, "c": ['\x00\x1f\b\n\x7f"\\é\U0001f525\u2028', 1, None, True], "d": [{"e": [2]}]}
    assert on_lines(values) == json.dumps(values, ensure_ascii=False, indent=2).encode()
    assert on_one_line(values) == json.dumps(values, ensure_ascii=False).encode()
    lines = on_lines(values, 1), on_one_line("x"), on_lines({"half": "\ud800é"}, 1)
    members: dict[str, Iterable[bytes]] = {
        "values": [lines[0]],
        "x": [lines_of([lines[1]], 1)],
        "xs": array_of([[lines[1]], [b"[", b"]"]], 1),
        "none": [lines_of([], 1)],
        "nothing": array_of([], 1),
        "y": [lines[2]],
    }
    assembled = b"".join(object_of(members.items(), 0))
    whole = {"values": values, "x": ["x"], "xs": ["x", []], "none": [], "nothing": [], "y": {"half": "\ud800é"}}
    assert assembled == json.dumps(whole, ensure_ascii=False, indent=2).encode("utf-8", "backslashreplace")
    assert json.loads(on_one_line(["\ud800", "é"])) == ["\ud800", "é"]


def test_only_html_and_pdf_load_their_libraries() -> None:
    modules = "analysis_json", "explanation", "markdown", "render", "text"
    code = f"import sys, {', '.join(f'diag.report.{m}' for m in modules)}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"jinja2", "markupsafe", "weasyprint"}.intersection(loaded)


@pytest.mark.parametrize(
    "report_format",
    [f if f is not ReportFormat.PDF else pytest.param(f, marks=pytest.mark.apart) for f in ReportFormat],
)
def test_the_same_analysis_gives_the_same_bytes(report_format: ReportFormat) -> None:
    assert render(analysis_of("seed-d20"), report_format) == render(analysis_of("seed-d20"), report_format)


def test_shown_makes_the_invisible_visible() -> None:
    assert shown("a\x1b[31mb\u200b") == "a‹U+001B›[31mb‹U+200B›"
    assert len(shown("x" * 1000)) == 400


def test_formats_by_suffix() -> None:
    assert format_of("a/b.HTML") is ReportFormat.HTML
    with pytest.raises(UsageError, match="suffix must be one of"):
        format_of("report.docx")


def test_templates_hold_no_logic_beyond_loops_and_conditions() -> None:
    for path in template_folder().glob("*.j2"):
        for statement in re.findall(r"{%-?\s*(\w+)", path.read_text()):
            assert statement in ("for", "endfor", "if", "else", "endif", "macro", "endmacro", "import"), path


def test_broken_things_are_drawn_broken() -> None:
    picture = draw(analysis_of("broken_links-d20"), ENGLISH).whole()
    for text in ("link is down", "is on no bridge", "no interface has this address", "bridge is down"):
        assert text in picture
    assert "box-down" not in draw(analysis_of("seed-d20"), ENGLISH).whole()
