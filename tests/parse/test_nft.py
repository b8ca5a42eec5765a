"""Native nftables rules into the IR."""

from __future__ import annotations

import json
from typing import Any

import pytest

from diag.model.netfilter import (
    AnyBit,
    CopyMark,
    Drop,
    Field,
    Hook,
    InSet,
    Jump,
    Masked,
    Named,
    Nat,
    NatKind,
    NfTable,
    NoEffect,
    Opaque,
    OpaqueStatement,
    Queue,
    Reject,
    SetHopLimit,
    SetMark,
    VerdictMap,
    Within,
)
from diag.model.provenance import GapKind
from diag.parse.nft_json import parse_nft_json


def table(*objects: dict[str, Any], family: str = "inet") -> NfTable:
    where = {"family": family, "table": "fw"}
    chain = {"chain": {**where, "name": "fwd", "type": "filter", "hook": "forward", "prio": -5, "policy": "drop"}}
    found = [{kind: {**where, **body}} for item in objects for kind, body in item.items()]
    listing = {"nftables": [{"table": {"family": family, "name": "fw"}}, chain, *found]}
    parsed = parse_nft_json(json.dumps(listing).encode(), "host/nft-ruleset.json")
    return parsed.value[0]


def parts(*expressions: dict[str, Any], family: str = "inet") -> tuple[object, ...]:
    made = table({"rule": {"chain": "fwd", "expr": [*expressions]}}, family=family)
    return made.chains["fwd"].rules[0].parts


def match(left: dict[str, Any], right: Any, op: str = "==") -> dict[str, Any]:
    return {"match": {"op": op, "left": left, "right": right}}


DROP = {"drop": None}
SADDR = {"payload": {"protocol": "ip", "field": "saddr"}}
DPORT = {"payload": {"protocol": "tcp", "field": "dport"}}
STATE = {"ct": {"key": "state"}}
FLAGS = {"payload": {"protocol": "tcp", "field": "flags"}}


def test_a_base_chain() -> None:
    base = table().chains["fwd"].base
    assert base is not None
    assert (base.hook, base.priority, base.policy_drop) == (Hook.FORWARD, -5, True)


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        (
            match(SADDR, {"prefix": {"addr": "10.0.0.0", "len": 8}}, "!="),
            Within(Field.SADDR, ((10 << 24, (11 << 24) - 1),), True),
        ),
        (match(DPORT, {"range": [80, 90]}), Within(Field.DPORT, ((80, 90),))),
        (match(DPORT, 1024, "<"), Within(Field.DPORT, ((0, 1023),))),
        (match({"meta": {"key": "iifname"}}, "br-*"), Named(Field.IIFNAME, ("br-*",))),
        (match({"meta": {"key": "l4proto"}}, {"set": ["tcp", "udp"]}), Within(Field.PROTOCOL, ((6, 6), (17, 17)))),
        (match(STATE, ["established", "related"], "in"), AnyBit(Field.CT_STATE, 6)),
        (match(STATE, {"set": ["new", "invalid"]}), Within(Field.CT_STATE, ((8, 8), (1, 1)))),
        (match({"ct": {"key": "status"}}, "dnat", "in"), AnyBit(Field.CT_STATUS, 32)),
        (match({"meta": {"key": "mark"}}, 5), Within(Field.MARK, ((5, 5),))),
        (match({"&": [{"meta": {"key": "mark"}}, 255]}, 5), Masked(Field.MARK, 255, 5)),
        (match({"&": [FLAGS, ["syn", "ack"]]}, "syn"), Masked(Field.TCP_FLAGS, 18, 2)),
        (match({"fib": {"result": "type", "flags": ["daddr"]}}, "local"), Within(Field.DADDR_TYPE, ((2, 2),))),
        (
            match({"fib": {"result": "type", "flags": ["saddr", "iif"]}}, "local"),
            Within(Field.SADDR_TYPE_IIF, ((2, 2),)),
        ),
        (match(DPORT, "@web"), InSet("web", (Field.DPORT,))),
        (match({"payload": {"protocol": "ether", "field": "saddr"}}, "aa"), Opaque("ether saddr aa")),
        ({"limit": {"rate": 5, "per": "minute"}}, Opaque("limit rate 5/minute")),
    ],
)
def test_matches(expression: dict[str, Any], wanted: object) -> None:
    found = parts(expression, DROP)
    assert wanted in found
    assert found[-1] == Drop()


