"""The view model and what is made of it are one contract: nothing is shown that it lacks, and nothing it has is left unused."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from jinja2 import meta, nodes
from msgspec import Struct
from msgspec.structs import fields

import diag.report
from diag.report.language import Language
from diag.report.templates_env import environment, template_folder

GIVEN = {
    "report.html.j2": {"view", "topology", "style", "script", "style_hash", "script_hash", "index"},
    "print.html.j2": {"view", "sections", "pictures", "matrix", "created", "style"},
    "parts.html.j2": set(),
    "print_parts.html.j2": set(),
}
"""What the renderers give to each template."""
ENVIRONMENT = environment(Language())
TEMPLATES = {
    path.name: ENVIRONMENT.parse(path.read_text(encoding="utf-8")) for path in sorted(template_folder().glob("*.j2"))
}


def views() -> list[type[Struct]]:
    """Every Struct of the modules called `view` or `…_view`, and of the links that they hold."""
    names = [m.name for m in pkgutil.iter_modules(diag.report.__path__) if m.name.endswith("view")]
    modules = [importlib.import_module(f"diag.report.{name}") for name in (*names, "pair_link")]
    found = {
        one.__name__: one
        for module in modules
        for _, one in inspect.getmembers(module, inspect.isclass)
        if issubclass(one, Struct) and one.__module__ == module.__name__ and not one.__name__.startswith("_")
    }
    return list(found.values())


def properties(view: type[Struct]) -> set[str]:
    return {name for name, _ in inspect.getmembers(view, lambda member: isinstance(member, property))}


def template_attributes(tree: nodes.Template) -> Iterator[str]:
    """Attributes of views: those of a loop and of an imported template are not."""
    for found in tree.find_all(nodes.Getattr):
        if not (isinstance(found.node, nodes.Name) and found.node.name in ("loop", "parts")):
            yield found.attr


def renderer_attributes() -> Iterator[str]:
    """Attributes that renderers in Python and the page's script look at."""
    folder = Path(diag.report.__path__[0])
    for name in ("html", "markdown", "text", "topology", "matrix_picture", "print_view", "summary_view"):
        for node in ast.walk(ast.parse((folder / f"{name}.py").read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute):
                yield node.attr
    script = (template_folder() / "report.js").read_text(encoding="utf-8")
    yield from re.findall(r"\bindex\.(\w+)", script)


def test_templates_are_given_what_they_ask_for() -> None:
    assert set(TEMPLATES) == set(GIVEN)
    for name, tree in TEMPLATES.items():
        assert meta.find_undeclared_variables(tree) - set(ENVIRONMENT.globals) == GIVEN[name], name


@pytest.mark.parametrize("name", sorted(GIVEN))
def test_what_templates_show_is_in_the_view(name: str) -> None:
    known = {field.name for view in views() for field in fields(view)} | {
        p for view in views() for p in properties(view)
    }
    assert set(template_attributes(TEMPLATES[name])) <= known


@pytest.mark.parametrize("view", views(), ids=lambda view: view.__name__)
def test_what_is_in_the_view_is_shown(view: type[Struct]) -> None:
    used = {attribute for tree in TEMPLATES.values() for attribute in template_attributes(tree)} | set(
        renderer_attributes()
    )
    assert {field.name for field in fields(view)} <= used
    assert view.__doc__
