"""YAML and TOML: as they are meant, and nothing that a hostile file could gain."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diag.errors import DiagError
from diag.policy.tree import MAX_CHARACTERS, read_toml, read_yaml


def test_texts_that_yaml_1_1_takes_for_something_else() -> None:
    text = "on: [yes, no, 22:22, 0x1f, 1e3, 2026-01-01, =, 010]\n1: {true: ~}\n"
    assert read_yaml(text, "p.yaml").plain() == {
        "on": ["yes", "no", "22:22", "0x1f", "1e3", "2026-01-01", "=", "010"],
        "1": {"true": None},
    }
    assert read_yaml("[1, -2, 1.5, true, False, null, '1', \"x\", !!str 5]", "p.yaml").plain() == [
        1,
        -2,
        1.5,
        True,
        False,
        None,
        "1",
        "x",
        "5",
    ]


def test_lines() -> None:
    tree = read_yaml("a:\n  - b: 1\n\n  - c: 2\n", "p.yaml")
    section = tree.get("a")
    assert section is not None
    assert [item.line for item in section.items()] == [2, 4]
    tree = read_toml("x = 1\n[[a]]\nb = 1\n\n  [[ a ]]\nb = 2\n[c]\nd = 1\n", "p.toml")
    section = tree.get("a")
    assert section is not None
    assert [item.line for item in section.items()] == [2, 5]
    inline = read_toml("a = [{b = 1}]\n", "p.toml").get("a")
    assert inline is not None
    assert [item.line for item in inline.items()] == [0]


def test_merge_keys_prefer_what_is_nearer() -> None:
    text = "a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc: {<<: [*a, *b], z: 3}\nd: {<<: *a}\n"
    found = read_yaml(text, "p.yaml").plain()
    assert found["c"] == {"z": 3, "x": 1, "y": 1}
    assert found["d"] == {"x": 1, "y": 1}


BOMBS = {
    "laughs": "a: &a [x, x]\n"
    + "".join(f"b{i}: &b{i} [*{'a' if not i else f'b{i - 1}'}, *{'a' if not i else f'b{i - 1}'}]\n" for i in range(64)),
    "merges": "a: &m0 {x: 1}\n" + "".join(f"b{i}: &m{i + 1} {{<<: [*m{i}, *m{i}], k{i}: 1}}\n" for i in range(64)),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_what_is_shared_stays_shared(bomb: str) -> None:
    assert len(dict(read_yaml(BOMBS[bomb], "p.yaml").members())) == 65


WRONG = {
    "a: [1": "line 1",
    "a: 1\na: 2": "'a' is there twice",
    "a: &a [*a]": "an alias within its own anchor",
    "a: *b": "line 1",
    "a: !!python/object/apply:os.system [true]": "is not allowed",
    "a: !x 1": "is not allowed",
    "? [a]\n: 1": "a key that is no text",
    "a: {<<: 1}": "takes objects only",
    "a: \x00": "forbids",
    "--- 1\n--- 2": "document",
    "[" * 600: "nested too deeply",
    "a: " + "1" * 5_000: "is no number",
    "x" * (MAX_CHARACTERS + 1): "characters",
    "m: &m0 {x: 1}\n" + "".join(f"b{i}: &m{i + 1} {{<<: *m{i}, k{i}: 1}}\n" for i in range(600)): "too much is merged",
}


@pytest.mark.parametrize("text", WRONG, ids=lambda text: text[:12].encode("unicode_escape").decode())
def test_what_cannot_be_read_is_one_line(text: str) -> None:
    with pytest.raises(DiagError, match=r"cannot read p\.yaml") as caught:
        read_yaml(text, "p.yaml")
    assert WRONG[text] in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["a =", "a = 1\na = 2", "x" * (MAX_CHARACTERS + 1), "a = " + "[" * 5_000])
def test_toml_that_cannot_be_read(text: str) -> None:
    with pytest.raises(DiagError, match=r"cannot read p\.toml"):
        read_toml(text, "p.toml")


@given(st.text() | st.text("{}[]&*:,-? \n!<>|'\"#%ab1"))
def test_any_text_is_read_or_refused(text: str) -> None:
    for read in (read_yaml, read_toml):
        try:
            read(text, "p").plain()
        except DiagError as error:
            assert "\n" not in str(error)  # noqa: PT017