def test_what_a_match_implies_is_put_back() -> None:
    assert parts(match(DPORT, 80), DROP)[0] == Within(Field.PROTOCOL, ((6, 6),))
    assert parts(match(SADDR, "10.0.0.1"), DROP)[0] == Within(Field.NFPROTO, ((2, 2),))
    assert parts(match(SADDR, "10.0.0.1"), DROP, family="ip")[0] == Within(Field.SADDR, ((0x0A000001, 0x0A000001),))


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ({"reject": None}, Reject("icmpx-port-unreachable")),
        ({"reject": {"type": "tcp reset"}}, Reject("tcp-reset")),
        ({"reject": {"type": "icmpx", "expr": "admin-prohibited"}}, Reject("icmpx-admin-prohibited")),
        ({"masquerade": None}, Nat(NatKind.MASQUERADE)),
        ({"redirect": {"port": 8080}}, Nat(NatKind.REDIRECT, ports=(8080, 8080))),
        ({"mangle": {"key": {"meta": {"key": "mark"}}, "value": 3}}, SetMark(Field.MARK, 3)),
        (
            {"mangle": {"key": {"meta": {"key": "mark"}}, "value": {"|": [{"meta": {"key": "mark"}}, 4]}}},
            SetMark(Field.MARK, 4, 4),
        ),
        (
            {"mangle": {"key": {"ct": {"key": "mark"}}, "value": {"meta": {"key": "mark"}}}},
            CopyMark(Field.MARK, Field.CT_MARK),
        ),
        ({"queue": {"num": 1, "flags": "bypass"}}, Queue(bypass=True)),
        ({"log": {"prefix": "x"}}, NoEffect("log")),
        (
            {"mangle": {"key": {"payload": {"protocol": "ip6", "field": "hoplimit"}}, "value": 60}},
            SetHopLimit(60),
        ),
        ({"jump": {"target": "other"}}, Jump("other")),
        ({"vmap": {"key": {"meta": {"key": "oifname"}}, "data": "@out"}}, VerdictMap((Field.OIFNAME,), "out")),
        ({"tproxy": {"port": 1}}, OpaqueStatement("tproxy {'port': 1}")),
    ],
)
def test_statements(expression: dict[str, Any], wanted: object) -> None:
    assert parts(expression)[-1] == wanted


def test_dnat() -> None:
    nat = parts({"dnat": {"addr": "10.0.0.1", "port": 80}})[0]
    assert isinstance(nat, Nat)
    assert (str(nat.addresses[0][0]), nat.ports) == ("10.0.0.1", (80, 80))
    hashed = {"key": {"numgen": {"mode": "random", "mod": 2}}, "data": {"set": [[0, "10.0.0.1"], [1, "10.0.0.2"]]}}
    assert isinstance(parts({"dnat": {"addr": {"map": hashed}}})[0], OpaqueStatement)
    looked_up = parts({"dnat": {"addr": {"jhash": {}}}})[0]
    assert isinstance(looked_up, Nat)
    assert looked_up.unmodelled


def test_sets_and_anonymous_verdict_maps() -> None:
    made = table(
        {
            "set": {
                "name": "web",
                "type": ["ipv4_addr", "inet_service"],
                "elem": [{"concat": ["10.0.0.1", {"range": [80, 90]}]}],
            }
        },
        {"map": {"name": "jumps", "type": "ifname", "map": "verdict", "elem": [["br-a", {"jump": {"target": "x"}}]]}},
        {"set": {"name": "seen", "type": "ipv4_addr", "flags": ["dynamic"]}},
        {
            "rule": {
                "chain": "fwd",
                "expr": [{"vmap": {"key": DPORT, "data": {"set": [[80, {"accept": None}], [81, DROP]]}}}],
            }
        },
    )
    assert made.sets["web"].elements[0].key == ((0x0A000001, 0x0A000001), (80, 90))
    assert made.sets["jumps"].elements[0].verdict == Jump("x")
    assert made.sets["seen"].unmodelled
    lookup = made.chains["fwd"].rules[0].parts[-1]
    assert isinstance(lookup, VerdictMap)
    assert [e.verdict for e in made.sets[lookup.map_name].elements][1] == Drop()


