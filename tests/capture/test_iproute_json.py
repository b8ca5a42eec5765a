"""Messages that no kernel at hand sends: other kinds, unknown numbers, missing attributes."""

from __future__ import annotations

from typing import Any

from diag.capture import iproute_json
from diag.capture.iproute_json import Attributes


def message(attrs: dict[str, Any], **fields: Any) -> Attributes:
    return Attributes({"attrs": list(attrs.items()), **fields})


def nested(**attrs: Any) -> dict[str, Any]:
    return {"attrs": list(attrs.items())}


def link(kind: str, data: dict[str, Any], **attrs: Any) -> dict[str, Any]:
    info = nested(IFLA_INFO_KIND=kind, IFLA_INFO_DATA=data)
    made = message({"IFLA_IFNAME": "x", "IFLA_LINKINFO": info, **attrs}, index=3, flags=0x1, ifi_type=1)
    return iproute_json.addr_show([made], [])[0]


def test_ipvlan() -> None:
    shown = link("ipvlan", nested(IFLA_IPVLAN_MODE=1, IFLA_IPVLAN_FLAGS=1), IFLA_LINK=2)
    assert shown["linkinfo"]["info_data"] == {"mode": "l3", "mode_flag": "private"}
    assert shown["link"] == "if2"
    assert shown["flags"] == ["NO-CARRIER", "UP", "M-DOWN"]
    assert link("ipvlan", nested(IFLA_IPVLAN_MODE=9))["linkinfo"]["info_data"]["mode"] == 9


def test_vlan_and_kinds_without_details() -> None:
    assert link("vlan", nested(IFLA_VLAN_ID=7))["linkinfo"] == {"info_kind": "vlan", "info_data": {"id": 7}}
    assert link("wireguard", nested())["linkinfo"] == {"info_kind": "wireguard"}
    unreadable: Any = "de:ad:be:ef"
    assert link("bridge", unreadable)["linkinfo"] == {"info_kind": "bridge"}


def test_numbers_without_names() -> None:
    route = message(
        {"RTA_TABLE": 4000, "RTA_DST": "10.0.0.0", "RTA_OIF": 9, "RTA_ENCAP_TYPE": 1},
        family=2,
        type=77,
        dst_len=8,
        src_len=0,
        tos=0,
        table=252,
        proto=99,
        scope=42,
        flags=0x11,
    )
    (shown,) = iproute_json.route_show([route], {})
    assert shown == {
        "type": "77",
        "dst": "10.0.0.0/8",
        "encap": "1",
        "dev": "if9",
        "table": "4000",
        "protocol": "99",
        "scope": "42",
        "flags": ["dead", "linkdown"],
    }


def test_cached_routes_are_left_out() -> None:
    fields = {"family": 10, "type": 1, "dst_len": 0, "src_len": 0, "tos": 0, "table": 254, "proto": 3, "scope": 0}
    assert iproute_json.route_show([message({}, **fields, flags=0x200)], {}) == []


def test_unknown_selectors_of_a_rule_are_named() -> None:
    unknown = {"header": {"type": 25, "length": 5}}
    port_mask = {"header": {"type": 29, "length": 6}}
    rule = Attributes(
        {
            "attrs": [("FRA_TABLE", 100), ("UNKNOWN", unknown), ("UNKNOWN", port_mask)],
            "family": 2,
            "src_len": 0,
            "dst_len": 0,
            "tos": 0,
            "table": 100,
            "flags": 0,
            "action": 1,
        }
    )
    assert iproute_json.rule_show([rule]) == [{"priority": 0, "src": "all", "table": "100", "unknown": [25]}]


def test_learned_and_odd_fdb_entries() -> None:
    entries = [
        message({"NDA_LLADDR": "02:00:00:00:00:01"}, ifindex=2, state=state, flags=0x12) for state in (0x02, 0x10)
    ]
    shown = iproute_json.bridge_fdb_show(entries, {2: "br0"})
    assert [entry["state"] for entry in shown] == ["", "state=0x10"]
    assert shown[0]["flags"] == ["self", "extern_learn"]


def test_bytes_in_names_survive() -> None:
    name = b"\xff\xfe".decode("utf-8", "surrogateescape")
    assert iproute_json.encode([{"ifname": name}]) == b'[{"ifname":"\xff\xfe"}]\n'
