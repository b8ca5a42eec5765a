"""Objects of `ip -j` that are decoded into Structs say the same as when every field is looked at."""

from __future__ import annotations

import json
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from diag.model.address import Family
from diag.parse import links, routes
from diag.parse.json_items import object_of, struct_of

ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1, 3) | st.sampled_from([1 << 63, (1 << 63) - 1, 1 << 64, -(1 << 70)]),
    st.floats(),
    st.sampled_from(
        ["", "1", "é", "10.0.0.1", "10.0.0.0/33", "::1", "default", "lo", "veth", "vxlan", "if3", "\ud800"]
    ),
)
SHALLOW = ODD | st.lists(ODD | st.sampled_from(["UP", "LOOPBACK", "dead"]), max_size=2)


def objects(names: str, values: st.SearchStrategy[object]) -> st.SearchStrategy[dict[str, object]]:
    return st.dictionaries(st.sampled_from([*names.split(), "unknown"]), values | SHALLOW, max_size=4)


DATA = objects("mode mode_flag id bridge_id stp_state nf_call_iptables nf_call_ip6tables vlan_filtering", ODD)
ADDRESSES = st.lists(objects("local prefixlen address scope secondary dadfailed", ODD) | ODD, max_size=2)
LINKS = objects(
    "ifname ifindex flags linkinfo addr_info address mtu master link link_index link_netnsid",
    objects("info_kind info_data", DATA) | ADDRESSES,
)
LEGS = objects("dev gateway via flags", objects("host", ODD))
ROUTES = objects(
    "dst dst dst type table nexthops prefsrc metric scope protocol dev gateway via flags",
    st.lists(LEGS | ODD, max_size=2) | objects("host", ODD),
)
DAMAGE = st.sampled_from(["", "", "", ",", "}", '"', "\\", "\x1f", "é", "1", "-", '"dst": "10.0.0.0/8", ', "9" * 4301])


def damaged(value: object, damage: str, place: int) -> str:
    text = json.dumps(value)
    return text[: place % len(text)] + damage + text[place % len(text) :]


def outcome(read: Callable[[], object]) -> object:
    try:
        return repr(read())  # a NaN is not itself
    except ValueError as error:
        return str(error)


@given(LINKS, DAMAGE, st.integers(0, 200))
def test_links(value: dict[str, object], damage: str, place: int) -> None:
    line = damaged(value, damage, place)
    strict = struct_of(links._BODY, line)
    if strict is not None:
        one: list[str] = []
        other: list[str] = []
        assert repr(links._link(strict, one)) == repr(links._link(links._body(object_of(line)), other))
        assert one == other


@given(ROUTES, DAMAGE, st.integers(0, 200), st.sampled_from(Family))
def test_routes(value: dict[str, object], damage: str, place: int, family: Family) -> None:
    line = damaged(value, damage, place)
    strict = struct_of(routes._BODY, line)
    if strict is not None:
        expected = outcome(lambda: routes._route(routes._body(object_of(line)), family))
        assert outcome(lambda: routes._route(strict, family)) == expected
