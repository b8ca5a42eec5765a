"""`nft -j list ruleset`, libnftables-json(5).

Syntax: `{"nftables": [{"table": …}, {"chain": …}, {"set": …}, {"map": …}, {"rule": {"expr": […]}}]}`

>>> sample = b'''{"nftables": [
... {"table": {"family": "inet", "name": "fw"}},
... {"chain": {"family": "inet", "table": "fw", "name": "fwd", "type": "filter", "hook": "forward", "prio": 0,
...            "policy": "drop"}},
... {"rule": {"family": "inet", "table": "fw", "chain": "fwd", "comment": "web", "expr": [
...   {"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": {"set": [80, 443]}}},
...   {"accept": null}]}}]}'''
>>> table, = parse_nft_json(sample, "host/nft-ruleset.json").value
>>> rule, = table.chains["fwd"].rules
>>> print(rule.evidence)
host/nft-ruleset.json:5: inet fw fwd: tcp dport { 80, 443 } accept comment "web"
>>> for part in rule.parts: print(part)
Within(field=<Field.PROTOCOL: 'l4proto'>, ranges=((6, 6),), negated=False)
Within(field=<Field.DPORT: 'dport'>, ranges=((80, 80), (443, 443)), negated=False)
Accept()

nft leaves out of its listing what a match implies (`tcp dport` means TCP); it is put back here. The tables of
iptables-nft are listed too: those that `iptables-save` shows are left out, so that no rule counts twice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, assert_never

from msgspec import Struct
from msgspec.json import Decoder

from diag.model.message import said, say
from diag.model.netfilter import (
    Base,
    Chain,
    ChainType,
    Hook,
    Match,
    NamedSet,
    NfRule,
    NfTable,
    OpaqueStatement,
    Origin,
    Statement,
    TableFamily,
)
from diag.model.provenance import Evidence, Gap, GapKind
from diag.parse.json_items import MOST_DIGITS, Ending, decode, read_array
from diag.parse.nft_expression import NftSyntaxError, RuleReader, element_of, rule_text
from diag.parse.result import Parsed

_ODD = (
    *(ValueError, TypeError, KeyError, IndexError, AttributeError),
    StopIteration,  # an expression without anything in it
    RecursionError,  # expressions in expressions in expressions
)
"""What reading an object of no known shape raises."""
_PRIORITIES = {"raw": -300, "mangle": -150, "dstnat": -100, "filter": 0, "security": 50, "srcnat": 100}
_HOOKS, _TYPES = frozenset(Hook), frozenset(ChainType)
_BRIDGE_PRIORITIES = {"dstnat": -300, "filter": -200, "out": 100, "srcnat": 300}


def priority_of(name: str, family: str) -> int:
    """The number behind a priority's name, `nft(8)`; 0 for none."""
    return (_BRIDGE_PRIORITIES if family == "bridge" else _PRIORITIES).get(name, 0)


@dataclass
class _Draft:
    family: TableFamily
    name: str
    chains: dict[str, tuple[Base | None, list[NfRule]]] = field(default_factory=dict)
    sets: dict[str, NamedSet] = field(default_factory=dict)
    incomplete: Evidence | None = None


def parse_nft_json(
    data: bytes, file: str, compat: frozenset[tuple[str, str]] = frozenset()
) -> Parsed[tuple[NfTable, ...]]:
    """Read the tables that are not in `compat`, which holds (family, name) of those that iptables-save shows."""
    text = decode(data)
    if compat and _shows_nothing_else(text, compat):
        return Parsed(())
    objects, gaps = _objects(text, file)
    return tables_of(objects, file, compat, gaps)


class _Owner(Struct):
    """What an object of the list says of the table that it is in."""

    family: str = ""
    table: str = ""
    name: str = ""
    """The table's own, if the object is one."""


_OWNERS = Decoder(list[dict[str, _Owner]])
_TOO_LONG = re.compile(rf"[0-9]{{{MOST_DIGITS}}}")
"""A number that Python does not convert: it would be damage."""
_STEP = 430
_SUSPICIOUS = re.compile(rf"[0-9]{{{MOST_DIGITS // _STEP}}}")
"""What is left of such a number in every 430th character of a text."""


