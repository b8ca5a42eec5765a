"""The error tree.

::

    DiagError                 a sentence for standard error; the command exits with 2
    ├── UsageError            the words of the command are off
    ├── BundleError           the source cannot be read at all (missing, not an archive, refused as unsafe)
    ├── CaptureError          a live host gives nothing to analyse
    └── NotifyError           nobody took the outcome; the outcome itself stands

A fact that is missing or a line that cannot be read is no error: it is a
:class:`diag.model.provenance.Gap`, and the analysis goes on without it.
"""

from __future__ import annotations


class DiagError(Exception):
    """What went wrong, why, and what to do, in one line."""

    def __init__(self, what: str, *, why: str = "", hint: str = "") -> None:
        self.what = what
        self.why = why
        self.hint = hint
        super().__init__(what)

    def __str__(self) -> str:
        text = self.what
        if self.why:
            text += f": {self.why}"
        if self.hint:
            text += f". {self.hint}"
        return " ".join(text.split())


class UsageError(DiagError):
    """The request itself makes no sense, e.g. a container that the bundle does not have."""


class BundleError(DiagError):
    """The source is not a bundle, is damaged beyond reading, or is refused as unsafe."""


class CaptureError(DiagError):
    """Nothing could be captured on the live host."""


class NotifyError(DiagError):
    """The webhook could not be told."""
