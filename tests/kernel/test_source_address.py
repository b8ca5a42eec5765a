"""Which address a namespace sends from."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from diag.kernel.source_address import Sources
from diag.model.address import Family, Ip, Prefix
from diag.model.netns import Address, Link, LinkKind, Netns, Nexthop

LABELS = {"::1/128": 0, "fc00::/7": 5, "2002::/16": 2, "2001::/32": 6, "::/0": 1}
IPS = (
    "fe80::1",
    "fe80::2:3",
    "fd00:1::1",
    "fd00:1::9",
    "fd00:2::1",
    "2001:db8::1",
    "2001:db8:1::1",
    "2002::1",
    "2001::5",
)
TARGETS = (*IPS, "fd00:1::7", "fd00:3::1", "2001:db8::99", "2600::1", "ff02::1", "fe80::77", "2002:1::")

addresses = st.sampled_from(IPS).map(lambda ip: Address(Ip.parse(ip), Prefix.of(Ip.parse(ip), 64)))
links = st.lists(st.lists(addresses, max_size=3), min_size=1, max_size=4).map(
    lambda found: tuple(
        Link(f"eth{n}", n + 1, LinkKind.VETH, up=True, carrier=True, addresses=tuple(a)) for n, a in enumerate(found)
    )
)


def scope(ip: Ip) -> int:
    return 2 if ip.is_link_local or ip.is_loopback else 14


def label(ip: Ip) -> int:
    return next(label for prefix, label in LABELS.items() if ip in Prefix.parse(prefix))


def best(found: tuple[Link, ...], dev: str, target: Ip) -> int | None:
    """RFC 6724, section 5: rules 1, 2, 5, 6 and 8, by which each candidate is ranked."""
    near = target.is_multicast or scope(target) == 2
    candidates = [(link.name, a) for link in found if link.name == dev or not near for a in link.addresses]

    def rank(candidate: tuple[str, Address]) -> tuple[bool, int, bool, bool, int]:
        name, address = candidate
        ip, same = address.ip, 128 - (address.ip.value ^ target.value).bit_length()
        fits = -scope(ip) if scope(ip) >= scope(target) else scope(ip) - 128
        return ip == target, fits, name == dev, label(ip) == label(target), min(same, address.prefix.length)

    return max(candidates, key=rank)[1].ip.value if candidates else None


@given(links, st.sampled_from(TARGETS), st.sampled_from(["eth0", "eth1", "eth7"]))
def test_ipv6_takes_the_address_that_ranks_highest(found: tuple[Link, ...], target: str, dev: str) -> None:
    sources = Sources(Netns("host", links=found), Family.IPV6)
    there = Ip.parse(target)
    assert sources.on_the_way(Nexthop(dev), there.value) == best(found, dev, there)