def test_tables_that_iptables_save_shows_are_left_out() -> None:
    listing = {"nftables": [{"table": {"family": "ip", "name": "filter"}}, {"table": {"family": "ip", "name": "mine"}}]}
    parsed = parse_nft_json(json.dumps(listing).encode(), "x", frozenset({("ip", "filter")}))
    assert [t.name for t in parsed.value] == ["mine"]


@pytest.mark.parametrize(
    "odd",
    [
        {"rule": {"expr": [{}]}},
        {"rule": {"expr": [{"match": {"op": "==", "left": {}, "right": 1}}]}},
        {"rule": {"expr": [{"vmap": {"key": {}, "data": {"set": [[1, "x"]]}}}]}},
        {"chain": {"name": "c", "hook": []}},
        {"chain": {"name": "c", "hook": "input", "type": {}}},
        {"map": {"name": "m", "type": "mark", "map": "verdict", "elem": [[1, "x"]]}},
        {"set": {"name": "s", "type": "mark", "elem": 7}},
    ],
)
def test_objects_of_odd_shapes_are_gaps_or_opaque(odd: dict[str, dict[str, Any]]) -> None:
    ((kind, body),) = odd.items()
    where = {"family": "ip", "table": "t", "chain": "fwd"}
    listing = [
        {"chain": {**where, "name": "fwd", "hook": "forward", "type": "filter", "prio": 0}},
        {kind: where | body},
    ]
    parsed = parse_nft_json(json.dumps({"nftables": listing}).encode(), "x")
    (table,) = parsed.value
    assert parsed.gaps or any(named.unmodelled for named in table.sets.values()) or table.chains["fwd"].rules


def test_an_expression_nested_without_end_is_a_gap() -> None:
    nested = '{"&": [' * 400 + "1" + ", 1]}" * 400
    match = f'{{"match": {{"op": "==", "left": {nested}, "right": 1}}}}'
    text = f'{{"nftables": [{{"rule": {{"family": "ip", "table": "t", "chain": "c", "expr": [{match}]}}}}]}}'
    (table,) = parse_nft_json(text.encode(), "x").value
    (rule,) = table.chains["c"].rules
    assert isinstance(rule.parts[0], OpaqueStatement | Opaque)


@pytest.mark.parametrize(
    ("odd", "names", "damaged"),
    [
        ('{"metainfo": {"version": "1.0.6"}}', [], False),
        ('{"rule": {"family": "ip", "table": "nat", "chain": "c", "handle": 1e400}}', [], False),
        ('{"table": {"family": "ip", "name": "own"}}', ["own"], False),
        ('{"chain": {"family": "ip", "table": "own", "name": "nat"}}', ["own"], False),
        ("{}, null, 7", [], False),
        (f'{{"rule": {{"family": "ip", "table": "nat", "chain": "c", "handle": {"9" * 5000}}}}}', [], True),
        ('{"rule": {"family": "ip", "table": "nat", "chain": NOTHING}}', [], True),
    ],
)
def test_beside_tables_that_iptables_save_shows(odd: str, names: list[str], damaged: bool) -> None:
    text = f'{{"nftables": [{{"table": {{"family": "ip", "name": "nat"}}}}, {odd}]}}'
    parsed = parse_nft_json(text.encode(), "nft.json", frozenset({("ip", "nat")}))
    assert [table.name for table in parsed.value] == names
    assert bool(parsed.gaps) is damaged


def test_a_chain_at_a_hook_that_is_not_known_makes_its_table_unknown() -> None:
    where = {"family": "ip", "table": "t"}
    listing = [
        {"chain": {**where, "name": "c", "hook": "beyond", "type": "filter", "prio": 0}},
        {"chain": {**where, "name": "d", "hook": "forward", "type": "filter", "prio": 0}},
    ]
    read = parse_nft_json(json.dumps({"nftables": listing}).encode(), "nft-ruleset.json")
    assert [gap.kind for gap in read.gaps] == [GapKind.UNMODELLED]
    (found,) = read.value
    assert any(isinstance(part, OpaqueStatement) for rule in found.chains["d"].rules for part in rule.parts)
