"""WeasyPrint, without the work that it does for what a report has not."""

from __future__ import annotations

import ctypes.util
import importlib
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

_LATE = ("fontTools.subset", "fontTools.varLib.instancer", "fontTools.varLib.mutator")
"""Of fontTools, what is called for variable fonts only, or where HarfBuzz's subsetter is missing; slow to import."""
_SIZED = re.compile(r"([^\[]+)\[(\d+)\]")
"""A C array of a size, as cffi takes it."""


def load_weasyprint() -> ModuleType:
    """The module. Raises ImportError, or OSError where its libraries are missing."""
    loaded = sys.modules.get("weasyprint")
    if loaded is None:
        with _libraries_by_soname():
            try:
                with _late_modules():
                    loaded = importlib.import_module("weasyprint")
            except ImportError:  # another version of it may want the whole modules
                loaded = importlib.import_module("weasyprint")
        _draw_texts_whole(importlib.import_module("weasyprint.svg").Node)
        _parse_array_types_once(importlib.import_module("weasyprint.pdf.fonts"))
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
    text = getattr(node, "text", None)
    if isinstance(text, property) and text.fget is not None:
        node.text = property(_whole(text.fget))


def _whole(text_of: Callable[[Any], str | None]) -> Callable[[Any], str | None]:
    def whole(node: Any) -> str | None:
        text = text_of(node)
        return _Whole(text) if text else text

    return whole


class _Whole(str):
    """A text that is its own only letter."""

    __slots__ = ()

    def __iter__(self) -> Iterator[str]:
        yield str(self)


def _parse_array_types_once(fonts: Any) -> None:
    """WeasyPrint passes the glyphs of a font as an array type of that size, and cffi has each new type parsed as C: 7 ms,
    twice for each font. An array that gets its size from its content is of one type.
    """
    if hasattr(fonts, "ffi"):
        fonts.ffi = _SizedByContent(fonts.ffi)


class _SizedByContent:
    """An `FFI` whose arrays are as long as what they are made from, where that is the size asked for."""

    def __init__(self, ffi: Any) -> None:
        self._ffi = ffi

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ffi, name)

    def new(self, type_name: str, *content: Any) -> Any:
        """As `FFI.new`."""
        sized = _SIZED.fullmatch(type_name)
        if sized and content and isinstance(content[0], list | tuple) and len(content[0]) == int(sized[2]):
            type_name = f"{sized[1]}[]"
        return self._ffi.new(type_name, *content)
