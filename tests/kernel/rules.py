"""Random rules that the kernel accepts: iptables lines and nft statements over the lab's names and addresses."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.kernel.lab import BRIDGES, CONTAINERS, OUTSIDE
from tests.live.lab import CLOSED_PORT, TCP_PORTS, UDP_PORTS

DEVICES = [*BRIDGES, "up0", "br-+"]
ADDRESSES = [f"{BRIDGES[b]}.{last}" for places in CONTAINERS.values() for b, last in places] + [
    OUTSIDE[0],
    *(f"{s}.1" for s in BRIDGES.values()),
]
PREFIXES = [*ADDRESSES, *(f"{s}.0/24" for s in BRIDGES.values()), "10.201.0.0/16", "10.201.1.8/29", "10.201.2.12/30"]
PORTS = sorted({*TCP_PORTS, *UDP_PORTS, CLOSED_PORT})
USER = ["U0", "U1", "U2"]

device = st.sampled_from(DEVICES)
prefix = st.sampled_from(PREFIXES)
port = st.sampled_from(PORTS)
negation = st.sampled_from(["", "", "! "])


def _words(*parts: str) -> str:
    return " ".join(p for p in parts if p)


@st.composite
def _addresses(draw: st.DrawFn) -> str:
    kind = draw(st.integers(0, 5))
    if kind == 0:
        return f"{draw(negation)}-s {draw(prefix)} {draw(negation)}-d {draw(prefix)}"
    if kind in (1, 2):
        return f"{draw(negation)}{draw(st.sampled_from(['-s', '-d']))} {draw(prefix)}"
    if kind == 3:
        low, high = sorted(draw(st.lists(st.integers(1, 40), min_size=2, max_size=2)))
        side = draw(st.sampled_from(["src", "dst"]))
        return f"-m iprange {draw(negation)}--{side}-range 10.201.1.{low}-10.201.1.{high}"
    return ""


@st.composite
def _transport(draw: st.DrawFn) -> str:
    kind = draw(st.integers(0, 6))
    if kind == 0:
        return f"{draw(negation)}-p {draw(st.sampled_from(['tcp', 'udp', 'icmp']))}"
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
        return f"-p icmp -m icmp {draw(negation)}--icmp-type {draw(st.sampled_from(['8', '0', '3']))}"
    if kind == 4:
        flags = draw(st.sampled_from(["SYN SYN", "SYN,ACK SYN", "SYN,ACK SYN,ACK", "RST RST", "ACK ACK"]))
        return f"-p tcp -m tcp {draw(negation)}--tcp-flags {flags}"
    return ""


@st.composite
def _state(draw: st.DrawFn) -> str:
    kind = draw(st.integers(0, 8))
    if kind == 0:
        states = draw(
            st.lists(st.sampled_from(["NEW", "ESTABLISHED", "RELATED", "INVALID"]), min_size=1, max_size=2, unique=True)
        )
        return f"-m conntrack {draw(negation)}--ctstate {','.join(states)}"
    if kind == 1:
        return f"-m mark {draw(negation)}--mark {draw(st.sampled_from(['0x1', '0x2/0x2', '0x0/0x1']))}"
    if kind == 2:
        side = draw(st.sampled_from(["src", "dst"]))
        return f"-m addrtype {draw(negation)}--{side}-type {draw(st.sampled_from(['LOCAL', 'UNICAST']))}"
    if kind == 3:
        virtual = st.sampled_from(["--ctstate DNAT", "--ctstate SNAT", "--ctstatus SEEN_REPLY"])
        return f"-m conntrack {draw(negation)}{draw(virtual)}"
    if kind == 4:
        return f"-m conntrack --ctdir {draw(st.sampled_from(['ORIGINAL', 'REPLY']))}"
    return ""


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
    return _words(draw(_interfaces(hook)), draw(_addresses()), draw(_transport()), draw(_state()))


_FILTER_TARGETS = [
    "-j ACCEPT",
    "-j DROP",
    "-j RETURN",
    "-j REJECT --reject-with icmp-port-unreachable",
    "-j REJECT --reject-with icmp-host-prohibited",
    "-j REJECT --reject-with icmp-net-unreachable",
    "-j REJECT --reject-with icmp-admin-prohibited",
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
    for chain in draw(st.lists(st.sampled_from(["PREROUTING", "FORWARD", "OUTPUT"]), max_size=2)):
        target = draw(
            st.sampled_from(
                [
                    "-j MARK --set-xmark 0x1/0xffffffff",
                    "-j MARK --set-xmark 0x2/0x2",
                    "-j CONNMARK --save-mark",
                    "-j DROP",
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
        lines.append(_words(f"-A {chain}", match, draw(st.sampled_from(["-j DROP", "-j CT --notrack", "-j ACCEPT"]))))
    return "\n".join([*lines, "COMMIT"]) + "\n"


@st.composite
def nat_table(draw: st.DrawFn) -> str:
    """`*nat`: DNAT and REDIRECT before routing, MASQUERADE and SNAT after it."""
    lines = ["*nat"] + [f":{c} ACCEPT [0:0]" for c in ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING")]
    containers = [a for a in ADDRESSES if not a.endswith(".1")]
    for chain in draw(
        st.lists(st.sampled_from(["PREROUTING", "PREROUTING", "OUTPUT", "POSTROUTING", "POSTROUTING"]), max_size=4)
    ):
        match = _words(draw(_interfaces(chain)), draw(_addresses()))
        if chain == "POSTROUTING":
            target = draw(st.sampled_from(["-j MASQUERADE", "-j MASQUERADE", f"-j SNAT --to-source {OUTSIDE[1]}"]))
            lines.append(_words(f"-A {chain}", match, target))
            continue
        protocol = draw(st.sampled_from(["tcp", "udp"]))
        ports = f"-p {protocol} -m {protocol} --dport {draw(port)}"
        to = draw(st.sampled_from(containers))
        target = draw(
            st.sampled_from(
                [
                    f"-j DNAT --to-destination {to}",
                    f"-j DNAT --to-destination {to}:{draw(port)}",
                    f"-j REDIRECT --to-ports {draw(port)}",
                ]
            )
        )
        lines.append(_words(f"-A {chain}", match, ports, target))
    return "\n".join([*lines, "COMMIT"]) + "\n"


@st.composite
def iptables(draw: st.DrawFn) -> str:
    """A whole ruleset for iptables-restore."""
    more = [draw(table) for table in (mangle_table(), raw_table(), nat_table()) if draw(st.booleans())]
    return "".join([draw(filter_table()), *more])


_NFT_NEGATION = st.sampled_from(["", "!= "])
_NFT_DEVICE = st.builds(
    lambda side, no, dev: f"{side}ifname {no}{dev}",
    st.sampled_from(["i", "i", "o"]),
    _NFT_NEGATION,
    st.sampled_from(["br-a", "br-b", "up0", '"br-*"', '{ "br-a", "up0" }']),
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
)
_NFT_TRANSPORT = st.one_of(
    st.builds(lambda a, p: f"ip saddr . tcp dport {{ {a} . {p} }}", st.sampled_from(ADDRESSES), port),
    st.sampled_from([f"tcp flags {f}" for f in ("& (syn|ack) == syn", "& (fin|syn|rst|ack) == syn", "syn")]),
    st.builds(lambda no, p: f"tcp dport {no}{p}", _NFT_NEGATION, port),
    st.builds(lambda p: f"udp dport {{ {p}-9999 }}" if p < 9999 else "udp dport 9999", port),
    st.builds(
        lambda no, p: f"meta l4proto {no}{p}", _NFT_NEGATION, st.sampled_from(["tcp", "udp", "icmp", "{ tcp, udp }"])
    ),
    st.sampled_from(["icmp type echo-request", "icmp type echo-reply", "icmp type { echo-request, echo-reply }"]),
    st.sampled_from(["meta l4proto tcp th dport < 81", "meta l4proto udp th dport >= 5432", "tcp dport 53-80"]),
)
_NFT_STATE = st.sampled_from(
    [
        *(f"ct state {s}" for s in ("new", "established,related", "established", "{ new, invalid }", "!= new")),
        *(f"fib {a} type {t}" for a in ("saddr", "daddr") for t in ("local", "unicast")),
        *(f"meta mark {m}" for m in ("1", "!= 1", "& 2 == 2")),
        *("ct status dnat", "ct status snat", "ct direction original", "ct direction reply"),
    ]
)
_NOTHING = st.just("")


@st.composite
def _nft_rule(draw: st.DrawFn, deeper: list[str], *, reject: tuple[str, ...] = ()) -> str:
    """A match and a statement; nft itself refuses a rule that asks for two transport protocols."""
    transport = draw(st.one_of(_NOTHING, _NFT_TRANSPORT))
    match = _words(
        draw(st.one_of(_NOTHING, _NFT_DEVICE)),
        draw(st.one_of(_NOTHING, _NFT_ADDRESS)),
        transport,
        draw(st.one_of(_NOTHING, _NOTHING, _NFT_STATE)),
    )
    ends = [
        "accept",
        "drop",
        "return",
        "counter",
        "meta mark set 1",
        "ct mark set meta mark",
        "counter accept",
        *reject,
    ]
    ends += [f"jump {c}" for c in deeper] + [f"goto {c}" for c in deeper]
    if deeper:
        ends.append(f"iifname vmap {{ br-a : jump {deeper[0]}, br-b : drop }}")
    if deeper and not transport:
        ends.append(f"tcp dport vmap {{ 80 : accept, 5432-9999 : jump {deeper[0]} }}")
    return f"{match} {draw(st.sampled_from(ends))}"


@st.composite
def nft(draw: st.DrawFn) -> str:
    """Tables for `nft -f`: base chains at several hooks and priorities, sets, verdict maps, NAT."""
    family = draw(st.sampled_from(["ip", "inet"]))
    refuse: tuple[str, ...] = ("reject", "reject with icmp host-prohibited")
    if family == "inet":
        refuse += ("reject with icmpx admin-prohibited",)
    lines = [f"table {family} t {{"]
    for chain, deeper in (("u1", []), ("u0", ["u1"])):
        rules = draw(st.lists(_nft_rule(deeper, reject=refuse), max_size=3))
        lines += [f"chain {chain} {{", *rules, "}"]
    for hook, most in (("forward", 5), ("input", 2), ("output", 2)):
        priority = draw(st.sampled_from([-150, 0, 0, 10]))
        policy = draw(st.sampled_from(["accept", "accept", "accept", "drop"])) if hook == "forward" else "accept"
        rules = draw(st.lists(_nft_rule(["u0", "u1"], reject=refuse), max_size=most))
        lines += [f"chain {hook} {{ type filter hook {hook} priority {priority}; policy {policy};", *rules, "}"]
    if draw(st.booleans()):
        rules = draw(st.lists(_nft_rule([]), max_size=2))
        lines += [
            "chain early { type filter hook prerouting priority -300;",
            *(r for r in rules if "oif" not in r),
            "}",
        ]
    lines.append("}")
    if draw(st.booleans()):
        to = draw(st.sampled_from([a for a in ADDRESSES if not a.endswith(".1")]))
        where = draw(st.sampled_from(["", "iifname br-a ", "fib daddr type local "]))
        dnat = f"tcp dport {draw(port)} {where}dnat to {to}:{draw(port)}"
        lines += ["table ip n {", "chain pre { type nat hook prerouting priority -100;", dnat, "}"]
        posts = ["oifname up0", "ip saddr 10.201.1.0/24", "iifname br-a oifname br-b"]
        post = f"{draw(st.sampled_from(posts))} masquerade"
        lines += ["chain post { type nat hook postrouting priority 100;", post, "}", "}"]
    return "\n".join(lines) + "\n"
