"""Random rules that the kernel accepts: iptables lines and nft statements over the lab's names and addresses."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hypothesis import strategies as st

from tests.live.lab import CLOSED_PORT, TCP_PORTS, UDP_PORTS

DEVICES = ["br-a", "br-b", "up0", "br-+"]
SUBNETS = ("10.201.1", "10.201.2")
ADDRESSES = [f"{subnet}.{last}" for subnet in SUBNETS for last in (1, 11, 12, 13, 14)] + ["10.201.9.2", "10.201.9.1"]
CONTAINERS = [a for a in ADDRESSES if not a.endswith(".1")]
UPLINK = "10.201.9.1"
PREFIXES = [*ADDRESSES, *(f"{s}.0/24" for s in SUBNETS), "10.201.0.0/16", "10.201.1.8/29", "10.201.2.12/30"]
PORTS = sorted({*TCP_PORTS, *UDP_PORTS, CLOSED_PORT})
USER = ["U0", "U1", "U2"]


@dataclass(frozen=True)
class IpSet:
    """A set of the host that rules look addresses up in."""

    kind: str
    options: str
    elements: tuple[str, ...]


IPSETS = {
    "s-ip": IpSet("hash:ip", "", ("10.201.1.11", "10.201.2.11", "10.201.9.2")),
    "s-mask": IpSet("hash:ip", "netmask 28", ("10.201.1.0",)),
    "s-net": IpSet("hash:net", "", ("10.201.1.0/24", "10.201.1.12/32 nomatch", "10.201.2.12/30")),
    "s-ip-port": IpSet("hash:ip,port", "", ("10.201.1.12,tcp:80", "10.201.2.11,udp:53", "10.201.1.12,icmp:8/0")),
    "s-net-port": IpSet("hash:net,port", "", ("10.201.0.0/16,tcp:5432", "10.201.1.0/24,udp:9999")),
    "s-port": IpSet("bitmap:port", "range 1-10000", ("53-80", "5432")),
    "s-map": IpSet("bitmap:ip", "range 10.201.1.0/24", ("10.201.1.10-10.201.1.12",)),
    "s-net-iface": IpSet("hash:net,iface", "", ("10.201.1.0/24,br-a", "10.201.2.0/24,br-b", "0.0.0.0/0,up0")),
}


def ipset_restore() -> str:
    """The sets for `ipset restore`."""
    lines = [f"create {name} {s.kind} {s.options}" for name, s in IPSETS.items()]
    lines += [f"add {name} {element}" for name, s in IPSETS.items() for element in s.elements]
    return "\n".join(lines) + "\n"


device = st.sampled_from(DEVICES)
prefix = st.sampled_from(PREFIXES)
port = st.sampled_from(PORTS)
negation = st.sampled_from(["", "", "! "])


def _words(*parts: str) -> str:
    return " ".join(p for p in parts if p)


@st.composite
def _addresses(draw: st.DrawFn, *, sets: bool = True) -> str:
    kind = draw(st.integers(0, 7))
    if kind == 0:
        return f"{draw(negation)}-s {draw(prefix)} {draw(negation)}-d {draw(prefix)}"
    if kind == 4:
        mask = draw(st.sampled_from(["10.201.0.11/255.255.0.255", "10.0.1.0/255.0.3.0"]))
        return f"{draw(negation)}{draw(st.sampled_from(['-s', '-d']))} {mask}"
    if kind == 5 and sets:
        name = draw(st.sampled_from(sorted(IPSETS)))
        sides = st.sampled_from(["src", "dst"])
        chosen = ",".join(draw(sides) for _ in IPSETS[name].kind.split(","))
        return f"-m set {draw(negation)}--match-set {name} {chosen}"
    if kind in (1, 2):
        return f"{draw(negation)}{draw(st.sampled_from(['-s', '-d']))} {draw(prefix)}"
    if kind == 3:
        low, high = sorted(draw(st.lists(st.integers(1, 40), min_size=2, max_size=2)))
        side = draw(st.sampled_from(["src", "dst"]))
        return f"-m iprange {draw(negation)}--{side}-range 10.201.1.{low}-10.201.1.{high}"
    return ""


@st.composite
def _transport(draw: st.DrawFn) -> str:
    kind = draw(st.integers(0, 8))
    if kind == 0:
        return f"{draw(negation)}-p {draw(st.sampled_from(['tcp', 'udp', 'icmp', 'sctp', '47']))}"
    if kind == 5:
        protocol = draw(st.sampled_from(["tcp", "udp"]))
        return (
            f"-p {protocol} -m {protocol} {draw(negation)}--sport {draw(st.sampled_from(['1024:65535', '80', ':79']))}"
        )
    if kind == 6:
        return draw(st.sampled_from(["-f", "! -f", "-p tcp -m tcp --syn", "-p tcp -m tcp ! --syn"]))
    if kind == 1:
        low, high = sorted((draw(port), draw(port)))
        protocol = draw(st.sampled_from(["tcp", "udp"]))
        return f"-p {protocol} -m {protocol} {draw(negation)}--dport {low}:{high}"
    if kind == 2:
        ports = ",".join(str(p) for p in draw(st.lists(port, min_size=1, max_size=4, unique=True)))
        protocol = draw(st.sampled_from(["tcp", "udp"]))
        side = draw(st.sampled_from(["--dports", "--sports", "--ports"]))
        return f"-p {protocol} -m multiport {draw(negation)}{side} {ports}"
    if kind == 3:
        return f"-p icmp -m icmp {draw(negation)}--icmp-type {draw(st.sampled_from(['8', '0', '3', '3/3', '8/0']))}"
    if kind == 4:
        flags = draw(st.sampled_from(["SYN SYN", "SYN,ACK SYN", "SYN,ACK SYN,ACK", "RST RST", "ACK ACK"]))
        return f"-p tcp -m tcp {draw(negation)}--tcp-flags {flags}"
    return ""


_CT = [
    *(f"--ctorigsrc {a}" for a in (ADDRESSES[1], "10.201.2.0/24")),
    *(f"--ctorigdst {a}" for a in (ADDRESSES[2], ADDRESSES[0], "10.201.2.0/24")),
    *(f"--ctreplsrc {a}" for a in (ADDRESSES[2], "10.201.2.0/24")),
    *(f"--ctrepldst {a}" for a in (ADDRESSES[1], UPLINK, "10.201.2.0/24")),
    *("--ctorigdstport 80", "--ctorigdstport 81:9999", "--ctorigsrcport 1024:65535", "--ctproto 6", "--ctproto 17"),
    *("--ctstate DNAT", "--ctstate SNAT", "--ctstate NEW,DNAT", "--ctstate UNTRACKED", "--ctstatus SEEN_REPLY"),
    *("--ctstatus NONE", "--ctstatus CONFIRMED", "--ctstatus SEEN_REPLY,CONFIRMED"),
]
_CT_DIRECTIONS = ["--ctdir ORIGINAL", "--ctdir REPLY"]
_ORIENTED = {"PREROUTING": "i", "INPUT": "i", "FORWARD": "io", "POSTROUTING": "o"}


@st.composite
def _state(draw: st.DrawFn, hook: str) -> str:
    kind = draw(st.integers(0, 11))
    if kind in (0, 1):
        names = st.sampled_from(["NEW", "ESTABLISHED", "RELATED", "INVALID"])
        states = ",".join(draw(st.lists(names, min_size=1, max_size=2, unique=True)))
        module = draw(st.sampled_from(["conntrack", "conntrack", "state"]))
        return f"-m {module} {draw(negation)}--{'state' if module == 'state' else 'ctstate'} {states}"
    if kind == 2:
        module = draw(st.sampled_from(["mark", "connmark"]))
        return f"-m {module} {draw(negation)}--mark {draw(st.sampled_from(['0x1', '0x2/0x2', '0x0/0x1']))}"
    if kind == 3:
        types = draw(st.sampled_from(["LOCAL", "UNICAST", "LOCAL,BROADCAST"]))
        limited = draw(st.sampled_from(["", " --limit-iface-in"])) if "i" in _ORIENTED.get(hook, "") else ""
        return f"-m addrtype {draw(negation)}--{draw(st.sampled_from(['src', 'dst']))}-type {types}{limited}"
    if kind in (4, 5):
        if kind == 5 and draw(st.booleans()):
            state = draw(st.sampled_from(["NEW", "NEW,INVALID", "ESTABLISHED,UNTRACKED", "INVALID,UNTRACKED"]))
            return f"-m conntrack --ctstate {state} {draw(st.sampled_from(_CT[:12]))}"
        inverted = st.builds(lambda no, match: no + match, negation, st.sampled_from(_CT))
        return f"-m conntrack {draw(st.one_of(inverted, inverted, st.sampled_from(_CT_DIRECTIONS)))}"
    if kind == 6 and hook not in ("OUTPUT", "INPUT"):
        return f"-m pkttype {draw(negation)}--pkt-type {draw(st.sampled_from(['unicast', 'broadcast', 'multicast']))}"
    if kind == 7:
        return f"-m physdev {draw(_physdev(hook))}"
    return ""


def _physdev(hook: str) -> st.SearchStrategy[str]:
    """`--physdev-out` is refused where a packet may be routed into the bridge."""
    found = ["--physdev-in veth1", "! --physdev-in veth2", "--physdev-in veth+", "--physdev-is-in", "! --physdev-is-in"]
    if hook == "FORWARD":
        found += ["--physdev-is-bridged", "! --physdev-is-bridged", "--physdev-is-out"]
        found += ["--physdev-is-bridged --physdev-out veth2", "--physdev-is-bridged ! --physdev-out veth1"]
    return st.sampled_from(found)


def _interfaces(hook: str) -> st.SearchStrategy[str]:
    sides = {"PREROUTING": "i", "INPUT": "i", "FORWARD": "io", "OUTPUT": "o", "POSTROUTING": "o"}.get(hook, "")
    if not sides:
        return st.just("")
    one = st.builds(lambda n, side, dev: f"{n}-{side} {dev}", negation, st.sampled_from(list(sides)), device)
    if len(sides) == 1:
        return st.one_of(st.just(""), one)
    both = st.builds(lambda n, a, m, b: f"{n}-i {a} {m}-o {b}", negation, device, negation, device)
    return st.one_of(st.just(""), one, both)


@st.composite
def _match(draw: st.DrawFn, hook: str) -> str:
    return _words(draw(_interfaces(hook)), draw(_addresses()), draw(_transport()), draw(_state(hook)))


_FILTER_TARGETS = [
    "-j ACCEPT",
    "-j DROP",
    "-j RETURN",
    "-j REJECT --reject-with icmp-port-unreachable",
    "-j REJECT --reject-with icmp-host-prohibited",
    "-j REJECT --reject-with icmp-net-unreachable",
    "-j REJECT --reject-with icmp-admin-prohibited",
    "-j LOG --log-prefix x",
    "-m comment --comment nothing",
]


@st.composite
def _filter_rule(draw: st.DrawFn, chain: str, deeper: list[str]) -> str:
    targets = _FILTER_TARGETS + [f"-j {c}" for c in deeper] + [f"-g {c}" for c in deeper]
    reset = draw(st.integers(0, 12)) == 0 and chain in ("FORWARD", "INPUT")
    if reset:
        return f"-A {chain} {draw(_addresses())} -p tcp -j REJECT --reject-with tcp-reset"
    return _words(f"-A {chain}", draw(_match(chain)), draw(st.sampled_from(targets)))


@st.composite
def filter_table(draw: st.DrawFn) -> str:
    """`*filter` with nested user chains and policies."""
    lines = ["*filter"]
    for chain in ("INPUT", "FORWARD", "OUTPUT"):
        policy = draw(st.sampled_from(["ACCEPT", "ACCEPT", "ACCEPT", "DROP"])) if chain == "FORWARD" else "ACCEPT"
        lines.append(f":{chain} {policy} [0:0]")
    lines += [f":{chain} - [0:0]" for chain in USER]
    for chain, deeper, most in (
        ("FORWARD", USER, 6),
        ("INPUT", USER, 2),
        ("OUTPUT", USER, 2),
        ("U0", USER[1:], 3),
        ("U1", USER[2:], 3),
        ("U2", [], 3),
    ):
        lines += draw(st.lists(_filter_rule(chain, deeper), max_size=most))
    return "\n".join([*lines, "COMMIT"]) + "\n"


@st.composite
def mangle_table(draw: st.DrawFn) -> str:
    """`*mangle` with marks."""
    lines = ["*mangle"] + [f":{c} ACCEPT [0:0]" for c in ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING")]
    for chain in draw(st.lists(st.sampled_from(["PREROUTING", "FORWARD", "OUTPUT", "POSTROUTING"]), max_size=5)):
        target = draw(
            st.sampled_from(
                [
                    *("-j MARK --set-xmark 0x1/0xffffffff", "-j MARK --set-xmark 0x2/0x2", "-j MARK --or-mark 2"),
                    *("-j MARK --and-mark 1", "-j MARK --xor-mark 3", "-j CONNMARK --save-mark"),
                    *("-j CONNMARK --restore-mark", "-j CONNMARK --save-mark --nfmask 0x2 --ctmask 0x2"),
                    *("-j CONNMARK --set-xmark 0x1/0x1", "-j DROP", "-j ACCEPT", "-j TOS --set-tos 0x10"),
                    *("-j DSCP --set-dscp 8", "-j TTL --ttl-set 60"),
                ]
            )
        )
        lines.append(_words(f"-A {chain}", draw(_match(chain)), target))
    return "\n".join([*lines, "COMMIT"]) + "\n"


@st.composite
def raw_table(draw: st.DrawFn) -> str:
    """`*raw` with drops and NOTRACK."""
    lines = ["*raw", ":PREROUTING ACCEPT [0:0]", ":OUTPUT ACCEPT [0:0]"]
    for chain in draw(st.lists(st.sampled_from(["PREROUTING", "OUTPUT"]), max_size=2)):
        match = _words(draw(_interfaces(chain)), draw(_addresses()), draw(_transport()))
        lines.append(
            _words(
                f"-A {chain}", match, draw(st.sampled_from(["-j DROP", "-j CT --notrack", "-j NOTRACK", "-j ACCEPT"]))
            )
        )
    return "\n".join([*lines, "COMMIT"]) + "\n"


@st.composite
def nat_table(draw: st.DrawFn) -> str:
    """`*nat`: DNAT and REDIRECT before routing, MASQUERADE and SNAT after it."""
    lines = ["*nat"] + [f":{c} ACCEPT [0:0]" for c in ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING")]
    for chain in draw(
        st.lists(st.sampled_from(["PREROUTING", "PREROUTING", "OUTPUT", "POSTROUTING", "POSTROUTING"]), max_size=4)
    ):
        match = _words(draw(_interfaces(chain)), draw(_addresses()))
        protocol = draw(st.sampled_from(["tcp", "udp"]))
        if chain == "POSTROUTING":
            whole = ["-j MASQUERADE", "-j MASQUERADE", f"-j SNAT --to-source {UPLINK}", "-j ACCEPT"]
            whole += ["-j MASQUERADE --random", "-j NETMAP --to 10.201.2.0/24"]
            ported = ["-j MASQUERADE --to-ports 2000-3000", f"-j SNAT --to-source {UPLINK}:1024-2048"]
            if draw(st.integers(0, 3)):
                lines.append(_words(f"-A {chain}", match, draw(st.sampled_from(whole))))
            else:
                lines.append(_words(f"-A {chain}", match, f"-p {protocol}", draw(st.sampled_from(ported))))
            continue
        if draw(st.integers(0, 7)) == 0:
            whole = ["-j NETMAP --to 10.201.2.0/24", "-j NETMAP --to 10.201.1.8/30", "-j ACCEPT"]
            lines.append(_words(f"-A {chain}", match, draw(st.sampled_from(whole))))
            continue
        low, high = sorted((draw(port), draw(port)))
        to = draw(st.sampled_from(CONTAINERS))
        targets = [f"DNAT --to-destination {to}", f"DNAT --to-destination {to}:{low}", f"REDIRECT --to-ports {low}"]
        targets += [f"DNAT --to-destination :{low}", "REDIRECT", f"DNAT --to-destination {to} --random --persistent"]
        if low == high:
            targets += ["DNAT --to-destination 10.201.1.11-10.201.1.13"]
        wanted = f"-p {protocol} -m {protocol} --dport {draw(port)}"
        lines.append(_words(f"-A {chain}", match, wanted, "-j", draw(st.sampled_from(targets))))
    return "\n".join([*lines, "COMMIT"]) + "\n"


@st.composite
def iptables(draw: st.DrawFn) -> str:
    """A whole ruleset for iptables-restore."""
    more = [draw(table) for table in (mangle_table(), raw_table(), nat_table()) if draw(st.booleans())]
    return "".join([draw(filter_table()), *more])


@st.composite
def container_rules(draw: st.DrawFn) -> str:
    """A firewall or a NAT router inside a container."""
    refuse = [
        "ACCEPT",
        "DROP",
        "REJECT",
        "REJECT --reject-with icmp-host-prohibited",
        "REJECT --reject-with icmp-net-unreachable",
    ]
    lines = ["*filter"]
    for chain in ("INPUT", "FORWARD", "OUTPUT"):
        policy = draw(st.sampled_from(["ACCEPT", "ACCEPT", "ACCEPT", "DROP"]))
        lines.append(f":{chain} {policy} [0:0]")
        if policy == "DROP":
            lines.append(f"-A {chain} -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT")
    for chain in draw(st.lists(st.sampled_from(["INPUT", "INPUT", "FORWARD", "OUTPUT"]), max_size=3)):
        target = draw(st.sampled_from(refuse))
        lines.append(_words(f"-A {chain}", draw(_addresses(sets=False)), draw(_transport()), f"-j {target}"))
    lines.append("COMMIT")
    if draw(st.booleans()):
        lines += ["*nat", ":PREROUTING ACCEPT [0:0]", ":POSTROUTING ACCEPT [0:0]"]
        to = draw(st.sampled_from(CONTAINERS))
        nat = ["-A POSTROUTING -o eth1 -j MASQUERADE", "-A POSTROUTING -j MASQUERADE"]
        nat += [f"-A PREROUTING -p tcp -m tcp --dport {draw(port)} -j DNAT --to-destination {to}:{draw(port)}"]
        lines += draw(st.lists(st.sampled_from(nat), min_size=1, max_size=2))
        lines.append("COMMIT")
    return "\n".join(lines) + "\n"


_REJECT6 = {
    "icmp-port-unreachable": "icmp6-port-unreachable",
    "icmp-host-prohibited": "icmp6-adm-prohibited",
    "icmp-net-unreachable": "icmp6-no-route",
    "icmp-admin-prohibited": "icmp6-policy-fail",
    "icmp prot-unreachable": "icmpv6 no-route",
    "icmp host-prohibited": "icmpv6 admin-prohibited",
    "icmp type": "icmpv6 type",
    "icmp code": "icmpv6 code",
}
_WORDS6 = (
    ("TTL --ttl-set", "HL --hl-set"),
    (r"\bip (saddr|daddr|dscp)", r"ip6 \1"),
    (r"\bip ttl", "ip6 hoplimit"),
    (r"\bip protocol", "meta l4proto"),
    (r"\b(dnat|snat) ip to", r"\1 ip6 to"),
    ("ipv4_addr", "ipv6_addr"),
    ("table ip ", "table ip6 "),
    ("nfproto ipv4", "nfproto ipv6"),
    (r"l4proto (!= )?icmp", r"l4proto \1ipv6-icmp"),
)
_ICMP6 = {"8": "128", "0": "129", "3": "1", "3/3": "1/4", "8/0": "128/0"}


_IP4_ONLY = r" -f|--match-set|/255\.|& 255|arp [sd]addr ip"


def to_ip6(text: str) -> str:
    """The same rules for IPv6: addresses by their digits, prefixes 96 longer, ICMP by its other names."""
    lines = [_line_to_ip6(line) for line in text.splitlines() if not re.search(_IP4_ONLY, line)]
    return "\n".join(lines) + "\n"


def _line_to_ip6(line: str) -> str:
    for old, new in _REJECT6.items():
        line = line.replace(old, new)
    line = re.sub(r"--icmp-type (\S+)", lambda m: f"--icmpv6-type {_ICMP6[m[1]]}", line)
    line = line.replace("-p icmp -m icmp ", "-p ipv6-icmp -m icmp6 ").replace("-p icmp", "-p ipv6-icmp")
    line = line.replace("10.201.0.0/16", "fd00:201::/32").replace("LOCAL,BROADCAST", "LOCAL")
    for pattern, new in _WORDS6:
        line = re.sub(pattern, new, line)
    line = re.sub(r"(10\.201\.\d+\.\d+):(\d)", r"[\1]:\2", line)
    line = re.sub(r"10\.201\.(\d+)\.0/24", r"fd00:201:\1::/64", line)
    line = re.sub(r"10\.201\.(\d+)\.(\d+)/(\d\d)", lambda m: f"fd00:201:{m[1]}::{m[2]}/{int(m[3]) + 96}", line)
    return re.sub(r"10\.201\.(\d+)\.(\d+)", r"fd00:201:\1::\2", line)


_NFT_NEGATION = st.sampled_from(["", "!= "])
_NFT_DEVICE = st.one_of(
    st.builds(
        lambda side, no, dev: f"{side}ifname {no}{dev}",
        st.sampled_from(["i", "i", "o"]),
        _NFT_NEGATION,
        st.sampled_from(["br-a", "br-b", "up0", '"br-*"', '{ "br-a", "up0" }', "@links"]),
    ),
    st.builds(
        lambda side, no, dev: f"{side}if {no}{dev}",
        st.sampled_from(["i", "o"]),
        _NFT_NEGATION,
        st.sampled_from(["br-a", "br-b"]),
    ),
    st.just("iifname . ip saddr @pairs"),
)
_NFT_SIDE = st.sampled_from(["saddr", "daddr"])
_NFT_ADDRESS = st.one_of(
    st.builds(lambda side, no, p: f"ip {side} {no}{p}", _NFT_SIDE, _NFT_NEGATION, prefix),
    st.builds(
        lambda side, no, found: f"ip {side} {no}{{ {', '.join(found)} }}",
        _NFT_SIDE,
        _NFT_NEGATION,
        st.lists(st.sampled_from(ADDRESSES), min_size=1, max_size=3, unique=True),
    ),
    st.builds(
        lambda side, no, name: f"ip {side} {no}@{name}", _NFT_SIDE, _NFT_NEGATION, st.sampled_from(["plain", "nets"])
    ),
    st.builds(lambda side, no: f"ip {side} {no}10.201.1.11-10.201.2.5", _NFT_SIDE, _NFT_NEGATION),
    st.builds(lambda side: f"ip {side} & 255.0.255.255 == 10.0.1.11", _NFT_SIDE),
)
_NFT_TRANSPORT = st.one_of(
    st.builds(lambda a, p: f"ip saddr . tcp dport {{ {a} . {p} }}", st.sampled_from(ADDRESSES), port),
    st.sampled_from([f"tcp flags {f}" for f in ("& (syn|ack) == syn", "& (fin|syn|rst|ack) == syn", "syn", "!= syn")]),
    st.builds(lambda no, p: f"tcp dport {no}{p}", _NFT_NEGATION, port),
    st.builds(lambda p: f"udp dport {{ {p}-9999 }}" if p < 9999 else "udp dport 9999", port),
    st.builds(
        lambda no, p: f"meta l4proto {no}{p}", _NFT_NEGATION, st.sampled_from(["tcp", "udp", "icmp", "{ tcp, udp }"])
    ),
    st.sampled_from(["icmp type echo-request", "icmp type echo-reply", "icmp type { echo-request, echo-reply }"]),
    st.sampled_from(["icmp code 0", "icmp type destination-unreachable icmp code port-unreachable"]),
    st.sampled_from(["meta l4proto tcp th dport < 81", "meta l4proto udp th dport >= 5432", "tcp dport 53-80"]),
    st.sampled_from(["tcp sport 1024-65535", "tcp sport < 1024", "th dport { 53, 80 }", "ip protocol tcp"]),
    st.sampled_from(["ip protocol { tcp, udp }", "meta l4proto . th dport @services", "tcp flags { syn, ack }"]),
    st.sampled_from(["meta l4proto tcp ct original proto-dst 80", "meta l4proto tcp ct original proto-dst > 80"]),
    st.sampled_from(["meta l4proto udp ct reply proto-src 53", "meta l4proto tcp ct reply proto-dst > 1023"]),
)
_NFT_STATE = st.sampled_from(
    [
        *(f"ct state {s}" for s in ("new", "established,related", "established", "{ new, invalid }", "!= new")),
        *("ct state untracked", "ct state invalid", "ct state new,untracked", "ct state != established,related"),
        *(
            f"fib {a} type {t}"
            for a in ("saddr", "daddr")
            for t in ("local", "unicast", "!= local", "{ local, broadcast }")
        ),
        *(f"meta mark {m}" for m in ("1", "!= 1", "& 2 == 2", "1-3", "{ 1, 2 }")),
        *(f"ct mark {m}" for m in ("1", "!= 1", "& 2 == 2")),
        *("ct status dnat", "ct status snat", "ct status dnat,snat", "ct status seen-reply", "ct status confirmed"),
        *("ct direction original", "ct direction reply", "meta nfproto ipv4"),
        *(
            "ct original ip saddr 10.201.1.0/24",
            "ct original ip saddr != 10.201.1.12",
            "ct original ip daddr 10.201.1.12",
            "ct reply ip saddr 10.201.2.11",
        ),
        *(
            "ct reply ip daddr 10.201.1.11",
            "ct original ip daddr != 10.201.1.1",
            "ct original protocol tcp",
            "limit rate 1000000/second",
        ),
    ]
)
_NFT_INPUT_STATE = st.sampled_from(
    [
        *("fib saddr . iif oif missing", "fib saddr . iif oif exists", "fib saddr . mark . iif oif missing"),
        *("fib saddr oif br-a", "fib saddr oif exists", "fib daddr . iif type local", "meta pkttype host"),
        *("fib saddr . iif type unicast", "meta pkttype != host", "fib daddr oif br-b"),
    ]
)
_NOTHING = st.just("")
_NFT_SETS = """
set plain { type ipv4_addr; elements = { 10.201.1.11, 10.201.2.11, 10.201.9.2 } }
set nets { type ipv4_addr; flags interval; elements = { 10.201.1.8/30, 10.201.2.0/24 } }
set links { type ifname; elements = { "br-b", "up0" } }
set pairs { type ifname . ipv4_addr; flags interval; elements = { "br-a" . 10.201.1.8/29, "br-b" . 10.201.2.11 } }
set services { type inet_proto . inet_service; flags interval; elements = { tcp . 80-5432, udp . 53 } }
map marks { type ipv4_addr : mark; flags interval; elements = { 10.201.1.11 : 1, 10.201.2.0/24 : 2 } }
"""
_NFT_VERDICTS = """
map ways { type ifname : verdict; elements = { "br-a" : jump u1, "br-b" : goto u1, "up0" : drop } }
map doors { type ifname . inet_service : verdict; elements = { "br-a" . 80 : drop, "br-b" . 9999 : accept } }
map ports { type inet_service : verdict; flags interval; elements = { 53-80 : return, 5432 : jump u1, 9999 : continue } }
"""
_NFT_CHANGES = [
    *("meta mark set 1", "meta mark set meta mark | 2", "meta mark set meta mark & 2", "meta mark set meta mark ^ 3"),
    *("ct mark set meta mark", "meta mark set ct mark", "ct mark set ct mark | 1", "meta mark set ct mark & 2"),
    *("meta mark set ip saddr map @marks", "meta mark set iifname map { br-a : 1, br-b : 2 }", "log prefix x"),
    *("ip dscp set cs1", "ip ttl set 60", "meta priority set 1:1", "counter", "ct mark set ip daddr map @marks"),
    *("meta mark set ct mark | 2", "ct mark set meta mark ^ 1"),
]


@st.composite
def _nft_rule(draw: st.DrawFn, deeper: list[str], *, reject: tuple[str, ...] = (), inwards: bool = False) -> str:
    """A match and a statement; nft itself refuses a rule that asks for two transport protocols.

    `deeper` are the chains to jump to; `inwards` where the hook has an input interface.
    """
    transport = draw(st.one_of(_NOTHING, _NFT_TRANSPORT))
    state = st.one_of(_NFT_STATE, _NFT_INPUT_STATE) if inwards else _NFT_STATE
    match = _words(
        draw(st.one_of(_NOTHING, _NFT_DEVICE)),
        draw(st.one_of(_NOTHING, _NFT_ADDRESS)),
        transport,
        draw(st.one_of(_NOTHING, _NOTHING, st.sampled_from(_NFT_CHANGES))),
        draw(st.one_of(_NOTHING, state)),
    )
    ends = ["accept", "drop", "return", "counter accept", *reject]
    if "limit" in match:
        ends = ["accept", "counter"]
    ends += [f"jump {c}" for c in deeper] + [f"goto {c}" for c in deeper]
    ends += [draw(st.sampled_from(_NFT_CHANGES))]
    if len(deeper) == 2 and "limit" not in match:
        ends += [f"iifname vmap {{ br-a : jump {deeper[0]}, br-b : drop }}", "iifname vmap @ways"]
        ends += ["ct state vmap { established : accept, new : jump u1, invalid : drop }"]
        if not transport:
            ends += [f"tcp dport vmap {{ 80 : accept, 5432-9999 : jump {deeper[0]} }}", "tcp dport vmap @ports"]
            ends += ["iifname . tcp dport vmap @doors", "udp dport vmap @ports"]
            ends += ["reject with tcp reset"] if reject else []
    return f"{match} {draw(st.sampled_from(ends))}"


@st.composite
def _nft_nat(draw: st.DrawFn, family: str) -> list[str]:
    """The chains of NAT, in a table of its own."""
    to = st.sampled_from(CONTAINERS)
    ip = "ip " if family == "inet" else ""
    lines = [
        f"table {family} n {{",
        f"map targets {{ type inet_service : ipv4_addr; elements = {{ 80 : {draw(to)} }} }}",
    ]
    pair = f"{draw(to)} . {draw(port)}"
    lines.append(
        "map doors { type ipv4_addr . inet_service : ipv4_addr . inet_service; "
        f"elements = {{ 10.201.1.1 . {draw(port)} : {pair} }} }}"
    )
    for hook, priority, most in (("prerouting", -100, 2), ("output", -100, 1), ("postrouting", 100, 2)):
        lines += [f"chain {hook} {{ type nat hook {hook} priority {priority};"]
        for _ in range(draw(st.integers(0, most))):
            if hook == "postrouting":
                where = draw(
                    st.sampled_from(["oifname up0", "ip saddr 10.201.1.0/24", "iifname br-a oifname br-b", ""])
                )
                what = [
                    "masquerade",
                    f"snat {ip}to {UPLINK}",
                    "meta l4proto tcp masquerade to :2000-3000",
                    "accept",
                ]
                what += [f"meta l4proto udp snat {ip}to {UPLINK}:1024-2048", "masquerade random"]
            else:
                where = draw(st.sampled_from(["", "iifname br-a", "fib daddr type local"]))
                where = where if hook == "prerouting" or "iif" not in where else ""
                what = [
                    f"tcp dport {draw(port)} dnat {ip}to {draw(to)}:{draw(port)}",
                    f"dnat {ip}to tcp dport map @targets",
                ]
                what += [
                    f"dnat {ip}to ip daddr . tcp dport map @doors",
                    f"udp dport {draw(port)} redirect to :{draw(port)}",
                ]
                what += [f"tcp dport {draw(port)} redirect", f"udp dport 53 dnat {ip}to {draw(to)}", "accept"]
                what += [f"dnat {ip}to ip saddr map {{ 10.201.1.11 : {draw(to)}, 10.201.2.11 : {draw(to)} }}"]
                what += ["meta l4proto tcp redirect to :tcp dport map { 80 : 9999, 81 : 5432 }"]
                what += [f"tcp dport {draw(port)} dnat {ip}to 10.201.1.11-10.201.1.13"]
            lines.append(_words(where, draw(st.sampled_from(what))))
        lines.append("}")
    return [*lines, "}"]


@st.composite
def nft(draw: st.DrawFn) -> str:
    """Tables for `nft -f`: base chains at several hooks and priorities, sets, maps, verdict maps, NAT."""
    family = draw(st.sampled_from(["ip", "inet"]))
    refuse: tuple[str, ...] = ("reject", "reject with icmp host-prohibited", "reject with icmp prot-unreachable")
    if family == "inet":
        refuse += (
            "reject with icmpx admin-prohibited",
            "reject with icmpx no-route",
            "reject with icmpx host-unreachable",
        )
    lines = [f"table {family} t {{", _NFT_SETS]
    for chain, deeper in (("u1", []), ("u0", ["u1"])):
        rules = draw(st.lists(_nft_rule(deeper, reject=refuse), max_size=3))
        lines += [f"chain {chain} {{", *rules, "}"]
    lines.append(_NFT_VERDICTS)
    for hook, most in (("forward", 5), ("input", 2), ("output", 2)):
        priority = draw(st.sampled_from([-150, 0, 0, 10]))
        policy = draw(st.sampled_from(["accept", "accept", "accept", "drop"])) if hook == "forward" else "accept"
        rules = draw(st.lists(_nft_rule(["u0", "u1"], reject=refuse, inwards=hook != "output"), max_size=most))
        lines += [f"chain {hook} {{ type filter hook {hook} priority {priority}; policy {policy};", *rules, "}"]
    if draw(st.booleans()):
        kind = draw(st.sampled_from(["filter", "route"]))
        hook = "output" if kind == "route" else "prerouting"
        rules = draw(st.lists(_nft_rule([], inwards=kind == "filter"), max_size=2))
        rules += draw(st.lists(st.sampled_from(["udp dport 53 notrack", "ip saddr 10.201.1.11 notrack"]), max_size=1))
        priority = draw(st.sampled_from([-300, -150]))
        lines += [
            f"chain early {{ type {kind} hook {hook} priority {priority};",
            *(r for r in rules if "oif" not in r or "fib" in r),
            "}",
        ]
    lines.append("}")
    if draw(st.booleans()):
        lines += draw(_nft_nat(draw(st.sampled_from(["ip", "inet"]))))
    text = "\n".join(lines) + "\n"
    return text if family == "inet" else text.replace("meta nfproto ipv4", "")  # nft refuses it in the ip family


_PORTS = tuple(f"veth{n}" for n in range(1, 8))
"""Ports of the everyday host's bridges: a1 a2 b1 both both router router."""
LINKS = (*_PORTS, "br-a", "br-b", "up0")
_MACS = [f"02:42:0a:c9:{int(a.split('.')[2]):02x}:{int(a.split('.')[3]):02x}" for a in ADDRESSES]
_BRIDGE_DEVICE = st.one_of(
    st.builds(
        lambda side, no, dev: f"{side}ifname {no}{dev}", st.sampled_from("io"), _NFT_NEGATION, st.sampled_from(_PORTS)
    ),
    st.sampled_from(["iifname { veth1, veth3 }", 'iifname "veth*"', 'oifname "br-*"']),
)
_ETHER = st.one_of(
    st.builds(
        lambda side, no, mac: f"ether {side} {no}{mac}",
        _NFT_SIDE,
        _NFT_NEGATION,
        st.sampled_from([*_MACS, "ff:ff:ff:ff:ff:ff"]),
    ),
    st.builds(
        lambda side, a, b: f"ether {side} {{ {a}, {b} }}",
        _NFT_SIDE,
        st.sampled_from(_MACS[:4]),
        st.sampled_from(_MACS[4:]),
    ),
    st.builds(lambda side: f"ether {side} & 01:00:00:00:00:00 == 01:00:00:00:00:00", _NFT_SIDE),
    st.builds(lambda no, kind: f"ether type {no}{kind}", _NFT_NEGATION, st.sampled_from(["ip", "arp", "ip6", "vlan"])),
    st.builds(
        lambda no, kind: f"meta protocol {no}{kind}", _NFT_NEGATION, st.sampled_from(["ip", "arp", "{ ip, arp }"])
    ),
    st.builds(
        lambda no, kind: f"meta pkttype {no}{kind}",
        _NFT_NEGATION,
        st.sampled_from(["host", "other", "broadcast", "multicast"]),
    ),
    st.builds(lambda no, kind: f"arp operation {no}{kind}", _NFT_NEGATION, st.sampled_from(["request", "reply"])),
    st.builds(lambda side, no, a: f"arp {side} ip {no}{a}", _NFT_SIDE, _NFT_NEGATION, st.sampled_from(PREFIXES)),
    st.builds(lambda no, mac: f"arp saddr ether {no}{mac}", _NFT_NEGATION, st.sampled_from(_MACS)),
    st.sampled_from(["vlan id 5", "arp daddr ether 00:00:00:00:00:00", "meta mark 1", "meta mark != 2"]),
)
_FRAME_IP = st.one_of(
    st.builds(lambda side, no, p: f"ip {side} {no}{p}", _NFT_SIDE, _NFT_NEGATION, prefix),
    st.builds(lambda no, p: f"tcp dport {no}{p}", _NFT_NEGATION, port),
    st.builds(lambda p: f"udp dport {{ 53, {p} }}" if p != 53 else "udp dport 53", port),
    st.sampled_from(["meta l4proto icmp", "meta l4proto != tcp", "icmp type echo-request", "ip protocol udp"]),
    st.sampled_from(["tcp flags & (syn|ack) == syn", "th dport 80", "ip saddr . tcp dport { 10.201.1.11 . 80 }"]),
)
_FRAME_CHANGES = ["meta mark set 1", "meta mark set meta mark | 2", "counter", "log prefix x"]


