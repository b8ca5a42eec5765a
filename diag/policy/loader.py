"""The text of a policy to the policy. Every mistake is told, with its line and what is allowed there."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import PurePath
from typing import Any

from diag.errors import DiagError
from diag.policy.model import VERSION, Deny, Kind, Only, Policy, Reach, Resolve, Selector
from diag.policy.traffic import ALL_TRAFFIC, Traffic
from diag.policy.tree import Tree, read_toml, read_yaml
from diag.reach.beyond import HOST, RESERVED, WORLD

SUFFIXES = (".yaml", ".yml", ".json", ".toml")
MAX_SHOWN = 20
"""Mistakes told at once."""
MAX_SELECTORS = 100_000
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

_COMMON = ("id", "description", "optional")
_KEYS = {
    Kind.REACH: ("from", "to", "ports", *_COMMON),
    Kind.DENY: ("from", "to", "ports", "except", *_COMMON),
    Kind.ONLY: ("from", "to", "ports", "except", *_COMMON),
    Kind.RESOLVE: ("from", "name", "to", *_COMMON),
}
_NEEDED = {
    Kind.REACH: ("from", "to"),
    Kind.DENY: ("from", "to"),
    Kind.ONLY: ("from", "to"),
    Kind.RESOLVE: ("from",),
}
_SELECTOR_KEYS = ("name", "compose", "label", "network", "min")


def load_policy(text: str, file: str) -> Policy:
    """A policy from a file's text; its suffix says what it is. Raises DiagError that names every mistake."""
    match PurePath(file).suffix.lower():
        case ".toml":
            tree = read_toml(text, file)
        case ".yaml" | ".yml" | ".json":
            tree = read_yaml(text, file)
        case _:
            raise DiagError(f"cannot read {file}", why=f"a policy ends in {', '.join(SUFFIXES)}")
    reader = _Reader()
    policy = reader.policy(tree, file)
    if reader.mistakes:
        raise _refused(file, reader.mistakes)
    return policy


def _refused(file: str, mistakes: list[tuple[int, str]]) -> DiagError:
    told = [f"line {line}: {text}" if line else text for line, text in sorted(mistakes)]
    more = f"; and {len(told) - MAX_SHOWN} more" if len(told) > MAX_SHOWN else ""
    count = "1 mistake" if len(told) == 1 else f"{len(told)} mistakes"
    hint = "docs/policy.md has the form, diag schema policy its JSON Schema"
    return DiagError(f"{file} has {count}", why="; ".join(told[:MAX_SHOWN]) + more, hint=hint)


