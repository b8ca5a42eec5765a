"""A policy's text: what it says, each mistake in it, and the JSON Schema that says the same."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from diag.errors import DiagError
from diag.policy import loader
from diag.policy.loader import load_policy
from diag.policy.model import Deny, Only, Reach, Resolve, Selector
from diag.policy.traffic import ALL_TRAFFIC, Traffic
from diag.policy.tree import read_yaml
from tests.policy.policies import policy_of

SCHEMA = json.loads(resources.files("diag.policy").joinpath("policy.schema.json").read_text())
VALIDATOR = Draft202012Validator(SCHEMA)


def test_everything_there_is() -> None:
    policy = policy_of("""
        reach:
          - {id: a, description: words, from: web-*, to: ["@world", db], ports: [icmp, "tcp/80,443"], optional: true}
        deny:
          - from: {network: app, label: tier=x, min: 2}
            to: {compose: shop/db}
            except: tcp
        only:
          - {to: {compose: {project: shop}}, from: []}
        resolve:
          - {from: "*", name: db, to: "@host"}
        """)
    (reach,), (deny,), (only,), (resolve,) = policy.reach, policy.deny, policy.only, policy.resolve
    assert reach == Reach(
        id="a",
        description="words",
        optional=True,
        line=4,
        sources=(Selector("web-*"),),
        destinations=(Selector("@world"), Selector("db")),
        traffic=Traffic.of(["icmp", "tcp/80,443"]),
    )
    assert deny == Deny(
        id="deny[1]",
        line=6,
        sources=(Selector(network="app", label="tier=x", min=2),),
        destinations=(Selector(project="shop", service="db"),),
        traffic=ALL_TRAFFIC - Traffic.of(["tcp"]),
    )
    assert only == Only(id="only[1]", line=10, sources=(), destinations=(Selector(project="shop"),))
    target = (Selector("@host"),)
    assert resolve == Resolve(id="resolve[1]", line=12, sources=(Selector("*"),), name="db", targets=target)
    assert policy.labels == {"tier"}
    assert len(policy) == len(list(policy)) == 4


def test_toml() -> None:
    text = 'version = 1\n[[reach]]\nfrom = "web"\nto = {compose = "shop/db"}\nports = ["tcp/5432"]\n'
    (reach,) = load_policy(text, "p.toml").reach
    assert (reach.line, reach.destinations) == (2, (Selector(project="shop", service="db"),))


MISTAKES = {
    "version: 2\nreach: [{from: a, to: b}]": "line 1: version is 1, not 2",
    "version: true\nreach: [{from: a, to: b}]": "version is 1, not true",
    "reach: [{from: a, to: b}]": "a policy needs version",
    "version: 1": "it expects nothing: it needs reach, deny, only, resolve",
    "version: 1\nraech: []": "line 2: a policy has no 'raech': did you mean reach?",
    "version: 1\nreach:": "line 2: reach is a list of expectations, not nothing",
    "version: 1\nreach: []": "not an empty list",
    "version: 1\nreach: {}": "not an object",
    "version: 1\nreach: [x]": "reach[1] is an object, not 'x'",
    "version: 1\nreach: [{from: a}]": "reach[1] needs to",
    "version: 1\nreach: [{from: a, to: b, port: tcp/80}]": "reach[1] has no 'port': did you mean ports?",
    "version: 1\nreach: [{from: a, to: b, zzz: 1}]": "it has from, to, ports, id, description, optional",
    "version: 1\nreach: [{from: a, to: b, except: icmp}]": "reach[1] has no 'except'",
    "version: 1\nreach: [{from: a, to: b, ports: 80}]": "ports has 80: it is icmp",
    "version: 1\nreach: [{from: a, to: b, ports: []}]": "ports is not empty",
    "version: 1\nreach: [{from: a, to: b, ports: tcp/9-1}]": "ends before it begins",
    "version: 1\nreach: [{from: 1, to: b}]": "from is a name, or an object of name",
    "version: 1\nreach: [{from: [], to: b}]": "from is not empty",
    "version: 1\nreach: [{from: ~, to: b}]": "not nothing",
    "version: 1\nreach: [{from: '', to: b}]": "a name is text, not ''",
    "version: 1\nreach: [{from: '@wrold', to: b}]": "there is no '@wrold': it is @host or @world",
    "version: 1\nreach: [{from: {name: '@world'}, to: b}]": "stands alone",
    "version: 1\nreach: [{from: {min: 1}, to: b}]": "selects nothing: it needs name, compose, label, network",
    "version: 1\nreach: [{from: {nmae: x}, to: b}]": "from has no 'nmae': did you mean name?",
    "version: 1\nreach: [{from: {name: x, min: 0}, to: b}]": "min is a number from 1, not 0",
    "version: 1\nreach: [{from: {compose: a/b/c}, to: b}]": "compose is project/service or project",
    "version: 1\nreach: [{from: {compose: {service: b}}, to: b}]": "compose needs project",
    "version: 1\nreach: [{from: {label: =x}, to: b}]": "a label is key=value, or key",
    "version: 1\nreach: [{from: {network: ''}, to: b}]": "a network has a name",
    "version: 1\nreach: [{from: a, to: b, id: a b}]": "an id is letters",
    "version: 1\nreach: [{from: a, to: b, id: x}, {from: a, to: b, id: x}]": "the id x is taken (line 2)",
    "version: 1\nreach: [{from: a, to: b, optional: yes}]": "optional is true or false, not 'yes'",
    "version: 1\nreach: [{from: a, to: b, description: 1}]": "description is text, not 1",
    "version: 1\ndeny: [{from: a, to: b, except: all}]": "except leaves nothing of ports",
    "version: 1\nresolve: [{from: a}]": "resolve[1] needs a name, or to",
    "version: 1\nresolve: [{from: a, name: ''}]": "a name is not empty",
    "version: 1\nresolve: [{from: '@host', name: a}]": "@host cannot be here",
    "version: 1\nresolve: [{from: a, name: b, to: '@world'}]": "@world cannot be here",
    "version: 1\nresolve: [{from: a, to: '@host'}]": "@host cannot be here",
    "- 1": "a policy is an object, not a list",
}
ONLY_THE_LOADER = ("ends before it begins", "is taken", "except leaves nothing")
"""What a JSON Schema cannot say."""


@pytest.mark.parametrize("text", MISTAKES)
def test_mistakes(text: str) -> None:
    with pytest.raises(DiagError) as caught:
        load_policy(text, "p.yaml")
    assert MISTAKES[text] in str(caught.value)
    assert str(caught.value).startswith("p.yaml has ")
    if not any(part in MISTAKES[text] for part in ONLY_THE_LOADER):
        assert not VALIDATOR.is_valid(plain(text))


def plain(text: str) -> Any:
    return read_yaml(text, "p.yaml").plain()


def test_all_mistakes_are_told() -> None:
    with pytest.raises(DiagError) as caught:
        load_policy("version: 2\nreach:\n  - form: a\n    to: 1\n  - {from: a, to: b, ports: [x, tcp/1]}\n", "p.yaml")
    assert "p.yaml has 5 mistakes: line 1: " in str(caught.value)
    assert str(caught.value).count("line ") == 5
    with pytest.raises(DiagError, match="and 30 more"):
        load_policy("version: 1\nreach: [" + "1, " * 50 + "]", "p.yaml")


def test_a_file_of_another_kind() -> None:
    with pytest.raises(DiagError, match=r"a policy ends in \.yaml, \.yml, \.json, \.toml"):
        load_policy("", "p.ini")


def test_too_many_selectors() -> None:
    text = f"version: 1\nx-a: &a [{'a, ' * 1_000}]\nreach: [&r {{from: *a, to: *a}}{', *r' * 50}]"
    with pytest.raises(DiagError, match="too large"):
        load_policy(text, "p.yaml")


# The schema

WORDS = st.sampled_from(
    [
        "a",
        "web-*",
        "@world",
        "@host",
        "@x",
        "",
        "a/b",
        "a/b/c",
        "/",
        "k=v",
        "=v",
        "x\n",
        "tcp/80",
        "tcp/0",
        "all",
        "icmp",
    ]
)
SCALARS = WORDS | st.sampled_from([None, True, False, 0, 1, 2, 1.5, 1.0])
PORTS = st.sampled_from(["icmp", "all", "tcp", "tcp/80", "udp/1-2,53", "tcp/65536", "80"])
SELECTORS = WORDS | st.fixed_dictionaries(
    {},
    optional={
        "name": SCALARS,
        "compose": SCALARS | st.fixed_dictionaries({}, optional={"project": SCALARS, "service": SCALARS}),
        "label": SCALARS,
        "network": SCALARS,
        "min": SCALARS,
        "nmae": SCALARS,
    },
)


def some(items: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return items | st.lists(items, max_size=3)


ENTRIES = st.fixed_dictionaries(
    {},
    optional={
        "from": some(SELECTORS),
        "to": some(SELECTORS),
        "ports": some(PORTS),
        "except": some(PORTS),
        "name": SCALARS,
        "description": SCALARS,
        "optional": SCALARS,
        "id": SCALARS,
    },
)
GOOD = st.fixed_dictionaries(
    {"from": some(st.sampled_from(["a", "@world"])), "to": some(SELECTORS)},
    optional={"ports": some(PORTS), "optional": st.booleans()},
)
DOCUMENTS = st.fixed_dictionaries(
    {"version": st.just(1) | SCALARS},
    optional={kind: st.lists(GOOD | ENTRIES, max_size=2) for kind in ("reach", "deny", "only", "resolve")}
    | {"x-any": SCALARS, "other": SCALARS},
)


def loads(document: Any) -> str:
    """Empty: it does; else the mistakes."""
    try:
        load_policy(json.dumps(document), "p.json")
    except DiagError as error:
        return str(error)
    return ""


def agrees(document: Any) -> None:
    mistakes, valid = loads(document), VALIDATOR.is_valid(document)
    if mistakes and valid:
        assert any(part in mistakes for part in ONLY_THE_LOADER), mistakes
        assert mistakes.count("; ") + 1 == sum(mistakes.count(part) for part in ONLY_THE_LOADER), mistakes
    else:
        assert valid == (not mistakes), (document, mistakes)


@pytest.mark.apart
@given(DOCUMENTS)
def test_the_schema_and_the_loader_agree(document: Any) -> None:
    agrees(document)


@settings(max_examples=30)
@given(st.lists(GOOD, min_size=1, max_size=2), st.sampled_from(["reach", "deny", "only"]))
def test_they_agree_on_good_ones(entries: list[Any], kind: str) -> None:
    agrees({"version": 1, kind: entries})


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)


def test_every_key_of_the_schema_is_read() -> None:
    for kind, keys in loader._KEYS.items():
        assert set(SCHEMA["$defs"][kind.value]["properties"]) == set(keys)
        assert set(SCHEMA["$defs"][kind.value]["required"]) == set(loader._NEEDED[kind])
    assert set(SCHEMA["$defs"]["fitting"]["properties"]) == set(loader._SELECTOR_KEYS)
