"""`name = value` lines, as `sysctl` prints them.

>>> values, evidence = parse_sysctl(b"net.ipv4.ip_forward = 1\\nnet/ipv4/conf/eth0.5/rp_filter=2\\n", "host/sysctl.txt").value
>>> dict(values)
{'net.ipv4.ip_forward': '1', 'net.ipv4.conf.eth0/5.rp_filter': '2'}
>>> evidence["net.ipv4.ip_forward"].line
1
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from diag.model.provenance import Evidence, Gap
from diag.parse.result import Parsed
from diag.parse.ticket_lines import numbered_lines, unreadable

_LINE = re.compile(r"\s*([\w./@*:-]+)\s*=\s*(.*)")
"""Of a line without blanks at its end."""


class SysctlEvidence(Mapping[str, Evidence]):
    """Where each value stands; made when asked for, because a host has tens of thousands and a verdict cites a few."""

    __slots__ = ("_file", "_lines")

    def __init__(self, file: str, lines: Mapping[str, tuple[int, str]]) -> None:
        self._file = file
        self._lines = lines

    def __getitem__(self, name: str) -> Evidence:
        return Evidence(self._file, *self._lines[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._lines)

    def __len__(self) -> int:
        return len(self._lines)

    def moved(self, file: str) -> SysctlEvidence:
        """The same lines in another file."""
        return SysctlEvidence(file, self._lines)


SysctlFacts = tuple[Mapping[str, str], Mapping[str, Evidence]]


def parse_sysctl(data: bytes, file: str) -> Parsed[SysctlFacts]:
    """Values and where each stands; the last of several lines for one name counts, as for `sysctl -p`."""
    gaps: list[Gap] = []
    values: dict[str, str] = {}
    lines: dict[str, tuple[int, str]] = {}
    for number, line, bare in numbered_lines(data, file, gaps):
        match = _LINE.match(line)
        if match is None:
            gaps.append(unreadable(Evidence(file, number, bare), "sysctl"))
            continue
        name, value = match.groups()
        if "/" in name and name.find("/") < (name.find(".") if "." in name else len(name)):
            name = name.translate(str.maketrans("./", "/."))
        values[name] = value
        lines[name] = (number, bare)
    return Parsed((MappingProxyType(values), SysctlEvidence(file, lines)), tuple(gaps))
