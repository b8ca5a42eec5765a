"""Lines of text as people paste them into tickets: prompts, comments, elisions, CRLF, tabs."""

from __future__ import annotations

import re
from collections.abc import Iterator

from diag.model.provenance import Evidence, Gap, GapKind
from diag.parse.json_items import decode

_PROMPT = re.compile(r"^\s*(\[[^\]]*\][#$%]|[\w.@:~/-]*[#$%>])\s+\S+.*$")
_ELISION = re.compile(r"^[\s.…]*(\.{3,}|…)[\s.…]*$")


def ticket_lines(data: bytes, file: str, gaps: list[Gap], affects: str = "") -> Iterator[tuple[str, Evidence]]:
    """Each line that says something, with its evidence; an elision becomes a gap, comments and prompts are passed over."""
    for number, raw in enumerate(decode(data).splitlines(), 1):
        line = raw.replace("\x00", "").rstrip()
        bare = line.lstrip()
        if not bare or bare.startswith("#"):
            continue
        if ("..." in bare or "…" in bare) and _ELISION.match(bare):
            gaps.append(Gap(GapKind.UNREADABLE, file, number, "lines are left out here", affects))
            continue
        if ("#" in line or "$" in line or ">" in line or "%" in line) and _PROMPT.match(line):
            continue
        yield line, Evidence(file, number, bare)


def unreadable(evidence: Evidence, what: str, affects: str = "") -> Gap:
    """A gap for one line that makes no sense."""
    return Gap(
        GapKind.UNREADABLE, evidence.file, evidence.line, f"not a line of {what}: {evidence.text[:80]!r}", affects
    )
