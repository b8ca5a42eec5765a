"""The Jinja environment: everything is escaped, an unknown variable is an error."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import jinja2

from diag.report.language import Language


def template_folder() -> Path:
    """`report_templates/` of a checkout, or the copy inside an installed package."""
    packaged = Path(str(resources.files("diag.report"))) / "templates"
    checkout = Path(str(resources.files("diag"))).parent / "report_templates"
    return packaged if packaged.is_dir() else checkout


def environment(language: Language) -> jinja2.Environment:
    """For HTML: autoescape on everywhere; `_` says a message in the language, `plural` one about a number of things."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template_folder()),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(_=language.say, plural=language.plural, lang=language.code)
    return made