@st.composite
def _frame_rule(draw: st.DrawFn, deeper: list[str], devices: st.SearchStrategy[str]) -> str:
    match = _words(
        draw(st.one_of(_NOTHING, devices)),
        draw(st.one_of(_NOTHING, _ETHER, _FRAME_IP)),
        draw(st.one_of(_NOTHING, _NOTHING, st.sampled_from(_FRAME_CHANGES))),
    )
    found = ["accept", "drop", "drop", "return", "counter", *_FRAME_CHANGES]
    found += [f"{verb} {chain}" for chain in deeper for verb in ("jump", "goto")]
    if deeper:
        found += ["ether type vmap { arp : accept, ip : jump u }", "iifname vmap { veth1 : jump u, veth3 : drop }"]
    return f"{match} {draw(st.sampled_from(found))}"


@st.composite
def _frame_rules(draw: st.DrawFn, rule: st.SearchStrategy[str], most: int) -> list[str]:
    """Mostly ARP passes first: where only one of two neighbours can ask, the other one's entry comes and goes."""
    found = draw(st.lists(rule, max_size=most))
    return ["meta protocol arp accept", *found] if draw(st.integers(0, 7)) else found


@st.composite
def links(draw: st.DrawFn) -> str:
    """Tables of the bridge, netdev and arp families for `nft -f`."""
    lines = ["table bridge b {", "chain u {", *draw(st.lists(_frame_rule([], _BRIDGE_DEVICE), max_size=2)), "}"]
    for hook in ("prerouting", "input", "forward", "output", "postrouting"):
        if draw(st.integers(0, 2)):
            continue
        priority = draw(st.sampled_from([-300, -200, 0, 10, 300]))
        policy = draw(st.sampled_from(["accept", "accept", "accept", "drop"]))
        rules = draw(_frame_rules(_frame_rule(["u"], _BRIDGE_DEVICE), 3))
        if policy == "drop":
            rules.append(draw(st.sampled_from(["ether type arp accept", "arp operation request accept", ""])))
        lines += [f"chain {hook} {{ type filter hook {hook} priority {priority}; policy {policy};", *rules, "}"]
    lines.append("}")
    for family in ("netdev", "inet") if draw(st.booleans()) else ():
        for hook in ("ingress", "egress") if family == "netdev" else ("ingress",):
            device = draw(st.sampled_from(LINKS))
            rules = draw(_frame_rules(_frame_rule([], _NOTHING), 2))
            rules = [r for r in rules if family == "netdev" or not re.match("arp|ether type|meta protocol", r)]
            lines += [f"table {family} d {{ chain {hook} {{ type filter hook {hook} device {device} priority 0;"]
            lines += [*rules, "}", "}"]
    for hook in () if draw(st.integers(0, 3)) else ("input", "output"):
        side = "i" if hook == "input" else "o"
        name = st.sampled_from([f"{side}ifname br-a", f"{side}ifname up0"])
        rules = draw(st.lists(_frame_rule([], name), max_size=2))
        arp_only = [
            r
            for r in rules
            if not re.search(r"\b(ip [sd]|ip6|tcp|udp|icmp|l4proto|th dport|ip protocol|ether type|vlan)", r)
        ]
        lines += ["table arp a {", f"chain {hook} {{ type filter hook {hook} priority 0;", *arp_only, "}", "}"]
    return "\n".join(lines) + "\n"
