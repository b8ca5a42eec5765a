"""A bundle as it would be after all its containers were started anew: other ids, veths, MAC addresses, addresses."""

from __future__ import annotations

import re
from random import Random
from types import MappingProxyType

from msgspec.structs import replace

from diag.model.bundle import Bundle
from diag.parse.snapshot import build_snapshot

_TOKEN = re.compile(r"(?:[0-9]{1,3}\.){3}[0-9]{1,3}|(?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{0,4}|[0-9A-Za-z]+")
_NUMBERS = re.compile(r'("(?:ifindex|link_index|Pid)": ?)([1-9][0-9]*)')
_PER_ENDPOINT = re.compile(r"(?:\[\d+:\d+\] )?-A (?:DOCKER|PREROUTING) -d \S+ ! -i ")


def scrambled(bundle: Bundle, random: Random) -> Bundle:
    """The same facts in other names."""
    snapshot = build_snapshot(bundle)
    words: dict[str, str] = {}
    for old in (*(c.id for c in snapshot.containers), *(n.id for n in snapshot.networks)):
        fresh = f"{random.getrandbits(256):064x}"
        words |= {old[:length]: fresh[:length] for length in (9, 10, 12, 64)}
    for space in snapshot.netns.values():
        for link in space.links or ():
            if re.fullmatch(r"veth[0-9a-f]{7}", link.name):
                words[link.name] = f"veth{random.getrandbits(28):07x}"
            if link.mac and link.mac != "00:00:00:00:00:00":
                words[link.mac] = ":".join(f"{random.getrandbits(8) & 0xFE:02x}" for _ in range(6))
            words |= {str(a.ip): f"fe80::{random.getrandbits(16):x}:1" for a in link.addresses if a.ip.is_link_local}
    for network in snapshot.networks:
        endpoints = [e for c in snapshot.containers for e in c.endpoints if e.network == network.name]
        for kind in ("ip", "ip6"):
            ips = [str(getattr(e, kind)) for e in endpoints if getattr(e, kind) is not None and not e.fixed_ip]
            words |= dict(zip(ips, random.sample(ips, len(ips)), strict=True))
    shift = random.randrange(1, 5000)

    def file(name: str, data: bytes) -> bytes:
        text = _TOKEN.sub(lambda found: words.get(found[0], found[0]), data.decode())
        if name.endswith(".json") and "nft" not in name:
            text = _NUMBERS.sub(lambda m: m[1] + (m[2] if int(m[2]) < 3 else str(int(m[2]) + shift)), text)
        return (_shuffled(text, random) if name.endswith("tables-save.txt") else text).encode()

    def path(name: str) -> str:
        return "/".join(words.get(part, part) for part in name.split("/"))

    return replace(bundle, files=MappingProxyType({path(n): file(n, data) for n, data in bundle.files.items()}))


def _shuffled(text: str, random: Random) -> str:
    """Docker adds the rules of a container when it starts."""
    lines = text.split("\n")
    for chain in ("DOCKER", "PREROUTING"):
        places = [n for n, line in enumerate(lines) if _PER_ENDPOINT.match(line) and f"-A {chain} " in line]
        for place, line in zip(places, random.sample([lines[n] for n in places], len(places)), strict=True):
            lines[place] = line
    return "\n".join(lines)
