"""The PDF report, by WeasyPrint from its own print template; nothing is fetched from anywhere."""

from __future__ import annotations

import logging
from typing import Any

from markupsafe import Markup

from diag.errors import DiagError
from diag.model.analysis import Analysis
from diag.report.language import Language
from diag.report.templates_env import environment, template_folder
from diag.report.topology import topology_svg
from diag.report.view import build_view

PACKAGES = "libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0"
"""Debian packages with the libraries that WeasyPrint loads."""


def render_pdf(analysis: Analysis, language: Language) -> bytes:
    """The document; the same analysis gives the same bytes. Raises DiagError without WeasyPrint's libraries."""
    try:
        import weasyprint
    except (ImportError, OSError) as error:
        raise DiagError(
            "cannot make a PDF", why=f"WeasyPrint's libraries are missing ({error})", hint=f"apt-get install {PACKAGES}"
        ) from error
    logging.getLogger("weasyprint").setLevel(logging.ERROR)
    style = (template_folder() / "print.css").read_text(encoding="utf-8")
    picture_style = (template_folder() / "picture.css").read_text(encoding="utf-8")
    page = environment(language).get_template("print.html.j2")
    text = page.render(
        view=build_view(analysis, language),
        topology=Markup(topology_svg(analysis, language, picture_style)),  # noqa: S704  escapes its own text
        style=Markup(style),  # noqa: S704  packaged file
    )
    document = weasyprint.HTML(string=text, url_fetcher=_refuse)
    return bytes(document.write_pdf(identifier=b"docker-diag", pdf_tags=True))


def _refuse(url: str, *_args: Any, **_kwargs: Any) -> dict[str, Any]:
    raise ValueError(f"a report fetches nothing: {url[:60]}")
