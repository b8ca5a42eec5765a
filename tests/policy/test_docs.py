"""Every example of docs/policy.md is read, and what it says of the file's form is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from diag.policy.loader import load_policy
from diag.policy.model import Kind
from tests.policy.test_loader import SCHEMA

PAGE = (Path(__file__).parents[2] / "docs" / "policy.md").read_text()
EXAMPLES = re.findall(r"^```(yaml|toml)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("form", "text"), EXAMPLES)
def test_examples_are_read(form: str, text: str) -> None:
    assert len(load_policy(text, f"policy.{form}"))


def test_there_are_examples_of_everything() -> None:
    policies = [load_policy(text, f"policy.{form}") for form, text in EXAMPLES]
    assert {form for form, _ in EXAMPLES} == {"yaml", "toml"}
    assert all(any(getattr(policy, kind.value) for policy in policies) for kind in Kind)


def test_every_key_is_explained() -> None:
    keys = {key for kind in Kind for key in SCHEMA["$defs"][kind.value]["properties"]}
    for key in keys | set(SCHEMA["$defs"]["fitting"]["properties"]) | set(SCHEMA["properties"]):
        assert re.search(rf"`[^`\n]*\b{key}\b|\b{key}:", PAGE), key
