"""YAML and TOML as plain trees that know their lines.

YAML is read by version 1.2's core rules: `on`, `yes` and `22:22` are text. Anchors and merge keys work; their content is
shared, so that no file gets larger in memory than it is on disk.

>>> read_yaml("a: &x {b: yes}\\nc: {<<: *x, d: 1}\\n", "p.yaml").plain()
{'a': {'b': 'yes'}, 'c': {'d': 1, 'b': 'yes'}}
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from msgspec import Struct

from diag.errors import DiagError

MAX_CHARACTERS = 1 << 20
"""Of a file; a policy of a thousand expectations has a tenth of it."""
MAX_MERGED = 100_000
"""Members of objects that come from merge keys, all in all."""


class Tree(Struct, frozen=True):
    """One value and where it is written."""

    value: object
    """None, a truth value, a number, text; a tuple of trees; a dict of trees by text. TOML's times are left as they are."""
    line: int
    """1-based; 0: unknown."""

    def get(self, key: str) -> Tree | None:
        """A member of an object; None too where it is null, or this is no object."""
        found = self.value.get(key) if isinstance(self.value, dict) else None
        return found if isinstance(found, Tree) and found.value is not None else None

    def members(self) -> Iterator[tuple[str, Tree]]:
        """Of an object; nothing for anything else."""
        if isinstance(self.value, dict):
            yield from self.value.items()

    def items(self) -> Iterator[Tree]:
        """Of a list; nothing for anything else."""
        if isinstance(self.value, tuple):
            yield from self.value

    def plain(self) -> Any:
        """Without lines."""
        match self.value:
            case dict():
                return {key: tree.plain() for key, tree in self.value.items()}
            case tuple():
                return [tree.plain() for tree in self.value]
            case _:
                return self.value


