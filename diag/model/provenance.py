"""Where a fact comes from, and what is missing."""

from __future__ import annotations

from msgspec import Struct

from diag.model.enums import Word


class Evidence(Struct, frozen=True, order=True):
    """A line of a captured file."""

    file: str
    """Path inside the bundle, with `/`."""
    line: int
    """1-based; 0 means the file as a whole."""
    text: str
    """The line itself, or for JSON the object that starts there, shortened."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}" if self.line else f"{self.file}: {self.text}"


class GapKind(Word):
    """Why something is not known."""

    MISSING = "missing"
    """The bundle does not have the file."""
    FAILED = "failed"
    """The collector could not get it; the detail says why."""
    UNREADABLE = "unreadable"
    """The file, or the line, is there but could not be understood."""
    UNMODELLED = "unmodelled"
    """Understood as far as its syntax goes, but its effect is not modelled."""
    INCONSISTENT = "inconsistent"
    """Two captured facts contradict each other."""


class Gap(Struct, frozen=True, order=True):
    """A fact that the analysis has to do without."""

    kind: GapKind
    file: str
    line: int
    detail: str
    """One sentence: what is not known and why."""
    affects: str = ""
    """One sentence: which verdicts this makes unknown; empty when it touches none."""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where}: {self.detail}" if where else self.detail
