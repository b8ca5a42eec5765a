"""What a check found: a fact that is wrong with a host, or is about to be."""

from __future__ import annotations

from msgspec import Struct

from diag.model.enums import Word
from diag.model.provenance import Evidence


class Severity(Word):
    """How bad a finding is."""

    INFO = "info"
    """Worth knowing; nothing is wrong yet."""
    WARNING = "warning"
    """Something does not work as it looks, or will break on the next restart."""
    ERROR = "error"
    """Something does not work."""

    @property
    def rank(self) -> int:
        """The higher the worse."""
        return list(Severity).index(self)


class Finding(Struct, frozen=True):
    """One thing that a check found on one host."""

    code: str
    """Stable and kebab-case; documented by `diag codes`."""
    severity: Severity
    title: str
    """The check's, the same for all its findings."""
    subject: str
    """What it is about, by a name that survives restarts: a container, a network, an interface of the host, a sysctl."""
    text: str
    """One or two sentences with the facts."""
    evidence: tuple[Evidence, ...] = ()
    advice: str = ""
    """What helps, in words: the check's."""
    command: str = ""
    """One line for a root shell on the host that does it; empty where it takes more than that."""

    @property
    def key(self) -> tuple[str, str]:
        """The same for the same trouble at another time."""
        return self.code, self.subject
