"""Every kind of rule that `iptables-save` prints."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diag.model.netfilter import (
    Accept,
    AnyBit,
    AnyOf,
    CopyMark,
    Drop,
    Field,
    Goto,
    InSet,
    Jump,
    Masked,
    Named,
    Nat,
    NatKind,
    NfTable,
    NoEffect,
    Notrack,
    Opaque,
    OpaqueStatement,
    Origin,
    Queue,
    Reject,
    SetHopLimit,
    SetMark,
    TableFamily,
    Within,
)
from diag.model.provenance import Gap
from diag.parse.iptables_rule import parse_rule_spec, read_plain_rule, split_words
from diag.parse.iptables_save import parse_iptables_save


def parts(text: str, chains: frozenset[str] = frozenset()) -> tuple[object, ...]:
    return parse_rule_spec(split_words(text), TableFamily.IP, chains)[0]


def test_a_quoted_comment_is_one_word() -> None:
    found, comment = parse_rule_spec(
        split_words(r'-m comment --comment "a \"quoted\" -j DROP" -j ACCEPT'), TableFamily.IP
    )
    assert (found, comment) == ((Accept(),), 'a "quoted" -j DROP')


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("! -i br-+ -j DROP", Named(Field.IIFNAME, ("br-*",), negated=True)),
        ("-i ! eth0 -j DROP", Named(Field.IIFNAME, ("eth0",), negated=True)),
        ("-d 10.0.0.0/255.0.0.0 -j DROP", Within(Field.DADDR, ((10 << 24, (11 << 24) - 1),))),
        ("-s 10.0.0.1/255.0.255.255 -j DROP", Masked(Field.SADDR, 0xFF00FFFF, 0x0A000001)),
        ("-p udp -j DROP", Within(Field.PROTOCOL, ((17, 17),))),
        (
            "-m multiport ! --dports 80,443,8000:8100 -j DROP",
            Within(Field.DPORT, ((80, 80), (443, 443), (8000, 8100)), True),
        ),
        ("-m conntrack --ctstate NEW,RELATED -j DROP", AnyBit(Field.CT_STATE, 12)),
        ("-m state --state ESTABLISHED -j DROP", AnyBit(Field.CT_STATE, 2)),
        ("-m conntrack --ctstatus DNAT -j DROP", AnyBit(Field.CT_STATUS, 32)),
        ("-m addrtype --dst-type LOCAL -j DROP", Within(Field.DADDR_TYPE, ((2, 2),))),
        ("-m addrtype --src-type LOCAL --limit-iface-in -j DROP", Within(Field.SADDR_TYPE_IIF, ((2, 2),))),
        ("-m iprange --src-range 10.0.0.1-10.0.0.9 -j DROP", Within(Field.SADDR, ((0x0A000001, 0x0A000009),))),
        ("-m mark --mark 0x1/0xff -j DROP", Masked(Field.MARK, 0xFF, 1)),
        ("-m connmark ! --mark 2 -j DROP", Masked(Field.CT_MARK, 0xFFFFFFFF, 2, True)),
        ("-m tcp --tcp-flags SYN,ACK SYN -j DROP", Masked(Field.TCP_FLAGS, 18, 2)),
        ("-m set ! --match-set bad src,dst -j DROP", InSet("bad", (Field.SADDR, Field.DADDR), True, ipset=True)),
        ("-m physdev --physdev-in veth1 -j DROP", Named(Field.PHYSIN, ("veth1",))),
        ("-m pkttype --pkt-type broadcast -j DROP", Within(Field.PKTTYPE, ((1, 1),))),
        ("-m string --algo bm --string x -j DROP", Opaque("-m string --algo bm --string x")),
        ("-m limit --limit 5/min -j DROP", Opaque("-m limit --limit 5/min")),
        ("-m owner ! --uid-owner 0 -j DROP", Opaque("-m owner ! --uid-owner 0")),
    ],
)
def test_matches(text: str, match: object) -> None:
    found = parts(text)
    assert match in found
    assert found[-1] == Drop()


def test_icmp_types() -> None:
    assert parts("-p icmp -m icmp --icmp-type 8 -j DROP")[1] == AnyOf(((Within(Field.ICMP_TYPE, ((8, 8),)),),))
    assert parts("-p icmp -m icmp --icmp-type echo-request -j DROP")[1] == AnyOf(
        ((Within(Field.ICMP_TYPE, ((8, 8),)),),)
    )
    assert parts("-p icmp -m icmp --icmp-type any -j DROP") == (Within(Field.PROTOCOL, ((1, 1),)), Drop())


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("-j REJECT", Reject("icmp-port-unreachable")),
        ("-j REJECT --reject-with tcp-reset", Reject("tcp-reset")),
        ("-j CHAIN", Jump("CHAIN")),
        ("-g CHAIN", Goto("CHAIN")),
        ("-j NFQUEUE --queue-num 1 --queue-bypass", Queue(bypass=True)),
        ("-j CT --notrack", Notrack()),
        ("-j MASQUERADE", Nat(NatKind.MASQUERADE)),
        ("-j MASQUERADE --random", Nat(NatKind.MASQUERADE, random=True)),
        ("-j REDIRECT --to-ports 8080", Nat(NatKind.REDIRECT, ports=(8080, 8080))),
        ("-j MARK --set-xmark 0x1/0xf", SetMark(Field.MARK, 1, 15)),
        ("-j MARK --or-mark 4", SetMark(Field.MARK, 4, 4)),
        ("-j CONNMARK --save-mark", CopyMark(Field.MARK, Field.CT_MARK)),
        ("-j LOG --log-prefix x", NoEffect("LOG --log-prefix x")),
        ("-j HL --hl-set 60", SetHopLimit(60)),
        ("-j HL --hl-set 3", OpaqueStatement("HL --hl-set 3")),
        ("-j TPROXY --on-port 1", OpaqueStatement("TPROXY --on-port 1")),
        ("-m comment --comment only", NoEffect("no target")),
    ],
)
def test_targets(text: str, target: object) -> None:
    assert parts(text, frozenset({"CHAIN"}))[-1] == target


def test_dnat_forms() -> None:
    for text, address, ports in (
        ("10.0.0.1:80", "10.0.0.1", (80, 80)),
        ("10.0.0.1", "10.0.0.1", None),
        ("[fd00::1]:80", "fd00::1", (80, 80)),
        ("10.0.0.1-10.0.0.3:80-90", "10.0.0.1", (80, 90)),
    ):
        nat = parts(f"-j DNAT --to-destination {text}")[-1]
        assert isinstance(nat, Nat)
        assert (str(nat.addresses[0][0]), nat.ports) == (address, ports)


def save(text: str) -> tuple[tuple[NfTable, ...], tuple[Gap, ...]]:
    parsed = parse_iptables_save(text.encode(), "host/iptables-save.txt", TableFamily.IP, Origin.IPTABLES_LEGACY)
    return parsed.value, parsed.gaps


def test_an_elision_makes_the_chains_of_its_table_opaque() -> None:
    tables, gaps = save("*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -j DROP\n...\nCOMMIT\n")
    assert gaps
    rules = tables[0].chains["FORWARD"].rules
    assert isinstance(rules[0].parts[0], OpaqueStatement)


def test_a_file_without_commit_lost_rules() -> None:
    tables, gaps = save("*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -i a -j DROP\n")
    assert any("no COMMIT" in gap.detail for gap in gaps)
    rules = tables[0].chains["FORWARD"].rules
    assert isinstance(rules[-1].parts[0], OpaqueStatement)


def test_a_line_that_makes_no_sense_is_named() -> None:
    _, gaps = save("*filter\n:FORWARD ACCEPT [0:0]\nwhat is this\nCOMMIT\n")
    assert [gap.line for gap in gaps] == [3]


def test_a_warning_alone_is_an_empty_ruleset() -> None:
    tables, gaps = save("# Warning: iptables-legacy tables present, use iptables-legacy-save to see them\n")
    assert (tables, gaps) == ((), ())


@pytest.mark.parametrize("spec", ["-s 10.0.0.0/255.0.0.999", "--dport ²", "-m mark --mark x", "-m mac --mac-source x"])
def test_a_rule_of_no_sense_is_a_gap_and_opaque(spec: str) -> None:
    data = f"*filter\n:INPUT ACCEPT [0:0]\n-A INPUT {spec} -j DROP\nCOMMIT\n".encode()
    parsed = parse_iptables_save(data, "f", TableFamily.IP, Origin.IPTABLES_NFT)
    (rule,) = parsed.value[0].chains["INPUT"].rules
    assert rule.parts == (OpaqueStatement(f"-A INPUT {spec} -j DROP"),)
    assert [gap.line for gap in parsed.gaps] == [3]


WORDS = st.sampled_from(
    [
        *("-j", "-j", "-g", "!", "-s", "-d", "-i", "-p", "-m", "--dport", "--ctstate", "--comment", "--src-type", "-c"),
        *(
            "10.0.0.0/8",
            "eth0",
            "br-+",
            "tcp",
            "80",
            "80:81",
            "conntrack",
            "comment",
            "addrtype",
            "iprange",
            "set",
            "socket",
        ),
        *(
            "NEW",
            "LOCAL",
            "--limit-iface-in",
            "--src-range",
            "10.0.0.1-x",
            "--match-set",
            "src,dst",
            "--odd",
            "x",
            "-jx",
        ),
        *("ACCEPT", "DOCKER", "DNAT", "--to-destination", "10.0.0.2:80", "MARK", "--set-mark", "0x1", "LOG", "\xa0"),
    ]
)


def outcome(read: Callable[[], object]) -> object:
    try:
        return read()
    except ValueError as error:
        return type(error), str(error)


@settings(max_examples=1000, deadline=None)
@given(st.lists(WORDS, max_size=9), st.sampled_from(TableFamily), st.sampled_from([" ", "  ", "\t", "\xa0"]))
def test_a_rule_as_text_is_a_rule_as_words(words: list[str], family: TableFamily, blank: str) -> None:
    text, chains = blank.join(words), frozenset({"DOCKER", "ACCEPT"})
    rule = read_plain_rule(text, family)
    if rule is not None:
        assert outcome(lambda: parse_rule_spec(split_words(text), family, chains)) == (rule.parts(chains), rule.comment)
