"""Bundles for stores: large enough that differences are worth while, small enough to be quick."""

from __future__ import annotations

from random import Random
from types import MappingProxyType

from diag.model.bundle import Bundle, FileRecord
from diag.model.finding import Severity
from diag.model.history import FindingNote, Record
from diag.model.reasons import Reachability

_SAME = Random(3).randbytes(6000).hex().encode()  # noqa: S311
NOTE = FindingNote("forwarding-disabled", Severity.ERROR, "net.ipv4.ip_forward")


def bundle(text: str = "", host: str = "web-1") -> Bundle:
    """One that differs by a line."""
    files = {"host/hosts": text.encode(), "host/sysctl.txt": _SAME}
    records = {
        "host/hosts": FileRecord("cat /etc/hosts", 0, "", 0.001),
        "host/ipset.txt": FileRecord("x", error="none"),
    }
    return Bundle("live", MappingProxyType(files), MappingProxyType(records), host, "2026-11-24T04:00:00Z")


def record(*findings: FindingNote, healthy: bool = True) -> Record:
    """Of a run that found these."""
    verdicts = {Reachability.REACHABLE: 6, Reachability.UNREACHABLE: 14}
    return Record("web-1", "2026-11-24T04:00:00Z", verdicts, findings, (), healthy)
