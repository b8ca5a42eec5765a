"""The line of each element, whatever the layout, and what is lost of a damaged array."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diag.model.address import Family
from diag.parse.json_items import decode, json_items, object_of, one_on_each_line, read_array, read_one_by_one
from diag.parse.links import parse_links_json
from diag.parse.nft_json import parse_nft_json
from diag.parse.routes import parse_routes_json


def lines(text: str) -> list[int]:
    return [item.line for item in json_items(text.encode(), "f").value]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[{"a": 1}, {"a": 2}]\n', [1, 1]),
        ('\n\n[{"a": 1}, {"a": 2}]', [3, 3]),
        ('[{"a": 1},\n{"a": 2}\n,\n{"a": 3}]', [1, 2, 4]),
        ('[\n {\n  "a": [\n   1\n  ]\n },\n {}\n]\n', [2, 7]),
        ('[{"a": 1} {"a": 2},, {"a": 3},]', [1, 1, 1]),
        ('[{"a": 1}]\n]', [1]),
        ('\n{"a": 1} trailing', [2]),
    ],
)
def test_lines(text: str, expected: list[int]) -> None:
    assert lines(text) == expected
    assert json_items(text.encode(), "f").gaps == ()


@given(
    st.lists(st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3), max_size=3), max_size=5),
    st.sampled_from([None, 1]),
)
def test_values_are_those_of_json(values: list[dict[str, object]], indent: int | None) -> None:
    items = json_items(json.dumps(values, indent=indent).encode(), "f").value
    assert [item.body for item in items] == values


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
DAMAGE = st.sampled_from(
    ["", ",", "]", "[", "{", '"', "\\", "\n", " ", "é", "-0", "01", "1e999", "9" * 30, '"\\ud800"', "\x1f"]
)


@given(st.lists(JSON, max_size=4), st.sampled_from([None, 0, 2]), st.booleans(), st.data())
def test_an_array_read_at_once_is_the_same_as_element_by_element(
    values: list[object], indent: int | None, ascii_only: bool, data: st.DataObject
) -> None:
    text = json.dumps(values, indent=indent, ensure_ascii=ascii_only, allow_nan=True)
    at = data.draw(st.integers(1, len(text)))
    text = text[:at] + data.draw(DAMAGE) + text[at + data.draw(st.integers(0, 2)) :]
    at_once, one_by_one = read_array(f"\n{text}", 1), read_one_by_one(f"\n{text}", 1, 2)
    assert repr((at_once.values, at_once.ending, at_once.error)) == repr(
        (one_by_one.values, one_by_one.ending, one_by_one.error)
    )
    assert at_once.line == one_by_one.line


@given(st.lists(st.sampled_from(["{}", '{"a": 1}', '{"a":\n{}}', "[{},\n{}]", '"{"', "5", "\n{", ","]), max_size=6))
def test_objects_on_lines_of_their_own_are_the_same_as_one_by_one(pieces: list[str]) -> None:
    text = "[" + ",\n".join(pieces) + "]"
    assert read_array(text, 0) == read_one_by_one(text, 0, 1)


@pytest.mark.parametrize("separator", [", ", ",\n"])
def test_what_is_before_the_damage_is_kept(separator: str) -> None:
    text = separator.join(['[{"a": 1}', '{"a": 2}', '{"a": nothing}', '{"a": 4}]'])
    parsed = json_items(text.encode(), "f")
    assert [item.body["a"] for item in parsed.value] == [1, 2]
    assert [gap.line for gap in parsed.gaps] == [1 if separator == ", " else 3]


def test_a_number_of_too_many_digits_is_damage() -> None:
    data = b'{"nftables": [{"table": {"family": "ip", "name": "t", "handle": %s}}]}' % (b"9" * 5000)
    assert "no JSON from line 1" in parse_nft_json(data, "f").gaps[0].detail


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('[{"a": 1},\n{"a": 2}]', ['{"a": 1}', '{"a": 2}']),
        ('[{"a": 1},\n{"a": 2}]\n\n', ['{"a": 1}', '{"a": 2}']),
        ('[{"a": 1}]', ['{"a": 1}']),
        ('[{"a": 1},{"a": 2}]', None),
        ('[{"a": 1}\n,\n{"a": 2}]', None),
        ('\n[{"a": 1},\n{"a": 2}]', None),
        ('[{"a": 1},\r\n{"a": 2}]', None),
        ('[{"a": 1},\n{"a": 2}] trailing', None),
        ("[]", None),
        ('{"a": 1}', None),
    ],
)
def test_layouts_of_one_object_on_each_line(text: str, found: list[str] | None) -> None:
    assert one_on_each_line(text.encode()) == found


@pytest.mark.parametrize("line", ['{"a": 1}, {"a": 2}', '{"a": 1} ', "{", "[1]", '{"a": [' + "[" * 100_000, ""])
def test_a_line_that_is_not_one_object(line: str) -> None:
    with pytest.raises((ValueError, RecursionError)):
        object_of(line)


ADDRESSES = st.sampled_from(["10.0.0.1", "10.0.0.1/8", "default", "::1", "fe80::/64", "x", "", 7, None])
NAMES = st.sampled_from(["eth0", "lo", "if7", "", 7, None])
ROUTES = st.fixed_dictionaries(
    {},
    optional={
        "dst": ADDRESSES,
        "gateway": ADDRESSES,
        "prefsrc": ADDRESSES,
        "dev": NAMES,
        "type": st.sampled_from(["unicast", "local", "odd", 1]),
        "table": st.sampled_from(["local", "254", 7, None]),
        "via": st.fixed_dictionaries({}, optional={"host": ADDRESSES}) | NAMES,
        "metric": st.sampled_from([1, "2", -1, True, 1 << 70]),
        "nexthops": st.lists(st.fixed_dictionaries({}, optional={"dev": NAMES, "gateway": ADDRESSES}) | NAMES),
    },
)
LINKS = st.fixed_dictionaries(
    {},
    optional={
        "ifname": NAMES,
        "link": NAMES,
        "ifindex": st.sampled_from([1, "2", True, None]),
        "flags": st.lists(st.sampled_from(["UP", "LOWER_UP", "LOOPBACK", 1]), max_size=3),
        "addr_info": st.lists(
            st.fixed_dictionaries(
                {}, optional={"local": ADDRESSES, "address": ADDRESSES, "prefixlen": st.integers(0, 200)}
            )
            | NAMES
        ),
        "linkinfo": st.fixed_dictionaries(
            {},
            optional={
                "info_kind": st.sampled_from(["veth", "vxlan", "bridge", "odd"]),
                "info_data": st.fixed_dictionaries({}, optional={"id": st.integers(0, 9), "mode": NAMES}),
            },
        ),
    },
)
DAMAGE = st.sampled_from(["NaN", "]", "{", "\n", "\x00", '"', "9" * 5000, "\ud800", ",", "null"])


@settings(max_examples=300, deadline=None)
@given(st.lists(ROUTES | LINKS, min_size=1, max_size=4), st.none() | st.tuples(st.integers(0, 300), DAMAGE))
def test_the_quick_way_through_lines_gives_what_the_other_gives(
    values: list[dict[str, object]], damage: tuple[int, str] | None
) -> None:
    text = "[" + ",\n".join(json.dumps(value) for value in values) + "]"
    if damage is not None:
        text = text[: damage[0]] + damage[1] + text[damage[0] :]
    lines, other = text.encode("utf-8", "replace"), text.replace("[", "[ ", 1).encode("utf-8", "replace")
    assert one_on_each_line(other) is None
    assert parse_links_json(lines, "f") == parse_links_json(other, "f")
    for family in Family:
        assert parse_routes_json(lines, "f", family) == parse_routes_json(other, "f", family)


@pytest.mark.parametrize("data", [b"", b"\xef\xbb\xbfa", b"\xef\xbb\xbf\xef\xbb\xbf", b"\xffa\xc3", "ä…".encode()])
def test_text_is_what_the_codec_makes_of_it(data: bytes) -> None:
    assert decode(data) == data.decode("utf-8-sig", errors="replace")
