"""Addresses as integers, because a trace compares millions of them."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

from msgspec import Struct

from diag.model.enums import Number


class Family(Number):
    """Address family of a packet."""

    IPV4 = 4, 32
    IPV6 = 6, 128

    bits: int
    label: str
    """`ipv4` or `ipv6`, as in the JSON outputs."""

    def __new__(cls, value: int, bits: int = 0) -> Family:
        found = int.__new__(cls, value)
        found._value_ = value
        found.bits = bits
        found.label = f"ipv{value}"
        return found


_IPV4 = Family.IPV4
"""Python 3.11 takes three times as long for a member of an enum as for a name of the module."""
_LOOPBACK_V4 = range(127 << 24, 128 << 24)


def is_loopback(family: Family, value: int) -> bool:
    """Whether an address is in 127.0.0.0/8 or ::1."""
    return value in _LOOPBACK_V4 if family is _IPV4 else value == 1


class Ip(Struct, frozen=True, order=True):
    """One address."""

    family: Family
    value: int

    @classmethod
    def parse(cls, text: str) -> Ip:
        """Read `10.0.0.1` or `fe80::1` (a `%zone` is ignored); raises ValueError."""
        return _address(text)

    def __str__(self) -> str:
        return _text(self.family, self.value)

    @property
    def is_loopback(self) -> bool:
        return self.value in _LOOPBACK_V4 if self.family is _IPV4 else self.value == 1

    @property
    def is_link_local(self) -> bool:
        """In 169.254.0.0/16 or fe80::/10."""
        return self.value >> 16 == 0xA9FE if self.family is _IPV4 else self.value >> 118 == 0xFE80 >> 6

    @property
    def is_multicast(self) -> bool:
        """In 224.0.0.0/4 or ff00::/8."""
        return self.value >> 28 == 0xE if self.family is _IPV4 else self.value >> 120 == 0xFF


class Prefix(Struct, frozen=True, order=True):
    """A network: the first `length` bits of `value` count, the others are zero."""

    family: Family
    value: int
    length: int

    @classmethod
    def parse(cls, text: str, *, family: Family | None = None) -> Prefix:
        """Read `10.0.0.0/8`, `10.0.0.1`, `10.0.0.0/255.0.0.0` or `default` (which needs `family`).

        Host bits are cleared, as the kernel does. Raises ValueError.
        """
        return _network(text, family)

    @classmethod
    def of(cls, ip: Ip, length: int) -> Prefix:
        shift = ip.family.bits - length
        return cls(ip.family, ip.value >> shift << shift, length)

    def __contains__(self, ip: Ip) -> bool:
        return ip.family is self.family and self.contains_value(ip.value)

    def contains_value(self, value: int) -> bool:
        """Same as `in` for an integer known to be of this family."""
        shift = self.family.bits - self.length
        return value >> shift == self.value >> shift

    def overlaps(self, other: Prefix) -> bool:
        if self.family is not other.family:
            return False
        shift = self.family.bits - min(self.length, other.length)
        return self.value >> shift == other.value >> shift

    @property
    def first(self) -> int:
        return self.value

    @property
    def last(self) -> int:
        return self.value | ((1 << (self.family.bits - self.length)) - 1)

    def __str__(self) -> str:
        return f"{Ip(self.family, self.value)}/{self.length}"


# The standard library's parsers are slow, and a capture names the same few thousand addresses again and again.

_OCTETS = {str(number): number for number in range(256)}
_LENGTHS = {"": 32} | {str(length): length for length in range(33)}
_LENGTHS6 = {"": 128} | {str(length): length for length in range(129)}
_HEX = frozenset("0123456789abcdefABCDEF:")


@lru_cache(maxsize=1 << 14)
def _address(text: str) -> Ip:
    text = text.partition("%")[0]
    value = _dotted_value(text)
    if value is not None:
        return Ip(Family.IPV4, value)
    value = _colon_value(text)
    if value is not None:
        return Ip(Family.IPV6, value)
    parsed = ipaddress.ip_address(text)
    return Ip(Family(parsed.version), int(parsed))


@lru_cache(maxsize=1 << 14)
def _network(text: str, family: Family | None) -> Prefix:
    if text in ("default", "all", "any"):
        if family is None:
            raise ValueError(f"{text!r} needs a family")
        return Prefix(family, 0, 0)
    address, _, mask = text.partition("/")
    value, length = _dotted_value(address), _LENGTHS.get(mask)
    if value is not None and length is not None:
        return Prefix(Family.IPV4, value >> 32 - length << 32 - length, length)
    value, length = _colon_value(address), _LENGTHS6.get(mask)
    if value is not None and length is not None:
        return Prefix(Family.IPV6, value >> 128 - length << 128 - length, length)
    if family is Family.IPV4 and address.count(".") < 3 and ":" not in address:
        address += ".0" * (3 - address.count("."))  # `ip route` prints 127/8 on old versions
    network = ipaddress.ip_network(f"{address}/{mask}" if mask else address, strict=False)
    return Prefix(Family(network.version), int(network.network_address), network.prefixlen)


def _dotted_value(text: str) -> int | None:
    """The number of an IPv4 address as it is commonly written; None for any other text."""
    octets = text.split(".")
    if len(octets) != 4:
        return None
    try:
        first, second, third, fourth = map(_OCTETS.__getitem__, octets)
    except KeyError:
        return None
    return first << 24 | second << 16 | third << 8 | fourth


def _colon_value(text: str) -> int | None:
    """The number of an IPv6 address of hexadecimal groups only; None for any other text."""
    if ":" not in text or not _HEX.issuperset(text):
        return None
    head, gap, tail = text.partition("::")
    before, after = head.split(":") if head else [], tail.split(":") if tail else []
    zeros = 8 - len(before) - len(after)
    if zeros < 1 if gap else zeros:
        return None
    value = 0
    for groups, then in ((before, zeros), (after, 0)):
        for group in groups:
            if not 0 < len(group) < 5:
                return None
            value = value << 16 | int(group, 16)
        value <<= 16 * then
    return value


@lru_cache(maxsize=1 << 14)
def _text(family: Family, value: int) -> str:
    if family is Family.IPV4 and 0 <= value <= 0xFFFFFFFF:
        return f"{value >> 24}.{value >> 16 & 255}.{value >> 8 & 255}.{value & 255}"
    if (
        family is Family.IPV6 and 0 <= value < 1 << 128 and value >> 32 != 0xFFFF
    ):  # how mapped IPv4 looks depends on Python
        return _colon_text(value)
    return str(ipaddress.IPv4Address(value) if family is Family.IPV4 else ipaddress.IPv6Address(value))


def _colon_text(value: int) -> str:
    """The canonical form of RFC 5952: the first of the longest runs of zero groups is `::`."""
    digits = f"{value:032x}"
    groups = ":".join([digits[at : at + 4].lstrip("0") or "0" for at in range(0, 32, 4)])
    framed = f":{groups}:"
    for zeros in _ZERO_RUNS:
        at = framed.find(zeros)
        if at >= 0:
            return f"{framed[1:at]}::{framed[at + len(zeros) : -1]}"
    return groups


_ZERO_RUNS = [":0" * count + ":" for count in range(8, 1, -1)]
