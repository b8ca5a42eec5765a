"""Addresses are read as the standard library reads them, the common forms faster."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from diag.model.address import Ip, Prefix

OCTETS = st.integers(0, 300).map(str) | st.sampled_from(["", "01", "+1", "1 ", "٣", "1e1", "a"])
DOTTED = st.lists(OCTETS, min_size=3, max_size=5).map(".".join)
GROUPS = st.sampled_from(["", "0", "0000", "1", "ab", "FFFF", "12345", "g", "1.2.3.4"])
COLONS = st.lists(GROUPS, min_size=2, max_size=9).map(":".join)
SPARSE = st.lists(st.sampled_from([0, 0, 0, 1, 0xFFFF, 0x20]), min_size=8, max_size=8).map(
    lambda groups: str(ipaddress.IPv6Address(sum(group << 16 * at for at, group in enumerate(groups))))
)
ADDRESSES = DOTTED | COLONS | SPARSE | st.ip_addresses().map(str) | st.text("0123456789abf:.% ", max_size=12)
MASKS = st.integers(-1, 140).map(str) | DOTTED | st.sampled_from(["", "08", "+8", "٣"])


def outcome(read: Callable[[], object]) -> str:
    """What was read, or why not."""
    try:
        return str(read())
    except ValueError as error:
        return f"error: {error}"


@given(ADDRESSES)
def test_an_address(text: str) -> None:
    assert outcome(lambda: Ip.parse(text)) == outcome(lambda: ipaddress.ip_address(text.partition("%")[0]))


@given(ADDRESSES, MASKS)
def test_a_network(address: str, mask: str) -> None:
    text = f"{address}/{mask}" if mask else address
    assert outcome(lambda: Prefix.parse(text)) == outcome(lambda: ipaddress.ip_network(text, strict=False))
