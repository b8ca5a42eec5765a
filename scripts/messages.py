"""The catalogues of other languages: `python scripts/messages.py` puts in what the sources say, out what they say no more.

With `--check` nothing is written: it names the messages that a catalogue lacks, and fails if there are any, or if the
compiled catalogue is not that of the readable one.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import read_mo, write_mo
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).resolve().parent.parent
CATALOGUES = ROOT / "diag" / "locale"
KEYWORDS = {"say": None, "_": None, "plural": (1, 2)}
"""Functions whose arguments are messages, with the positions of those that are."""
SOURCES = (("diag/**.py", "python"), ("report_templates/**.j2", "jinja2"))
_NO_DATE = datetime(2000, 1, 1, tzinfo=UTC)
"""Babel wants one in a compiled catalogue; equal messages are to give equal files."""
_HEADER = """\
# {language} of docker-diag.
msgid ""
msgstr ""
"Project-Id-Version: docker-diag\\n"
"Language: {code}\\n"
"Plural-Forms: {plural}\\n"
"MIME-Version: 1.0\\n"
"Content-Type: text/plain; charset=utf-8\\n"
"Content-Transfer-Encoding: 8bit\\n"

"""


def said() -> Catalog:
    """Every message of the sources, in their order."""
    found = Catalog()
    for part in ("diag", "report_templates"):
        for file, _, message, _, _ in extract_from_dir(ROOT / part, _methods(part), keywords=KEYWORDS):
            found.add(message, locations=[(f"{part}/{file}", 0)])
    return found


def _methods(part: str) -> list[tuple[str, str]]:
    return [(pattern.removeprefix(f"{part}/"), method) for pattern, method in SOURCES if pattern.startswith(part)]


def updated(path: Path) -> Catalog:
    """The catalogue of a file with the messages of the sources."""
    with path.open("rb") as file:
        catalogue = read_po(file, locale=path.parent.parent.name)
    catalogue.update(said(), no_fuzzy_matching=True)
    catalogue.obsolete.clear()
    catalogue.creation_date = catalogue.revision_date = _NO_DATE
    return catalogue


def readable(catalogue: Catalog) -> bytes:
    """As a .po file."""
    body = io.BytesIO()
    write_po(body, catalogue, width=120, no_location=True, omit_header=True, ignore_obsolete=True)
    language = catalogue.locale.english_name if catalogue.locale else ""
    header = _HEADER.format(language=language, code=catalogue.locale_identifier, plural=catalogue.plural_forms)
    return header.encode() + body.getvalue()


def compiled(catalogue: Catalog) -> bytes:
    """As a .mo file."""
    body = io.BytesIO()
    write_mo(body, catalogue)
    return body.getvalue()


def is_up_to_date(path: Path, catalogue: Catalog) -> bool:
    """Whether the files hold its messages; the header of a compiled one also names Babel's version."""
    with path.with_suffix(".mo").open("rb") as file:
        return path.read_bytes() == readable(catalogue) and _texts(read_mo(file)) == _texts(catalogue)


def _texts(catalogue: Catalog) -> dict[str, str]:
    """Translations by message; those with a plural have all their forms in one."""
    pairs = ((_joined(message.id), _joined(message.string)) for message in catalogue)
    return {original: translation for original, translation in pairs if original and translation}


def _joined(forms: str | list[str] | tuple[str, ...]) -> str:
    return forms if isinstance(forms, str) else "\0".join(forms)


def missing(catalogue: Catalog) -> Iterator[str]:
    """Messages that have no translation, or one with other parts than they have."""
    for message in catalogue:
        if message.id and (not message.string or not all(message.string) or any(message.check())):
            yield str(message.id)


def main(arguments: list[str]) -> int:
    """Returns the exit status."""
    wrong = []
    for path in sorted(CATALOGUES.glob("*/LC_MESSAGES/diag.po")):
        catalogue = updated(path)
        if "--check" not in arguments:
            path.write_bytes(readable(catalogue))
            path.with_suffix(".mo").write_bytes(compiled(catalogue))
        elif not is_up_to_date(path, catalogue):
            wrong.append(f"{path.relative_to(ROOT)} is not up to date: make messages")
        wrong += [f"{path.relative_to(ROOT)} lacks: {message}" for message in missing(catalogue)]
    print(*wrong, sep="\n", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
