"""Equal files, parsed once: on a host of many containers most of them have the same rules, sysctls and resolver.

What a second file with the same bytes holds differs from what the first holds in one thing, the file's name in evidence
and gaps.

>>> from diag.parse.resolver_files import parse_hosts
>>> files = EqualFiles()
>>> first, second = (files.parse(parse_hosts, b"10.0.0.2 db\\n", f"containers/{name}/hosts") for name in ("a", "b"))
>>> str(second.value[0].evidence), second.value[0].ip is first.value[0].ip
('containers/b/hosts:1: 10.0.0.2 db', True)
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, TypeVar

from msgspec import Struct

from diag.model.provenance import Evidence, Gap
from diag.parse.result import Parsed
from diag.parse.sysctl import SysctlEvidence

T = TypeVar("T")
_Maker = Callable[[str], Any]
"""Makes facts again that differ in nothing but the name of the file."""


class _First(Struct):
    """The first of some equal files."""

    file: str
    parsed: Parsed[Any]
    again: _Maker | None = None
    """For the others; None until there is one."""


class EqualFiles:
    """What the parsers made of the files of one bundle."""

    def __init__(self) -> None:
        self._first: dict[tuple[Hashable, ...], _First] = {}

    def parse(self, parser: Callable[..., Parsed[T]], data: bytes, file: str, *options: Hashable) -> Parsed[T]:
        """The same as `parser(data, file, *options)`."""
        key = (parser, data, *options)
        first = self._first.get(key)
        if first is None:
            first = self._first[key] = _First(file, parser(data, file, *options))
        if first.file == file:
            return first.parsed
        if first.again is None:
            first.again = _maker(first.parsed) or (lambda _: first.parsed)
        again: Parsed[T] = first.again(file)
        return again


def _maker(value: Any) -> _Maker | None:
    """None for what names no file."""
    match value:
        case Evidence():
            return lambda file: Evidence(file, value.line, value.text)
        case Gap():
            return lambda file: Gap(value.kind, file, value.line, value.detail, value.affects)
        case SysctlEvidence():
            return value.moved
        case tuple():
            return _maker_of_parts(value, tuple)
        case MappingProxyType():
            return _maker_of_parts(value.values(), lambda made: MappingProxyType(dict(zip(value, made, strict=True))))
        case Mapping():
            return _maker_of_parts(value.values(), lambda made: dict(zip(value, made, strict=True)))
    if not isinstance(value, Struct):
        return None
    kind: type = type(value)
    parts = [getattr(value, name) for name in value.__struct_fields__]
    if parts and isinstance(parts[-1], Evidence) and not any(_maker(part) for part in parts[:-1]):
        return _maker_of_fact(partial(kind, *parts[:-1]), parts[-1])
    return _maker_of_parts(parts, lambda made: kind(*made))


def _maker_of_fact(kind: Callable[[Evidence], Any], evidence: Evidence) -> _Maker:
    """For what names its file at the end only, as most facts do."""
    line, text = evidence.line, evidence.text
    return lambda file: kind(Evidence(file, line, text))


def _maker_of_parts(parts: Iterable[Any], whole: Callable[[list[Any]], Any]) -> _Maker | None:
    shared = list(parts)
    every = [_maker(part) for part in shared]
    makers = [(place, maker) for place, maker in enumerate(every) if maker is not None]
    if not makers:
        return None
    if len(makers) == len(shared):
        return lambda file: whole([maker(file) for _, maker in makers])

    def make(file: str) -> Any:
        made = shared.copy()
        for place, maker in makers:
            made[place] = maker(file)
        return whole(made)

    return make
