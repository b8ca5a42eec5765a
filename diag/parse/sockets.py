"""Listening sockets: `/proc/net/tcp`, `tcp6`, `udp`, `udp6`, proc(5).

Addresses are 32-bit words in the byte order of the machine, which is little-endian on what Docker runs on.

>>> sample = b'''  sl  local_address rem_address   st tx_queue rx_queue
...    0: 0100007F:1F90 00000000:0000 0A 00000000:00000000
...    1: 020011AC:C000 0100000A:0050 01 00000000:00000000
... '''
>>> for socket in parse_sockets(sample, "host/proc-net-tcp.txt", "tcp").value: print(socket.protocol, socket.ip, socket.port)
tcp 127.0.0.1 8080
"""

from __future__ import annotations

import re
from functools import lru_cache

from diag.model.address import Family, Ip
from diag.model.netns import Socket
from diag.model.provenance import Evidence, Gap
from diag.parse.result import Parsed
from diag.parse.ticket_lines import numbered_lines, unreadable

_ROW = re.compile(
    r"\s*\d+:\s+([0-9A-Fa-f]{8}|[0-9A-Fa-f]{32}):([0-9A-Fa-f]{4})\s+[0-9A-Fa-f]+:[0-9A-Fa-f]{4}\s+([0-9A-Fa-f]{2})\b"
)
_LISTEN, _UNCONNECTED = "0A", "07"


def parse_sockets(data: bytes, file: str, protocol: str) -> Parsed[tuple[Socket, ...]]:
    """TCP sockets that listen and UDP sockets that are bound and not connected."""
    wanted = _LISTEN if protocol == "tcp" else _UNCONNECTED
    gaps: list[Gap] = []
    found = []
    for number, line, bare in numbered_lines(data, file, gaps):
        match = _ROW.match(line)
        if match is None:
            if "local_address" not in line:
                gaps.append(unreadable(Evidence(file, number, bare), "/proc/net"))
            continue
        address, port, state = match.groups()
        if state.upper() == wanted:
            found.append(Socket(protocol, _address(address), int(port, 16), Evidence(file, number, bare)))
    return Parsed(tuple(found), tuple(gaps))


@lru_cache(maxsize=1 << 10)
def _address(text: str) -> Ip:
    words = [bytes.fromhex(text[i : i + 8])[::-1] for i in range(0, len(text), 8)]
    raw = b"".join(words)
    if len(raw) == 16 and raw[:12] == b"\0" * 10 + b"\xff\xff":
        raw = raw[12:]
    return Ip(Family.IPV4 if len(raw) == 4 else Family.IPV6, int.from_bytes(raw, "big"))
