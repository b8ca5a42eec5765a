"""WeasyPrint, without the work that it does for what a report has not."""

from __future__ import annotations

import ctypes.util
import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

_LATE = ("fontTools.subset", "fontTools.varLib.instancer")
"""Of fontTools, what is called for variable fonts only, or where HarfBuzz's subsetter is missing; slow to import."""


def load_weasyprint() -> ModuleType:
    """The module. Raises ImportError, or OSError where its libraries are missing."""
    loaded = sys.modules.get("weasyprint")
    if loaded is None:
        with _libraries_by_soname(), _late_modules():
            loaded = importlib.import_module("weasyprint")
        _draw_texts_whole(importlib.import_module("weasyprint.svg").Node)
    return loaded


@contextmanager
def _libraries_by_soname() -> Iterator[None]:
    """WeasyPrint asks cffi for each library by the names of several systems. Those that the loader does not know cffi
    looks for with ldconfig, gcc and ld: some fifty programs, and a third of a second. The soname is among the names,
    and what a search finds on Linux is the soname, too.
    """
    search = ctypes.util.find_library
    if sys.platform == "linux":
        ctypes.util.find_library = _found_nowhere
    try:
        yield
    finally:
        ctypes.util.find_library = search


def _found_nowhere(name: str) -> str | None:  # noqa: ARG001
    return None


@contextmanager
def _late_modules() -> Iterator[None]:
    """Who imports from these modules meanwhile gets functions that import them when called."""
    stand_ins = {name: _Late(name) for name in _LATE if name not in sys.modules}
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name in stand_ins:
            sys.modules.pop(name, None)


class _Late(ModuleType):
    """Stands in for a module of which functions and classes are called, and nothing else is used."""

    def __getattr__(self, attribute: str) -> Callable[..., Any]:
        if attribute.startswith("__"):
            raise AttributeError(attribute)

        def late(*arguments: Any, **options: Any) -> Any:
            return getattr(importlib.import_module(self.__name__), attribute)(*arguments, **options)

        return late


def _draw_texts_whole(node: Any) -> None:
    """WeasyPrint shapes the texts of drawings letter by letter, as SVG can place each letter apart. Ours never do, and
    shaped at once they take a tenth of the time, are kerned, and letters keep the marks that combine with them.
    """
    text_of = node.text.fget

    def whole(self: Any) -> str | None:
        text = text_of(self)
        return _Whole(text) if text else text

    node.text = property(whole)


class _Whole(str):
    """A text that is its own only letter."""

    __slots__ = ()

    def __iter__(self) -> Iterator[str]:
        yield str(self)
