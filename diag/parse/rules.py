"""Policy rules: `ip -j rule show` and `ip rule` as text.

>>> sample = b'''0:      from all lookup local
... 100:    not from 10.0.0.0/8 fwmark 0x1/0xff iif eth0 lookup 100
... 32766:  from all lookup main
... '''
>>> for rule in parse_rules_text(sample, "host/ip-rule.txt", Family.IPV4).value:
...     print(rule.priority, rule.action, rule.table, rule.source, rule.inverted, rule.fwmark, rule.fwmask, rule.iif)
0 lookup local None False None 4294967295
100 lookup 100 10.0.0.0/8 True 1 255 eth0
32766 lookup main None False None 4294967295
"""

from __future__ import annotations

import re
from typing import Any

from diag.model.address import Family, Prefix
from diag.model.message import said, say
from diag.model.netns import PolicyRule
from diag.model.provenance import Evidence, Gap, GapKind
from diag.parse.json_items import json_items, number_of, text_of
from diag.parse.result import Parsed
from diag.parse.ticket_lines import ticket_lines, unreadable

_AFFECTS = say("every flow that this namespace routes")
_KNOWN = frozenset(
    {
        *("priority", "src", "srclen", "dst", "dstlen", "table", "action", "iif", "oif", "fwmark", "fwmask", "not"),
        *("suppress_prefixlen", "protocol", "goto", "unresolved", "iif_detached", "oif_detached", "flow", "nop"),
    }
)


def parse_rules_json(data: bytes, file: str, family: Family) -> Parsed[tuple[PolicyRule, ...]]:
    """`ip -j rule show`, `ip -j -6 rule show`."""
    items = json_items(data, file, _AFFECTS)
    rules, gaps = [], list(items.gaps)
    for item in items.value:
        try:
            rules.append(_rule(item.body, file, item.line, family))
        except ValueError as error:
            gaps.append(
                Gap(
                    GapKind.UNREADABLE,
                    file,
                    item.line,
                    say("a policy rule is not understood: {error}", error=said(error)),
                    _AFFECTS,
                )
            )
    return Parsed(tuple(rules), tuple(gaps))


def _rule(body: dict[str, Any], file: str, line: int, family: Family) -> PolicyRule:
    source, destination = _prefix(body, "src", family), _prefix(body, "dst", family)
    mark, mask = text_of(body, "fwmark"), text_of(body, "fwmask")
    suppress = number_of(body, "suppress_prefixlen", -1)
    table = str(body.get("table", ""))
    action = text_of(body, "action") or ("goto" if "goto" in body else "nop" if "nop" in body else "lookup")
    unmodelled = " ".join(sorted(set(body) - _KNOWN))
    return PolicyRule(
        number_of(body, "priority"),
        {"to_tbl": "lookup", "table": "lookup"}.get(action, action),
        table,
        source,
        destination,
        text_of(body, "iif"),
        text_of(body, "oif"),
        int(mark, 0) if mark else None,
        int(mask, 0) if mask else 0xFFFFFFFF,
        "not" in body,
        suppress if suppress >= 0 else None,
        unmodelled,
        number_of(body, "goto") if "goto" in body else None,
        Evidence(file, line, f"{number_of(body, 'priority')}: from {source or 'all'} lookup {table}"),
    )


def _prefix(body: dict[str, Any], key: str, family: Family) -> Prefix | None:
    text = text_of(body, key)
    if text in ("", "all"):
        return None
    length = body.get(f"{key}len")
    return Prefix.parse(f"{text}/{length}" if isinstance(length, int) else text, family=family)


_LINE = re.compile(r"^\s*(\d+):\s+(not\s+)?(.*)$")


def parse_rules_text(data: bytes, file: str, family: Family) -> Parsed[tuple[PolicyRule, ...]]:
    """`ip rule`."""
    gaps: list[Gap] = []
    rules = []
    for line, evidence in ticket_lines(data, file, gaps, _AFFECTS):
        match = _LINE.match(line)
        try:
            if match is None:
                raise ValueError(line)
            rules.append(_words(int(match[1]), bool(match[2]), match[3].split(), family, evidence))
        except (ValueError, IndexError):
            gaps.append(unreadable(evidence, "ip rule", _AFFECTS))
    return Parsed(tuple(rules), tuple(gaps))


def _words(priority: int, inverted: bool, words: list[str], family: Family, evidence: Evidence) -> PolicyRule:
    found: dict[str, str] = {}
    unmodelled = []
    position = 0
    while position < len(words):
        word = words[position]
        if word in ("from", "to", "fwmark", "iif", "oif", "lookup", "table", "goto", "suppress_prefixlength", "proto"):
            found[word] = words[position + 1]
            position += 2
        elif word in ("blackhole", "unreachable", "prohibit", "nop"):
            found["action"] = word
            position += 1
        elif word in ("[detached]", "[unresolved]"):
            position += 1
        else:
            unmodelled.append(word)
            position += 1
    mark, _, mask = found.get("fwmark", "").partition("/")
    table = found.get("lookup", found.get("table", ""))
    action = found.get("action") or ("lookup" if table else "goto" if "goto" in found else "lookup")
    source, destination = found.get("from", "all"), found.get("to", "all")
    return PolicyRule(
        priority,
        action,
        table,
        None if source == "all" else Prefix.parse(source, family=family),
        None if destination == "all" else Prefix.parse(destination, family=family),
        found.get("iif", ""),
        found.get("oif", ""),
        int(mark, 0) if mark else None,
        int(mask, 0) if mask else 0xFFFFFFFF,
        inverted,
        int(found["suppress_prefixlength"]) if "suppress_prefixlength" in found else None,
        " ".join(unmodelled),
        int(found["goto"]) if "goto" in found else None,
        evidence,
    )
