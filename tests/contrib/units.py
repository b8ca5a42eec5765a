"""The systemd units of `contrib` as text, and what the service may do."""

from __future__ import annotations

import re
from pathlib import Path

CONTRIB = Path(__file__).parent.parent.parent / "contrib"
SERVICE = CONTRIB / "systemd/docker-diag.service"
TIMER = CONTRIB / "systemd/docker-diag.timer"
PROGRAM = "/opt/docker-diag/bin/diag"


def setting(name: str) -> str:
    """The value of one setting of the service."""
    (value,) = re.findall(rf"^{name}=(.*)$", SERVICE.read_text(), re.MULTILINE)
    return str(value)


def capabilities() -> tuple[str, ...]:
    """As setpriv and Docker spell them: `sys_admin`."""
    return tuple(word.removeprefix("CAP_").lower() for word in setting("CapabilityBoundingSet").split())
