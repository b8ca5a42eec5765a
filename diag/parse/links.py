"""Links and addresses: `ip -j -d addr show`, `ip addr` and `ip link` as text, `ifconfig`.

>>> sample = b'''3: docker0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP group default
...     link/ether 02:42:c1:ab:0f:28 brd ff:ff:ff:ff:ff:ff
...     inet 172.17.0.1/16 brd 172.17.255.255 scope global docker0
... 18: veth3776ec8@if17: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue master docker0 state UP
...     link/ether de:6b:54:d6:fd:42 brd ff:ff:ff:ff:ff:ff link-netnsid 2
... '''
>>> for link in parse_links_text(sample, "host/ip-addr.txt").value:
...     print(link.index, link.name, link.kind.value, link.master, link.peer_index, link.peer_netnsid)
3 docker0 device  0 None
18 veth3776ec8 veth docker0 17 2
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from msgspec import UNSET, Struct, UnsetType, field
from msgspec.json import Decoder
from msgspec.structs import replace

from diag.model.address import Ip, Prefix
from diag.model.message import said, say
from diag.model.netns import Address, Link, LinkKind
from diag.model.provenance import Evidence, Gap, GapKind
from diag.parse.json_items import (
    Count,
    dict_of,
    json_items,
    list_of,
    number_of,
    object_of,
    one_on_each_line,
    struct_of,
    text_of,
)
from diag.parse.result import Parsed
from diag.parse.ticket_lines import ticket_lines, unreadable

_KINDS = {kind.value: kind for kind in LinkKind}
_UNNAMED = re.compile(r"if\d+")
_AFFECTS = say("every flow through this namespace's interfaces")


def parse_links_json(data: bytes, file: str) -> Parsed[tuple[Link, ...]]:
    """`ip -j -d addr show`."""
    lines = one_on_each_line(data)
    if lines is not None:
        try:
            return Parsed(tuple([_link_on_line(line).at(file, number) for number, line in enumerate(lines, 1)]))
        except (ValueError, RecursionError):  # whatever it is, below it becomes a gap
            pass
    items = json_items(data, file, _AFFECTS)
    links, gaps = [], list(items.gaps)
    for item in items.value:
        problems: list[str] = []
        if text_of(item.body, "ifname"):
            links.append(_link(_body(item.body), problems).at(file, item.line))
        else:
            problems.append(say("a link without a name"))
        gaps += [Gap(GapKind.UNREADABLE, file, item.line, problem, _AFFECTS) for problem in problems]
    return Parsed(tuple(links), tuple(gaps))


class _AddressBody(Struct):
    """What `ip -j` says of an address."""

    local: str | UnsetType = UNSET
    prefixlen: Count | UnsetType = UNSET
    address: str | UnsetType = UNSET
    """Of the other end."""
    scope: str = ""
    secondary: Any = False
    dadfailed: Any = False


class _Data(Struct):
    """What only some kinds of link have."""

    mode: str = ""
    mode_flag: str = ""
    id: Count = 0
    bridge_id: str = ""
    stp_state: Count = 0
    nf_call_iptables: Count = 0
    nf_call_ip6tables: Count = 0
    vlan_filtering: Count = 0


class _Info(Struct):
    info_kind: str = ""
    info_data: _Data | None = None


class _Body(Struct):
    """What it says of a link."""

    ifname: str = ""
    ifindex: Count = 0
    flags: list[str] = field(default_factory=list)
    linkinfo: _Info | None = None
    addr_info: list[_AddressBody] = field(default_factory=list)
    address: str = ""
    mtu: Count = 0
    master: str = ""
    link: str = ""
    link_index: Count = 0
    link_netnsid: Any = None


_BODY = Decoder(_Body)


_Details = tuple[str, str, int | None, str, bool, bool, bool, bool]
_Common = tuple[str, int, LinkKind, bool, bool, str, int, str, int, str, int | None, tuple[Address, ...], None]


class _Draft(NamedTuple):
    """A link that stands nowhere yet."""

    common: _Common
    """The fields of a Link up to `port`."""
    details: _Details
    """The others but its evidence."""
    text: str

    def at(self, file: str, line: int) -> Link:
        return Link(*self.common, *self.details, Evidence(file, line, self.text))


@lru_cache(maxsize=1 << 8)  # every namespace has the same lo
def _link_on_line(line: str) -> _Draft:
    """Raises ValueError or RecursionError, also for what :func:`_link` can do without."""
    body = struct_of(_BODY, line) or _body(object_of(line))
    problems: list[str] = []
    draft = _link(body, problems)
    if problems or not draft.common[0]:
        raise ValueError(problems)
    return draft


def _body(raw: dict[str, Any]) -> _Body:
    """Of an object with fields of any type."""
    info = dict_of(raw, "linkinfo")
    data = dict_of(info, "info_data")
    return _Body(
        text_of(raw, "ifname"),
        number_of(raw, "ifindex"),
        [flag for flag in list_of(raw, "flags") if isinstance(flag, str)],
        _Info(text_of(info, "info_kind"), _data(data) if data else None),
        [_address_body(address) for address in list_of(raw, "addr_info") if isinstance(address, dict)],
        text_of(raw, "address"),
        number_of(raw, "mtu"),
        text_of(raw, "master"),
        text_of(raw, "link"),
        number_of(raw, "link_index"),
        raw.get("link_netnsid"),
    )


def _data(raw: dict[str, Any]) -> _Data:
    return _Data(
        text_of(raw, "mode"),
        text_of(raw, "mode_flag"),
        number_of(raw, "id"),
        text_of(raw, "bridge_id"),
        number_of(raw, "stp_state"),
        number_of(raw, "nf_call_iptables"),
        number_of(raw, "nf_call_ip6tables"),
        number_of(raw, "vlan_filtering"),
    )


def _address_body(raw: dict[str, Any]) -> _AddressBody:
    length = number_of(raw, "prefixlen", -1)
    return _AddressBody(
        text_of(raw, "local") if "local" in raw else UNSET,
        length if length >= 0 else UNSET,
        text_of(raw, "address") if "address" in raw else UNSET,
        text_of(raw, "scope"),
        raw.get("secondary"),
        raw.get("dadfailed"),
    )


def _link(body: _Body, problems: list[str]) -> _Draft:
    """Adds to `problems` what cannot be read."""
    info = body.linkinfo
    flags = body.flags
    kind = LinkKind.LOOPBACK if "LOOPBACK" in flags else _kind(info.info_kind if info else "")
    found = [_address(address, problems) for address in body.addr_info]
    addresses = tuple([address for address in found if address is not None])
    netnsid = body.link_netnsid
    shown = " ".join([f"{a.ip}/{a.prefix.length}" for a in addresses])
    common = (
        body.ifname,
        body.ifindex,
        kind,
        "UP" in flags,
        "LOWER_UP" in flags,
        body.address,
        body.mtu,
        body.master,
        body.link_index,
        "" if body.link and _UNNAMED.fullmatch(body.link) else body.link,
        netnsid if isinstance(netnsid, int) and not isinstance(netnsid, bool) else None,
        addresses,
        None,
    )
    data = info.info_data if info else None
    details = _details(data or _Data(), kind) if data or kind is LinkKind.VXLAN else _NO_DETAILS
    return _Draft(common, details, f"{body.ifindex}: {body.ifname} <{','.join(flags)}> {shown}".rstrip())


def _details(data: _Data, kind: LinkKind) -> _Details:
    """The fields of a Link between `port` and `evidence`."""
    return (
        data.mode,
        data.mode_flag,
        data.id if kind is LinkKind.VXLAN else None,
        data.bridge_id,
        bool(data.stp_state),
        bool(data.nf_call_iptables),
        bool(data.nf_call_ip6tables),
        bool(data.vlan_filtering),
    )


_NO_DETAILS = ("", "", None, "", False, False, False, False)


def _kind(text: str) -> LinkKind:
    return _KINDS.get(text, LinkKind.OTHER) if text else LinkKind.DEVICE


def _address(body: _AddressBody, problems: list[str]) -> Address | None:
    if isinstance(body.local, UnsetType):
        return None
    try:
        ip = Ip.parse(body.local)
        bits = ip.family.bits
        network = ip if isinstance(body.address, UnsetType) else Ip.parse(body.address)
        prefix = Prefix.of(network, bits if isinstance(body.prefixlen, UnsetType) else min(body.prefixlen, bits))
    except ValueError as error:
        problems.append(say("an address is not understood: {error}", error=said(error)))
        return None
    return Address(ip, prefix, body.scope or "global", bool(body.secondary), bool(body.dadfailed))


_HEAD = re.compile(r"^(\d+):\s+([^\s:@]+)(?:@(\S+?))?:\s+<([^>]*)>(.*)$")
_INET = re.compile(r"^\s+(inet6?)\s+(\S+)(?:\s+peer\s+(\S+))?(.*)$")
_IFCONFIG = re.compile(r"^([^\s:]+(?::\d+)?):?\s+(?:flags=\d+<([^>]*)>|Link encap:(\S+))(.*)$")
_IFCONFIG_INET = re.compile(r"^\s+inet6?\s+(?:addr:\s*)?(\S+)")


def parse_links_text(data: bytes, file: str) -> Parsed[tuple[Link, ...]]:
    """`ip addr`, `ip link` or `ifconfig`, told line by line."""
    gaps: list[Gap] = []
    links: list[Link] = []
    for line, evidence in ticket_lines(data, file, gaps, _AFFECTS):
        link = _head(line, evidence) or _ifconfig_head(line, evidence)
        if link is not None:
            links.append(link)
        elif links and line[0] in " \t":
            links[-1] = _detail(links[-1], line, evidence, gaps)
        else:
            gaps.append(unreadable(evidence, "ip addr", _AFFECTS))
    return Parsed(tuple(links), tuple(gaps))


def _word_after(text: str, key: str) -> str:
    words = text.split()
    return words[words.index(key) + 1] if key in words[:-1] else ""


def _head(line: str, evidence: Evidence) -> Link | None:
    match = _HEAD.match(line)
    if match is None:
        return None
    index, name, peer, flag_text, rest = match.groups()
    flags = flag_text.split(",")
    peer_index = int(peer[2:]) if peer and re.fullmatch(r"if\d{1,9}", peer) else 0
    master = _word_after(rest, "master")
    mtu = _word_after(rest, "mtu")
    kind = LinkKind.LOOPBACK if "LOOPBACK" in flags else LinkKind.DEVICE
    if peer_index or name.startswith("veth"):
        kind = LinkKind.VETH
    elif re.fullmatch(r"br-[0-9a-f]{12}", name):
        kind = LinkKind.BRIDGE
    return Link(
        name,
        int(index) if len(index) < 10 else 0,
        kind,
        up="UP" in flags,
        carrier="LOWER_UP" in flags or "NO-CARRIER" not in flags,
        mtu=int(mtu) if mtu.isdigit() and len(mtu) < 10 else 0,
        master=master,
        peer_index=peer_index,
        peer_name=peer if peer and not peer_index else "",
        evidence=evidence,
    )


def _ifconfig_head(line: str, evidence: Evidence) -> Link | None:
    match = _IFCONFIG.match(line)
    if match is None:
        return None
    name, flag_text, encap, rest = match.groups()
    flags = (flag_text or "").split(",")
    loopback = "LOOPBACK" in flags or encap == "Local"
    mtu = _word_after(rest, "mtu")
    return Link(
        name,
        0,
        LinkKind.LOOPBACK if loopback else LinkKind.VETH if name.startswith("veth") else LinkKind.DEVICE,
        up="UP" in flags or bool(encap),
        carrier="RUNNING" in flags or bool(encap),
        mtu=int(mtu) if mtu.isdigit() and len(mtu) < 10 else 0,
        evidence=evidence,
    )


def _detail(link: Link, line: str, evidence: Evidence, gaps: list[Gap]) -> Link:
    match = _INET.match(line)
    if match is not None and ("/" in match[2] or match[1] == "inet6" or "netmask" in match[4] or "peer" in line):
        address = _text_address(match, evidence, gaps)
        return replace(link, addresses=(*link.addresses, address)) if address else link
    if _IFCONFIG_INET.match(line):
        address = _ifconfig_address(line, evidence, gaps)
        return replace(link, addresses=(*link.addresses, address)) if address else link
    words = line.split()
    if words[0].startswith("link/") and len(words) > 1:
        netnsid = _word_after(line, "link-netnsid")
        peer = int(netnsid) if netnsid.isdigit() and len(netnsid) < 10 else link.peer_netnsid
        return replace(link, mac=words[1] if ":" in words[1] else link.mac, peer_netnsid=peer)
    if words[0] == "ether" and len(words) > 1:
        return replace(link, mac=words[1])
    if words[0] in ("bridge", "veth", "macvlan", "ipvlan", "vxlan", "dummy", "tun"):
        mode = _word_after(line, "mode")
        flag = _word_after(line, mode) if words[0] == "ipvlan" and mode else ""
        return replace(link, kind=_KINDS[words[0]], mode=mode, mode_flag=flag)
    return link


def _text_address(match: re.Match[str], evidence: Evidence, gaps: list[Gap]) -> Address | None:
    _, local, peer, rest = match.groups()
    netmask = _word_after(rest, "netmask") or _word_after(rest, "prefixlen")
    own, _, length = local.partition("/")
    try:
        ip = Ip.parse(own)
        prefix = Prefix.parse(peer or f"{own}/{length or netmask or ip.family.bits}")
    except ValueError:
        gaps.append(unreadable(evidence, "ip addr", _AFFECTS))
        return None
    scope = _word_after(rest, "scope") or "global"
    return Address(ip, prefix, scope, "secondary" in rest.split(), "dadfailed" in rest.split())


def _ifconfig_address(line: str, evidence: Evidence, gaps: list[Gap]) -> Address | None:
    match = _IFCONFIG_INET.match(line)
    assert match is not None
    mask = re.search(r"(?:Mask:|netmask\s+|prefixlen\s+)(\S+)", line)
    try:
        own, _, length = match[1].partition("/")
        ip = Ip.parse(own)
        return Address(ip, Prefix.parse(f"{own}/{length or (mask[1] if mask else ip.family.bits)}"))
    except ValueError:
        gaps.append(unreadable(evidence, "ifconfig", _AFFECTS))
        return None


def merge_links(primary: tuple[Link, ...], other: tuple[Link, ...]) -> tuple[Link, ...]:
    """Links of a second output (`ifconfig` beside `ip addr`): only those that the first does not name."""
    names = {link.name for link in primary}
    return (*primary, *_unseen(other, names))


def _unseen(links: tuple[Link, ...], names: set[str]) -> Iterator[Link]:
    for link in links:
        if link.name not in names:
            yield link
