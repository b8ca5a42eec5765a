"""What the kernel is asked to judge: kinds of cases, and how each is drawn."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.kernel import rules
from tests.kernel.judge import BOTH, Case
from tests.kernel.layout import layouts

SWITCHES = st.fixed_dictionaries(
    {
        "net.bridge.bridge-nf-call-iptables": st.sampled_from(["1", "1", "0"]),
        "net.bridge.bridge-nf-call-ip6tables": st.sampled_from(["1", "1", "0"]),
        "net.ipv4.conf.all.rp_filter": st.sampled_from(["0", "0", "1", "2"]),
        "net.ipv4.conf.all.proxy_arp": st.sampled_from(["0", "0", "0", "1"]),
        "net.ipv4.ip_forward": st.sampled_from(["1", "1", "1", "0"]),
        "net.ipv6.conf.all.forwarding": st.sampled_from(["1", "1", "1", "0"]),
    }
)
_BOTH = st.builds(lambda iptables, nft: f"{iptables}{BOTH}{nft}", rules.iptables(), rules.nft())
_LINKS = st.builds(str.__add__, rules.links(), st.one_of(st.just(""), rules.nft()))
_TEXTS = {
    "links": _LINKS,
    "links6": _LINKS.map(rules.to_ip6),
    "iptables": rules.iptables(),
    "nft": rules.nft(),
    "legacy": rules.iptables(),
    "ip6tables": rules.iptables().map(rules.to_ip6),
    "nft6": rules.nft().map(rules.to_ip6),
    "iptables+nft": _BOTH,
    "legacy+nft": _BOTH,
}
_ON_LAYOUTS = {
    "layouts": (("iptables", rules.iptables()), ("nft", rules.nft()), ("nft", st.just(""))),
    "layouts6": (("ip6tables", _TEXTS["ip6tables"]), ("nft6", _TEXTS["nft6"]), ("nft6", st.just(""))),
}
_CERTAIN = ("-m ttl --ttl-gt 0", "-m ttl --ttl-lt 1", "-m length --length 0:65535", "-m length --length 0")
"""Matches that are not modelled, though what they say of the lab's packets is certain."""
KINDS = (*_TEXTS, *_ON_LAYOUTS)


def cases(kind: str) -> st.SearchStrategy[Case]:
    """Cases of a kind: random rules on the host of every day, or on a random one."""
    if kind in _TEXTS:
        return st.builds(Case, st.just(kind), _TEXTS[kind], SWITCHES)
    drawn = [st.builds(Case, st.just(tool), text, SWITCHES, layouts()) for tool, text in _ON_LAYOUTS[kind]]
    return st.one_of(*drawn)


@st.composite
def unmodelled(draw: st.DrawFn) -> Case:
    """iptables rules, of which some have a match that is not modelled."""
    lines = []
    for line in draw(rules.iptables()).splitlines():
        command, chain, rest = (*line.split(" ", 2), "", "")[:3]
        extra = draw(st.sampled_from(("", "", *_CERTAIN))) if command == "-A" else ""
        lines.append(f"{command} {chain} {extra} {rest}" if extra else line)
    return Case("iptables", "\n".join(lines) + "\n", draw(SWITCHES))
