"""Languages of a report: messages by gettext catalogues in `diag/locale`. English is what the program itself says."""

from __future__ import annotations

import gettext
import os
import re
from collections.abc import Mapping
from pathlib import Path

from diag.model.message import Listing, Message

DOMAIN = "diag"
LANGUAGES = ("en", "zh")
_WITHOUT_SPACES = frozenset({"zh"})
"""Languages that write spaces around foreign words only."""
_WIDE = "[\u2e80-\uffef]"
"""A pattern that is compiled when it is first used: so wide a range takes a while, and English needs none of it."""
LOCALES = Path(__file__).resolve().parent.parent / "locale"


class Language:
    """Says messages in one language. What a catalogue lacks is said in English."""

    def __init__(self, code: str = "en") -> None:
        """Raises ValueError for a language that is not one of :data:`LANGUAGES`."""
        if code not in LANGUAGES:
            raise ValueError(f"no language {code!r}")
        self.code = code
        self.catalogue = gettext.translation(DOMAIN, LOCALES, [code], fallback=code == "en")
        self._said_so = code == "en"
        """Whether messages are what they read as already."""

    def of(self, text: str) -> str:
        """A text of the analysis: translated as far as it is made of messages."""
        if self._said_so:
            return str(text)
        match text:
            case Message():
                return self.say(text.template, **text.parts)
            case Listing():
                return self.catalogue.gettext(text.separator).join(self.of(part) for part in text.texts)
            case _:
                return text

    def say(self, template: str, /, **parts: object) -> str:
        """A message of the report itself."""
        found = self.catalogue.gettext(template) if template else template
        return self._filled(found, parts) if parts else found

    def plural(self, one: str, many: str, number: int, /, **parts: object) -> str:
        """A message about a number of things, which is its part `n`."""
        found = self.catalogue.ngettext(one, many, number)
        return self._filled(found, {**parts, "n": number})

    def _filled(self, template: str, parts: Mapping[str, object]) -> str:
        if self._said_so:
            return template.format_map(parts)
        said = {name: self.of(part) if isinstance(part, str) else part for name, part in parts.items()}
        if self.code in _WITHOUT_SPACES:
            for name, part in parts.items():
                if isinstance(part, (Message, Listing)):
                    template = _closed_up(template, name, str(said[name]))
        return template.format_map(said)


def _closed_up(template: str, name: str, text: str) -> str:
    """The template without the spaces that stand around a foreign word, where the part's text is none.

    >>> _closed_up("在 {who} 中", "who", "主机")
    '在{who}中'
    """
    field = f"{{{name}}}"
    if re.match(_WIDE, text):
        template = re.sub(rf"(?<={_WIDE}) (?={re.escape(field)})", "", template)
    if re.match(_WIDE, text[-1:]):
        template = re.sub(rf"(?<={re.escape(field)}) (?={_WIDE})", "", template)
    return template


ENGLISH = Language()


def language_of(environment: Mapping[str, str] = os.environ) -> str:
    """The language of a locale: LC_ALL, LC_MESSAGES, LANG, as POSIX has it. English where there is no catalogue."""
    for variable in ("LC_ALL", "LC_MESSAGES", "LANG"):
        value = environment.get(variable)
        if value:
            code = value.partition(".")[0].partition("_")[0].lower()
            return code if code in LANGUAGES else "en"
    return "en"