def _shows_nothing_else(text: str, compat: frozenset[tuple[str, str]]) -> bool:
    """Whether all is in tables of `compat`, as it is inside of most containers: then nothing more needs to be read."""
    try:
        objects = _OWNERS.decode(text[text.find("[") : text.rfind("]") + 1])
    except (ValueError, RecursionError):
        return False
    for item in objects:
        for kind, owner in item.items():
            if kind != "metainfo" and (owner.family, owner.name if kind == "table" else owner.table) not in compat:
                return False
            break  # the first is what the object is
    return not (_SUSPICIOUS.search(text[::_STEP]) and _TOO_LONG.search(text))  # the whole text takes long to search


def tables_of(
    objects: list[tuple[int, dict[str, Any]]], file: str, compat: frozenset[tuple[str, str]], gaps: list[Gap]
) -> Parsed[tuple[NfTable, ...]]:
    """The objects of libnftables-json(5), each with its line, as tables. `gaps` is added to."""
    drafts: dict[tuple[str, str], _Draft] = {}
    for line, item in objects:
        kind, body = next(iter(item.items()), ("", None))
        if not isinstance(body, dict) or kind == "metainfo":
            continue
        table_name = str(body.get("name" if kind == "table" else "table", ""))
        family = str(body.get("family", ""))
        if (family, table_name) in compat:
            continue
        draft = _draft(drafts, family, table_name, file, line, gaps)
        if draft is None:
            continue
        try:
            _add(draft, kind, body, file, line, gaps)
        except _ODD as error:
            what = f"an object of the kind {kind!r} is not understood ({type(error).__name__})"
            gaps.append(Gap(GapKind.UNREADABLE, file, line, what, "every flow that meets its table"))
            draft.incomplete = Evidence(file, line, what)
    if gaps and any(g.kind is GapKind.UNREADABLE and g.line == 0 for g in gaps):
        for draft in drafts.values():
            draft.incomplete = Evidence(file, 0, say("the file is damaged: rules may be missing"))
    return Parsed(tuple(_finish(d) for d in drafts.values()), tuple(gaps))


def _objects(text: str, file: str) -> tuple[list[tuple[int, dict[str, Any]]], list[Gap]]:
    """The elements of the list with their lines; those before the damage where the file is cut or broken."""
    start = text.find("[")
    if start < 0:
        if not text.strip():
            return [], []
        return [], [_damaged(file, say("no list of objects is in it"))]
    elements = read_array(text, start)
    found = [(line, value) for line, value in elements.values if isinstance(value, dict)]
    match elements.ending:
        case Ending.CLOSED:
            return found, []
        case Ending.CUT:
            return found, [_damaged(file, say("it ends before its list does"))]
        case Ending.BROKEN:
            return found, [
                _damaged(
                    file, say("it is no JSON from line {line} on ({error})", line=elements.line, error=elements.error)
                )
            ]
        case _:
            assert_never(elements.ending)


def _damaged(file: str, why: str) -> Gap:
    return Gap(
        GapKind.UNREADABLE, file, 0, say("the file is damaged: {why}", why=why), say("every flow that meets nftables")
    )


def _draft(
    drafts: dict[tuple[str, str], _Draft], family: str, name: str, file: str, line: int, gaps: list[Gap]
) -> _Draft | None:
    if (family, name) not in drafts:
        try:
            drafts[family, name] = _Draft(TableFamily(family), name)
        except ValueError:
            gaps.append(
                Gap(GapKind.UNMODELLED, file, line, say("the table family {family} is not known", family=repr(family)))
            )
            return None
    return drafts[family, name]


