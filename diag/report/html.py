"""The HTML report: one file, no network, usable without scripts."""

from __future__ import annotations

import base64
import hashlib

import msgspec
from markupsafe import Markup

from diag.collector import collector_paused
from diag.model.analysis import Analysis
from diag.report.index_view import IndexView
from diag.report.language import Language
from diag.report.templates_env import environment, template_folder
from diag.report.topology import draw
from diag.report.view import build_view


def render_html(analysis: Analysis, language: Language) -> bytes:
    """The whole page; its content security policy allows its own style and script by their hashes, and nothing else."""
    with collector_paused():
        return _page(analysis, language).encode()


def _page(analysis: Analysis, language: Language) -> str:
    folder = template_folder()
    style = (folder / "report.css").read_text(encoding="utf-8")
    script = (folder / "report.js").read_text(encoding="utf-8")
    page = environment(language).get_template("report.html.j2")
    view = build_view(analysis, language)
    return page.render(
        view=view,
        index=Markup(_data(view.index)),  # noqa: S704  cannot end its element
        topology=Markup(draw(analysis, language).whole()),  # noqa: S704  escapes its own text
        style=Markup(style),  # noqa: S704  packaged file
        script=Markup(script),  # noqa: S704  packaged file
        style_hash=_hash(style),
        script_hash=_hash(script),
    )


def _data(value: IndexView) -> str:
    """JSON as the content of a script element: without anything that HTML could take for a tag or a comment."""
    return msgspec.json.encode(value).decode().replace("<", "\\u003c")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
