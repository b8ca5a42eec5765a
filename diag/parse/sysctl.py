"""`name = value` lines, as `sysctl` prints them.

>>> values, evidence = parse_sysctl(b"net.ipv4.ip_forward = 1\\nnet/ipv4/conf/eth0.5/rp_filter=2\\n", "host/sysctl.txt").value
>>> dict(values)
{'net.ipv4.ip_forward': '1', 'net.ipv4.conf.eth0/5.rp_filter': '2'}
>>> evidence["net.ipv4.ip_forward"].line
1
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from diag.model.provenance import Evidence, Gap
from diag.parse.result import Parsed
from diag.parse.ticket_lines import ticket_lines, unreadable

_LINE = re.compile(r"^\s*([\w./@*:-]+)\s*=\s*(.*?)\s*$")

SysctlFacts = tuple[Mapping[str, str], Mapping[str, Evidence]]


def parse_sysctl(data: bytes, file: str) -> Parsed[SysctlFacts]:
    """Values and where each stands; the last of several lines for one name counts, as for `sysctl -p`."""
    gaps: list[Gap] = []
    values: dict[str, str] = {}
    evidence: dict[str, Evidence] = {}
    for line, where in ticket_lines(data, file, gaps):
        match = _LINE.match(line)
        if match is None:
            gaps.append(unreadable(where, "sysctl"))
            continue
        name = match[1]
        if "/" in name and name.find("/") < (name.find(".") if "." in name else len(name)):
            name = name.translate(str.maketrans("./", "/."))
        values[name] = match[2]
        evidence[name] = where
    return Parsed((values, evidence), tuple(gaps))
