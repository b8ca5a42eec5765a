"""The line of each element, whatever the layout, and what is lost of a damaged array."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diag.parse.json_items import decode, json_items
from diag.parse.nft_json import parse_nft_json


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


@pytest.mark.parametrize("separator", [", ", ",\n"])
def test_what_is_before_the_damage_is_kept(separator: str) -> None:
    text = separator.join(['[{"a": 1}', '{"a": 2}', '{"a": nothing}', '{"a": 4}]'])
    parsed = json_items(text.encode(), "f")
    assert [item.body["a"] for item in parsed.value] == [1, 2]
    assert [gap.line for gap in parsed.gaps] == [1 if separator == ", " else 3]


def test_a_number_of_too_many_digits_is_damage() -> None:
    data = b'{"nftables": [{"table": {"family": "ip", "name": "t", "handle": %s}}]}' % (b"9" * 5000)
    assert "no JSON from line 1" in parse_nft_json(data, "f").gaps[0].detail


@pytest.mark.parametrize("data", [b"", b"\xef\xbb\xbfa", b"\xef\xbb\xbf\xef\xbb\xbf", b"\xffa\xc3", "ä…".encode()])
def test_text_is_what_the_codec_makes_of_it(data: bytes) -> None:
    assert decode(data) == data.decode("utf-8-sig", errors="replace")
