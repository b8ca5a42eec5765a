"""Lines of text as people paste them into tickets: prompts, comments, elisions, CRLF, tabs."""

from __future__ import annotations

import re
from collections.abc import Iterator

from diag.model.message import say
from diag.model.provenance import Evidence, Gap, GapKind
from diag.parse.json_items import decode

_PROMPT = re.compile(r"^\s*(\[[^\]]*\][#$%]|[\w.@:~/-]*[#$%>])\s+\S+.*$")
_ELISION = re.compile(r"^[\s.…]*(\.{3,}|…)[\s.…]*$")


def ticket_lines(data: bytes, file: str, gaps: list[Gap], affects: str = "") -> Iterator[tuple[str, Evidence]]:
    """Each line that says something, with its evidence; an elision becomes a gap, comments and prompts are passed over."""
    for number, line, bare in numbered_lines(data, file, gaps, affects):
        yield line, Evidence(file, number, bare)


def numbered_lines(data: bytes, file: str, gaps: list[Gap], affects: str = "") -> Iterator[tuple[int, str, str]]:
    """The same with the number and the text of the evidence, for formats of which few lines become one."""
    text = decode(data)
    has_nul = "\x00" in text
    has_elision = "..." in text or "…" in text
    has_prompt = "#" in text or "$" in text or ">" in text or "%" in text
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.replace("\x00", "").rstrip() if has_nul else raw.rstrip()
        bare = line.lstrip()
        if not bare or bare.startswith("#"):
            continue
        if has_elision and ("..." in bare or "…" in bare) and _ELISION.match(bare):
            gaps.append(Gap(GapKind.UNREADABLE, file, number, say("lines are left out here"), affects))
            continue
        if has_prompt and ("#" in line or "$" in line or ">" in line or "%" in line) and _PROMPT.match(line):
            continue
        yield number, line, bare


def unreadable(evidence: Evidence, what: str, affects: str = "") -> Gap:
    """A gap for one line that makes no sense."""
    return Gap(
        GapKind.UNREADABLE,
        evidence.file,
        evidence.line,
        say("not a line of {what}: {text}", what=what, text=repr(evidence.text[:80])),
        affects,
    )
