"""Sentences with their parts apart: English as they are, and ready to be said in another language.

>>> why = say("rule {number} of {chain} drops it", number=3, chain="DOCKER-USER")
>>> print(say("{a} cannot reach {b}: {why}.", a="web", b="db", why=why))
web cannot reach db: rule 3 of DOCKER-USER drops it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import reduce


class Message(str):
    """The English text, with what it was made of."""

    __slots__ = ("parts", "template")

    template: str
    """English with `{name}` where parts go: what catalogues of other languages know it by."""
    parts: Mapping[str, object]
    """Texts and numbers; texts that are messages themselves are translated too."""


class Listing(str):
    """Several texts as one."""

    __slots__ = ("separator", "texts")

    separator: str
    """As in English; catalogues know it too."""
    texts: tuple[str, ...]


def say(template: str, /, **parts: object) -> Message:
    """One message. `template` is a literal, for that is where catalogues are made from."""
    made = Message(template.format_map(parts) if parts else template)
    made.template, made.parts = template, parts
    return made


COMMA = say(", ")
SEMICOLON = say("; ")


def listed(texts: Iterable[str], separator: str = COMMA) -> Listing:
    """Several messages or names in a row."""
    found = tuple(texts)
    made = Listing(separator.join(found))
    made.separator, made.texts = separator, found
    return made


def templates(text: str) -> Iterator[str]:
    """What a text and its parts are made from, without what the host says."""
    match text:
        case Message():
            yield text.template
            for part in text.parts.values():
                if isinstance(part, str):
                    yield from templates(part)
        case Listing():
            for part in text.texts:
                yield from templates(part)


def said(error: Exception) -> str:
    """What an error says, as a message where it was made of one."""
    first = error.args[0] if error.args else None
    return first if isinstance(first, Message) else str(error)


def clauses(texts: Iterable[str]) -> str:
    """Several parts of one sentence in a row: not every language has one comma for these and for words."""
    return reduce(lambda first, second: say("{first}, {second}", first=first, second=second), texts)


def sentences(texts: Iterable[str]) -> str:
    """Those that are not empty, one after the other."""
    found = [text for text in texts if text]
    return reduce(lambda first, then: say("{first} {then}", first=first, then=then), found) if found else ""
