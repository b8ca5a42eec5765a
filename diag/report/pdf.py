"""The PDF report, by WeasyPrint from its own print template; nothing is fetched from anywhere."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterator
from typing import Any

from markupsafe import Markup

from diag.errors import DiagError
from diag.model.analysis import Analysis
from diag.report.language import Language
from diag.report.matrix_picture import matrix_svg
from diag.report.paper import Paper
from diag.report.picture_pages import picture_pages
from diag.report.print_view import print_view
from diag.report.templates_env import environment, template_folder
from diag.report.topology import draw
from diag.report.view import build_view
from diag.report.weasy import load_weasyprint

PACKAGES = "libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0"
"""Debian packages with the libraries that WeasyPrint loads."""
VARIANT = "pdf/ua-1"
"""Tagged, with a language and a title: PDF/UA, ISO 14289-1."""
_RATIO = {Paper.A4: 1.32, Paper.LETTER: 1.12}
"""Height of a picture to its width, on a page with its heading."""
_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)")


def render_pdf(analysis: Analysis, language: Language, paper: Paper = Paper.A4) -> bytes:
    """The document; the same analysis gives the same bytes. Raises DiagError without WeasyPrint's libraries."""
    try:
        weasyprint = load_weasyprint()
    except (ImportError, OSError) as error:
        raise DiagError(
            "cannot make a PDF", why=f"WeasyPrint's libraries are missing ({error})", hint=f"apt-get install {PACKAGES}"
        ) from error
    logging.getLogger("weasyprint").setLevel(logging.ERROR)
    text = print_html(analysis, language, paper)
    document = weasyprint.HTML(string=text, url_fetcher=NoFetcher())
    name = hashlib.sha256(text.encode()).digest()[:16]
    return bytes(document.write_pdf(pdf_identifier=name, pdf_variant=VARIANT))


def print_html(analysis: Analysis, language: Language, paper: Paper) -> str:
    """The page that is printed."""
    folder = template_folder()
    style, picture_style, print_style = (
        (folder / f"{name}.css").read_text(encoding="utf-8") for name in ("print", "picture", "print_picture")
    )
    view = build_view(analysis, language)
    findings = [("findings", language.say("What the checks found"))] if view.findings else []
    picture = draw(analysis, language, picture_style + print_style)
    captured = analysis.snapshot.captured_at
    return (
        environment(language)
        .get_template("print.html.j2")
        .render(
            view=print_view(view, language, captured),
            sections=(*findings, *_sections(language)),
            pictures=[Markup(part) for part in picture_pages(picture, _RATIO[paper])],  # noqa: S704  escapes its own text
            matrix=Markup(matrix_svg(view, language, print_style)),  # noqa: S704  escapes its own text
            created=captured if _DATE.fullmatch(captured) else "",
            style=Markup(style + _page_style(language, paper)),  # noqa: S704  packaged file, and messages
        )
    )


def _sections(language: Language) -> Iterator[tuple[str, str]]:
    """Ids and titles, for the contents."""
    yield "networks", language.say("Networks")
    yield "matrix", language.say("Who reaches whom")
    yield "pairs", language.say("Pairs, and why")
    yield "endpoints", language.say("The host and the world")
    yield "names", language.say("Names")
    yield "containers", language.say("Containers")
    yield "interfaces", language.say("Interfaces of the host")
    yield "gaps", language.say("What is not known")
    yield "evidence", language.say("Evidence")


def _page_style(language: Language, paper: Paper) -> str:
    """What depends on paper and language."""
    numbers = language.say("Page {page} of {pages}", page='" counter(page) "', pages='" counter(pages) "')
    return f'@page {{ size: {paper.value}; @bottom-right {{ content: "{numbers}" }} }}'


class NoFetcher:
    """An `url_fetcher` that fetches nothing."""

    _fail_on_errors = False  # WeasyPrint asks a fetcher for it once it has failed

    def __call__(self, url: str, *_args: Any, **_kwargs: Any) -> dict[str, Any]:
        """Raises ValueError: what was to be fetched is left out."""
        raise ValueError(f"a report fetches nothing: {url[:60]}")