def _add(draft: _Draft, kind: str, body: dict[str, Any], file: str, line: int, gaps: list[Gap]) -> None:
    match kind:
        case "table" | "counter" | "quota" | "limit" | "ct helper" | "ct timeout" | "ct expectation" | "flowtable":
            pass
        case "chain":
            evidence = Evidence(file, line, _chain_text(body))
            if body.get("hook", "input") not in _HOOKS or body.get("type", "filter") not in _TYPES:
                gaps.append(
                    Gap(
                        GapKind.UNMODELLED, file, line, say("{text}: its hook or type is not known", text=evidence.text)
                    )
                )
                draft.incomplete = evidence
                return
            base = _base(body, evidence)
            _, rules = draft.chains.get(str(body.get("name")), (None, []))
            draft.chains[str(body.get("name"))] = (base, rules)
        case "set" | "map":
            name = str(body.get("name"))
            draft.sets[name] = _named_set(body, draft.sets.get(name), Evidence(file, line, f"{kind} {name}"))
        case "element":
            name = str(body.get("name"))
            draft.sets[name] = _named_set(body, draft.sets.get(name), Evidence(file, line, f"element of {name}"))
        case "rule":
            _add_rule(draft, body, file, line, gaps)
        case _:
            gaps.append(
                Gap(GapKind.UNMODELLED, file, line, say("objects of the kind {kind} are not modelled", kind=repr(kind)))
            )


def _chain_text(body: Mapping[str, Any]) -> str:
    where = f"{body.get('family')} {body.get('table')} {body.get('name')}"
    if "hook" not in body:
        return f"chain {where}"
    return f"chain {where} hook {body['hook']} priority {body.get('prio')} policy {body.get('policy', 'accept')}"


def _base(body: Mapping[str, Any], evidence: Evidence) -> Base | None:
    if "hook" not in body:
        return None
    priority = body.get("prio", 0)
    devices = body.get("dev", ())
    return Base(
        Hook(body["hook"]),
        priority if isinstance(priority, int) else priority_of(str(priority), str(body.get("family"))),
        ChainType(body.get("type", "filter")),
        body.get("policy") == "drop",
        (devices,) if isinstance(devices, str) else tuple(devices),
        evidence,
    )


def _named_set(body: Mapping[str, Any], old: NamedSet | None, evidence: Evidence) -> NamedSet:
    types = body.get("type", "")
    flags = body.get("flags", ())
    names = tuple(str(t) for t in types) if isinstance(types, list) else (str(types),)
    if isinstance(types, dict):
        return NamedSet(str(body.get("name")), (), say("its type is an expression"), evidence)
    unmodelled = say("rules add to it while packets pass") if "dynamic" in flags or flags == "dynamic" else ""
    elements = list(old.elements) if old else []
    target = str(body.get("map", ""))
    for raw in body.get("elem", ()):
        try:
            elements.append(element_of(raw, names, evidence, target))
        except (NftSyntaxError, ValueError, TypeError, KeyError, IndexError) as error:
            unmodelled = say("an element is not understood ({error})", error=said(error))
    return NamedSet(str(body.get("name")), tuple(elements), unmodelled or (old.unmodelled if old else ""), evidence)


def _add_rule(draft: _Draft, body: dict[str, Any], file: str, line: int, gaps: list[Gap]) -> None:
    chain = str(body.get("chain"))
    _, rules = draft.chains.setdefault(chain, (None, []))
    evidence = Evidence(file, line, _text(body))
    reader = RuleReader(draft.family, f"{chain}#{len(rules) + 1}", evidence)
    parts: tuple[Match | Statement, ...]
    try:
        parts = reader.read(body.get("expr", []))
    except _ODD as error:
        gaps.append(
            Gap(
                GapKind.UNREADABLE,
                file,
                line,
                say("a rule is not understood ({error})", error=said(error)),
                say("every flow that meets it"),
            )
        )
        parts = (OpaqueStatement(evidence.text),)
    draft.sets.update(reader.anonymous)
    rules.append(NfRule(parts, evidence, len(rules) + 1, str(body.get("comment", ""))))


def _text(body: dict[str, Any]) -> str:
    try:
        return rule_text(body)
    except _ODD as error:
        return f"a rule that cannot be shown ({type(error).__name__})"


def _finish(draft: _Draft) -> NfTable:
    chains = {}
    for name, (base, rules) in draft.chains.items():
        body = tuple(rules)
        if draft.incomplete:
            body = (*body, NfRule((OpaqueStatement(say("rules after the damage")),), draft.incomplete))
        chains[name] = Chain(name, body, base)
    return NfTable(draft.family, draft.name, Origin.NFT, MappingProxyType(chains), MappingProxyType(dict(draft.sets)))
