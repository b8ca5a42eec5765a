"""`/etc/hosts`, hosts(5), and `/etc/resolv.conf`, resolv.conf(5), with the comments that Docker leaves in it.

>>> parse_hosts(b"172.17.0.2\\tdb 1f2e3d4c5b6a # link\\n", "containers/x/hosts").value[0].names
('db', '1f2e3d4c5b6a')
>>> resolv = parse_resolv_conf(b'''nameserver 127.0.0.11
... search example.org
... options ndots:0
... # ExtServers: [host(192.0.2.53) 192.0.2.54]
... ''', "containers/x/resolv.conf").value
>>> str(resolv.nameservers[0]), resolv.search, resolv.ndots, resolv.upstream
('127.0.0.11', ('example.org',), 0, ('192.0.2.53', '192.0.2.54'))
>>> resolv.upstream_here
('192.0.2.54',)
"""

from __future__ import annotations

import re
from functools import lru_cache

from diag.model.address import Ip
from diag.model.netns import HostsEntry, ResolvConf
from diag.model.provenance import Evidence, Gap
from diag.parse.json_items import decode
from diag.parse.result import Parsed
from diag.parse.ticket_lines import ticket_lines, unreadable

_UPSTREAM = re.compile(r"^#\s*ExtServers:\s*\[(.*)\]")
_FROM_HOST = re.compile(r"host\([^)]*\)")
"""moby libnetwork/internal/resolvconf: a server that only the host's namespace reaches."""
_SERVER = re.compile(r"[0-9a-fA-F]*[.:][0-9a-fA-F.:]+")


def parse_hosts(data: bytes, file: str) -> Parsed[tuple[HostsEntry, ...]]:
    """Every line with an address and names."""
    gaps: list[Gap] = []
    found = []
    for line, evidence in ticket_lines(data, file, gaps):
        try:
            found.append(HostsEntry(*_address_and_names(line), evidence))
        except ValueError:
            gaps.append(unreadable(evidence, "/etc/hosts"))
    return Parsed(tuple(found), tuple(gaps))


@lru_cache(maxsize=1 << 12)  # all but one line are the same for every container
def _address_and_names(line: str) -> tuple[Ip, tuple[str, ...]]:
    """Raises ValueError for a line of another kind."""
    address, *names = line.partition("#")[0].split()
    return Ip.parse(address), tuple(names)


def parse_resolv_conf(data: bytes, file: str) -> Parsed[ResolvConf]:
    """Nameservers, search list, ndots; evidence is the first nameserver line."""
    gaps: list[Gap] = []
    nameservers: list[Ip] = []
    search: tuple[str, ...] = ()
    ndots, evidence = 1, None
    for line, where in ticket_lines(data, file, gaps):
        words = re.split(r"[#;]", line)[0].split()
        if not words:
            continue
        if words[0] == "nameserver" and len(words) > 1:
            try:
                nameservers.append(Ip.parse(words[1]))
                evidence = evidence or where
            except ValueError:
                gaps.append(unreadable(where, "resolv.conf"))
        elif words[0] in ("search", "domain"):
            search = tuple(words[1:])
        elif words[0] == "options":
            ndots = next((int(w[6:]) for w in words if re.fullmatch(r"ndots:\d{1,2}", w)), ndots)
    listed = _upstream(decode(data))
    upstream, here = (tuple(_SERVER.findall(text)) for text in (listed, _FROM_HOST.sub("", listed)))
    evidence = evidence or Evidence(file, 0, "")
    return Parsed(ResolvConf(tuple(nameservers), search, ndots, upstream, evidence, here), tuple(gaps))


def _upstream(text: str) -> str:
    """What is between the brackets of Docker's comment."""
    for line in text.splitlines():
        match = _UPSTREAM.match(line)
        if match is not None:
            return match[1]
    return ""