class _Reader:
    """Reads one file, and collects its mistakes."""

    def __init__(self) -> None:
        self.mistakes: list[tuple[int, str]] = []
        self._ids: dict[str, int] = {}
        self._selectors = 0

    def policy(self, tree: Tree, file: str) -> Policy:
        if not self._is_object(tree, "a policy"):
            return Policy(file)
        known = ("version", *Kind)
        self._check_keys(tree, "a policy", known, ("version",), also=lambda key: key.startswith("x-"))
        version = _member(tree, "version")
        if version is not None and (isinstance(version.value, bool) or version.value != VERSION):
            self._wrong(version, f"version is {VERSION}, not {_told(version)}")
        found = Policy(
            file,
            tuple(self._reach(*each) for each in self._section(tree, Kind.REACH)),
            tuple(self._deny(*each) for each in self._section(tree, Kind.DENY)),
            tuple(self._only(*each) for each in self._section(tree, Kind.ONLY)),
            tuple(self._resolve(*each) for each in self._section(tree, Kind.RESOLVE)),
        )
        if not any(_member(tree, kind) for kind in Kind):
            self._wrong(tree, f"it expects nothing: it needs {_choice(Kind)}")
        return found

    def _section(self, tree: Tree, kind: Kind) -> Iterator[tuple[Tree, str]]:
        """The expectations of one kind that are objects, with their ids."""
        section = _member(tree, kind)
        if section is None:
            return
        if not isinstance(section.value, tuple) or not section.value:
            self._wrong(section, f"{kind.value} is a list of expectations, not {_told(section)}")
        for number, item in enumerate(section.items(), 1):
            place = f"{kind.value}[{number}]"
            if self._is_object(item, place):
                self._check_keys(item, place, _KEYS[kind], _NEEDED[kind])
                yield item, self._id(item, place)

    def _id(self, item: Tree, place: str) -> str:
        tree = _member(item, "id")
        if tree is None:
            return place
        if not isinstance(tree.value, str) or not ID.fullmatch(tree.value):
            self._wrong(tree, f"an id is letters, digits, dots, dashes and underscores, not {_told(tree)}")
            return place
        if tree.value in self._ids:
            self._wrong(tree, f"the id {tree.value} is taken (line {self._ids[tree.value]})")
        self._ids.setdefault(tree.value, tree.line)
        return tree.value

    def _common(self, item: Tree, place: str) -> dict[str, Any]:
        return {
            "id": place,
            "description": self._text(item, "description"),
            "optional": self._truth(item, "optional"),
            "line": item.line,
        }

    def _reach(self, item: Tree, place: str) -> Reach:
        sources, destinations = self._selected(item, "from"), self._selected(item, "to")
        traffic = self._traffic(item, "ports")
        return Reach(sources=sources, destinations=destinations, traffic=traffic, **self._common(item, place))

    def _deny(self, item: Tree, place: str) -> Deny:
        sources, destinations = self._selected(item, "from"), self._selected(item, "to")
        return Deny(
            sources=sources, destinations=destinations, traffic=self._forbidden(item), **self._common(item, place)
        )

    def _only(self, item: Tree, place: str) -> Only:
        sources, destinations = self._selected(item, "from", empty=True), self._selected(item, "to")
        return Only(
            sources=sources, destinations=destinations, traffic=self._forbidden(item), **self._common(item, place)
        )

    def _resolve(self, item: Tree, place: str) -> Resolve:
        if _member(item, "name") is None and _member(item, "to") is None:
            self._wrong(item, f"{place} needs a name, or to for the containers' own names")
        name = self._text(item, "name")
        if _member(item, "name") is not None and not name:
            self._wrong(item, "a name is not empty")
        sources = self._selected(item, "from", without=RESERVED)
        targets = self._selected(item, "to", without=(WORLD,) if name else RESERVED)
        return Resolve(sources=sources, name=name, targets=targets, **self._common(item, place))

    # Parts

    def _forbidden(self, item: Tree) -> Traffic:
        named = self._traffic(item, "ports") or ALL_TRAFFIC
        left = named - (self._traffic(item, "except") or Traffic())
        if not left:
            self._wrong(item, "except leaves nothing of ports")
        return left

    def _traffic(self, item: Tree, key: str) -> Traffic | None:
        tree = _member(item, key)
        if tree is None:
            return None
        parts = tuple(tree.items()) if isinstance(tree.value, tuple) else (tree,)
        if not parts:
            self._wrong(tree, f"{key} is not empty")
        found = Traffic()
        for part in parts:
            try:
                found |= Traffic.of([part.value if isinstance(part.value, str) else ""])
            except ValueError as error:
                self._wrong(part, f"{key} has {_told(part)}: {error}")
        return found or ALL_TRAFFIC

    def _selected(
        self, item: Tree, key: str, *, empty: bool = False, without: tuple[str, ...] = ()
    ) -> tuple[Selector, ...]:
        tree = _member(item, key)
        if tree is None:
            return ()
        parts = tuple(tree.items()) if isinstance(tree.value, tuple) else (tree,)
        if not parts and not empty:
            self._wrong(tree, f"{key} is not empty")
        self._selectors += len(parts)
        if self._selectors > MAX_SELECTORS:
            raise DiagError("the policy is too large", why=f"it has more than {MAX_SELECTORS} selectors")
        return tuple(self._selector(part, key, without) for part in parts)

    def _selector(self, tree: Tree, key: str, without: tuple[str, ...]) -> Selector:
        if isinstance(tree.value, str):
            return Selector(self._name(tree, without))
        if not isinstance(tree.value, dict):
            self._wrong(tree, f"{key} is a name, or an object of {_choice(_SELECTOR_KEYS)}, not {_told(tree)}")
            return Selector()
        self._check_keys(tree, key, _SELECTOR_KEYS, ())
        if not any(_member(tree, each) for each in _SELECTOR_KEYS[:-1]):
            self._wrong(tree, f"{key} selects nothing: it needs {_choice(_SELECTOR_KEYS[:-1])}")
        name = _member(tree, "name")
        project, service = self._compose(tree)
        label = self._text(tree, "label")
        if _member(tree, "label") is not None and not label.partition("=")[0]:
            self._wrong(tree, "a label is key=value, or key")
        network = self._text(tree, "network")
        if _member(tree, "network") is not None and not network:
            self._wrong(tree, "a network has a name")
        if name is not None and isinstance(name.value, str) and name.value.startswith("@"):
            self._wrong(name, f"{_told(name)} stands alone, without an object around it")
        return Selector(self._name(name, without) if name else "", project, service, label, network, self._min(tree))

    def _name(self, tree: Tree, without: tuple[str, ...]) -> str:
        name = tree.value
        if not isinstance(name, str) or not name:
            self._wrong(tree, f"a name is text, not {_told(tree)}; numbers go in quotes")
            return ""
        if name in without:
            self._wrong(tree, f"{name} cannot be here")
        elif name.startswith("@") and name not in RESERVED:
            self._wrong(tree, f"there is no {_told(tree)}: it is {HOST} or {WORLD}, or the name of a container")
        return name

    def _compose(self, tree: Tree) -> tuple[str, str]:
        """`project/service`, `project`, or an object of both."""
        compose = _member(tree, "compose")
        if compose is None:
            return "", ""
        if isinstance(compose.value, dict):
            self._check_keys(compose, "compose", ("project", "service"), ("project",))
            parts = [self._text(compose, key) for key in ("project", "service") if _member(compose, key)]
        else:
            parts = compose.value.split("/") if isinstance(compose.value, str) else []
        if not 0 < len(parts) < 3 or not all(parts) or any("/" in part for part in parts):
            self._wrong(compose, f"compose is project/service or project, not {_told(compose)}")
            return "", ""
        return parts[0], parts[1] if len(parts) == 2 else ""

    def _min(self, tree: Tree) -> int:
        found = _member(tree, "min")
        if found is None:
            return 1
        value = found.value
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 1 or value != value // 1:
            self._wrong(found, f"min is a number from 1, not {_told(found)}")
            return 1
        return int(value)

    def _text(self, item: Tree, key: str) -> str:
        tree = _member(item, key)
        if tree is None:
            return ""
        if not isinstance(tree.value, str):
            self._wrong(tree, f"{key} is text, not {_told(tree)}; numbers go in quotes")
            return "?"
        return tree.value

    def _truth(self, item: Tree, key: str) -> bool:
        tree = _member(item, key)
        if tree is not None and not isinstance(tree.value, bool):
            self._wrong(tree, f"{key} is true or false, not {_told(tree)}")
        return tree is not None and tree.value is True

    # Mistakes

    def _wrong(self, tree: Tree, text: str) -> None:
        self.mistakes.append((tree.line, text))

    def _is_object(self, tree: Tree, what: str) -> bool:
        if isinstance(tree.value, dict):
            return True
        self._wrong(tree, f"{what} is an object, not {_told(tree)}")
        return False

    def _check_keys(
        self,
        tree: Tree,
        what: str,
        known: Iterable[str],
        needed: Iterable[str],
        also: Callable[[str], bool] = lambda _: False,
    ) -> None:
        known = tuple(str(key) for key in known)
        for key, value in tree.members():
            if key not in known and not also(key):
                near = difflib.get_close_matches(key, known, n=1)
                meant = f"did you mean {near[0]}?" if near else f"it has {', '.join(known)}"
                self._wrong(value, f"{what} has no {_short(key)}: {meant}")
        for key in needed:
            if _member(tree, key) is None:
                self._wrong(tree, f"{what} needs {key}")


def _member(tree: Tree, key: str) -> Tree | None:
    """A member of an object, also one that is null."""
    found = tree.value.get(key) if isinstance(tree.value, dict) else None
    return found if isinstance(found, Tree) else None


def _choice(words: Iterable[str]) -> str:
    return ", ".join(str(word) for word in words)


def _told(tree: Tree) -> str:
    match tree.value:
        case None:
            return "nothing"
        case dict():
            return "an object"
        case tuple():
            return "a list" if tree.value else "an empty list"
        case bool():
            return str(tree.value).lower()
        case str():
            return _short(tree.value)
        case _:
            return str(tree.value)[:40]


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:59]}…")
