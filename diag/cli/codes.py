"""`diag codes`: what a reason or finding code means, how it is detected, how it is fixed."""

from __future__ import annotations

import difflib
import json
import textwrap
from typing import Any

import click

from diag.cli import DONE
from diag.errors import UsageError
from diag.findings.check import Check
from diag.findings.registry import CHECKS, find_check
from diag.model.message import say
from diag.reach.codes import CODES, Code, find_code
from diag.report.language import Language, language_of


@click.command("codes")
@click.argument("code", required=False)
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--lang", type=click.Choice(["en", "zh"]), help="Language of the text.  [default: the locale's]")
def command(code: str | None, form: str, lang: str | None) -> int:
    """List the codes of reasons and findings, or explain CODE."""
    language = Language(lang or language_of())
    wanted: tuple[Code | Check, ...] = (*CODES, *CHECKS)
    if code is not None:
        found = find_code(code) or find_check(code)
        if found is None:
            near = difflib.get_close_matches(code, map(_name, wanted), n=3)
            hint = f"Did you mean {', '.join(near)}" if near else "diag codes lists them"
            raise UsageError(f"there is no code {code!r}", hint=hint)
        wanted = (found,)
    if form == "json":
        print(json.dumps([_as_json(c) for c in wanted], ensure_ascii=False, indent=2))
    elif code is None:
        width = max(len(_name(each)) for each in wanted)
        for each in wanted:
            print(f"{_name(each):{width}} {language.of(each.title)}")
    else:
        print(_as_text(wanted[0], language))
    return DONE


def _name(code: Code | Check) -> str:
    return code.code.value if isinstance(code, Code) else code.code


def _as_json(code: Code | Check) -> dict[str, Any]:
    kind: dict[str, Any] = {"works": code.works} if isinstance(code, Code) else {"severity": code.severity.value}
    return {
        "code": _name(code),
        "kind": "reason" if isinstance(code, Code) else "finding",
        "title": code.title,
        **kind,
        "meaning": code.meaning,
        "detected": code.detected,
        "fix": code.fix,
    }


def _as_text(code: Code | Check, language: Language) -> str:
    parts = (
        code.meaning,
        say("How it is found: {how}", how=code.detected),
        say("What helps: {fix}", fix=code.fix),
    )
    columns = 40 if language.code == "zh" else 80  # its characters are twice as wide
    lines = (line for part in parts for line in textwrap.wrap(language.of(part), columns))
    return "\n".join([f"{_name(code)}: {language.of(code.title)}", "", *lines])