def read_yaml(text: str, file: str, *, tags: bool = False) -> Tree:
    """A YAML document; an empty one is null. `tags`: unknown tags are ignored. Raises DiagError."""
    _check_size(text, file)
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
        finally:
            loader.dispose()
        return Tree(None, 1) if node is None else _Nodes(file, tags).tree(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        why = ": ".join(part for part in (error.context, error.problem) if part)
        raise _unreadable(file, mark.line + 1 if mark else 0, why) from None
    except yaml.reader.ReaderError as error:
        raise _unreadable(file, text.count("\n", 0, error.position) + 1, "a character that YAML forbids") from None
    except yaml.YAMLError as error:
        raise _unreadable(file, 0, str(error)) from None
    except RecursionError:
        raise _unreadable(file, 0, "it is nested too deeply") from None


def read_toml(text: str, file: str) -> Tree:
    """A TOML document. Tables of an array know their line, and what is in them has the same. Raises DiagError."""
    _check_size(text, file)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DiagError(f"cannot read {file}", why=f"TOML: {error}") from None
    except RecursionError:
        raise _unreadable(file, 0, "it is nested too deeply") from None
    return Tree({key: _section(key, value, text) for key, value in document.items()}, 1)


def _check_size(text: str, file: str) -> None:
    if len(text) > MAX_CHARACTERS:
        raise DiagError(f"cannot read {file}", why=f"it has more than {MAX_CHARACTERS} characters")


def _unreadable(file: str, line: int, why: str) -> DiagError:
    return DiagError(f"cannot read {file}", why=f"line {line}: {why}" if line else why)


class _Loader(yaml.SafeLoader):
    """Makes nodes. Untagged text is a number, a truth value or null only where YAML 1.2's core schema and 1.1 agree."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  PyYAML's own form


_INTEGER, _FLOAT, _TRUTH, _NULL, _TEXT, _MERGE = (
    f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "bool", "null", "str", "merge")
)
_NUMBER_STARTS = list("-+0123456789.")
for _tag, _form, _starts in (
    (_INTEGER, r"[-+]?(0|[1-9][0-9]*)", _NUMBER_STARTS),
    (_FLOAT, r"[-+]?[0-9]+\.[0-9]*([eE][-+][0-9]+)?", _NUMBER_STARTS),
    (_TRUTH, r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    (_NULL, r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    (_MERGE, r"<<", ["<"]),
):
    _Loader.add_implicit_resolver(_tag, re.compile(f"^(?:{_form})$"), _starts)


class _Nodes:
    """PyYAML's nodes to trees, each node once."""

    def __init__(self, file: str, tags: bool) -> None:
        self._file = file
        self._tags = tags
        self._made: dict[int, Tree | None] = {}
        """By the node's identity; None while it is being made."""
        self._left = MAX_MERGED

    def tree(self, node: yaml.Node) -> Tree:
        key = id(node)
        if key in self._made:
            known = self._made[key]
            if known is None:
                raise self._error(node, "an alias within its own anchor")
            return known
        self._made[key] = None
        made = Tree(self._value(node), node.start_mark.line + 1)
        self._made[key] = made
        return made

    def _error(self, node: yaml.Node, why: str) -> DiagError:
        return _unreadable(self._file, node.start_mark.line + 1, why)

    def _value(self, node: yaml.Node) -> object:
        match node:
            case yaml.MappingNode():
                self._check_tag(node, "tag:yaml.org,2002:map")
                return self._mapping(node)
            case yaml.SequenceNode():
                self._check_tag(node, "tag:yaml.org,2002:seq")
                return tuple(self.tree(item) for item in node.value)
            case _:
                return self._scalar(node)

    def _check_tag(self, node: yaml.Node, usual: str) -> None:
        if node.tag != usual and not self._tags:
            raise self._error(node, f"the tag {node.tag!r} is not allowed")

    def _scalar(self, node: yaml.Node) -> object:
        text = str(node.value)
        try:
            match node.tag:
                case tag if tag == _INTEGER:
                    return int(text)
                case tag if tag == _FLOAT:
                    return float(text)
                case tag if tag == _TRUTH:
                    return text.lower() == "true"
                case tag if tag == _NULL:
                    return None
        except ValueError:
            raise self._error(node, f"{text[:40]!r} is no number") from None
        self._check_tag(node, _TEXT)
        return text

    def _mapping(self, node: yaml.MappingNode) -> dict[str, Tree]:
        own: dict[str, Tree] = {}
        merged: dict[str, Tree] = {}
        for key, value in node.value:
            if key.tag == _MERGE:
                for found in self._merged(value):
                    self._left -= len(found)
                    if self._left < 0:
                        raise self._error(key, "too much is merged")
                    merged = {**found, **merged}
                continue
            if not isinstance(key, yaml.ScalarNode):
                raise self._error(key, "a key that is no text")
            if key.value in own:
                raise self._error(key, f"the key {key.value[:40]!r} is there twice")
            own[key.value] = self.tree(value)
        return {**own, **{key: tree for key, tree in merged.items() if key not in own}}

    def _merged(self, node: yaml.Node) -> list[Mapping[str, Tree]]:
        """The objects that `<<` names, the strongest first."""
        tree = self.tree(node)
        found = [each.value for each in (tree.items() if isinstance(tree.value, tuple) else (tree,))]
        if not all(isinstance(value, dict) for value in found):
            raise self._error(node, "<< takes objects only")
        return [value for value in found if isinstance(value, dict)]


def _section(key: str, value: object, text: str) -> Tree:
    """A top-level member: an array of tables has the lines of its headers, if each has one."""
    header = re.compile(rf"^[ \t]*\[\[[ \t]*[\"']?{re.escape(key)}[\"']?[ \t]*\]\]", re.MULTILINE)
    lines = [text.count("\n", 0, match.start()) + 1 for match in header.finditer(text)]
    if isinstance(value, list) and len(lines) == len(value):
        return Tree(tuple(_from_plain(item, line) for item, line in zip(value, lines, strict=True)), lines[0])
    return _from_plain(value, 0)


def _from_plain(value: object, line: int) -> Tree:
    match value:
        case dict():
            return Tree({str(key): _from_plain(item, line) for key, item in value.items()}, line)
        case list():
            return Tree(tuple(_from_plain(item, line) for item in value), line)
        case _:
            return Tree(value, line)
