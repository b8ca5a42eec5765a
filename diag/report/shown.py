"""Text from the captured host made safe to show: nothing invisible, nothing that turns the line around."""

from __future__ import annotations

import unicodedata

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def shown(text: str, limit: int = 400) -> str:
    """The text with control, format and direction characters written out as ‹U+202E›, and its length bounded."""
    if text.isprintable():
        visible = text
    else:
        visible = "".join(f"‹U+{ord(c):04X}›" if unicodedata.category(c) in _HIDDEN else c for c in text)
    return visible if len(visible) <= limit else f"{visible[: limit - 1]}…"
