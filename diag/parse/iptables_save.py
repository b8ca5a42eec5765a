"""`iptables-save` and `ip6tables-save`, versions 1.4 to 1.8, legacy and nft variant, with or without counters.

Syntax (`iptables-save(8)`, `iptables-extensions(8)`)::

    *table
    :CHAIN POLICY [packets:bytes]
    [packets:bytes] -A CHAIN matches… -j TARGET options…
    COMMIT

>>> sample = b'''*filter
... :FORWARD DROP [0:0]
... :DOCKER-USER - [0:0]
... [4:240] -A FORWARD -i br-+ ! -o docker0 -p tcp -m tcp --dport 80:81 -m comment --comment "to -j web" -j DOCKER-USER
... COMMIT
... '''
>>> tables, = parse_iptables_save(sample, "host/iptables-save.txt", TableFamily.IP, Origin.IPTABLES_NFT).value,
>>> chain = tables[0].chains["FORWARD"]
>>> chain.base.policy_drop, chain.rules[0].evidence.line, chain.rules[0].comment
(True, 4, 'to -j web')
>>> for part in chain.rules[0].parts: print(part)
Named(field=<Field.IIFNAME: 'iifname'>, patterns=('br-*',), negated=False)
Named(field=<Field.OIFNAME: 'oifname'>, patterns=('docker0',), negated=True)
Within(field=<Field.PROTOCOL: 'l4proto'>, ranges=((6, 6),), negated=False)
Within(field=<Field.DPORT: 'dport'>, ranges=((80, 81),), negated=False)
Jump(chain='DOCKER-USER')

An option that is not known becomes an :class:`~diag.model.netfilter.Opaque` match or statement. Where lines are missing
(an elision, a file cut short) the chains that they may have belonged to get an opaque rule in their place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType

from msgspec import Struct

from diag.model.message import said, say
from diag.model.netfilter import (
    Base,
    Chain,
    ChainType,
    Hook,
    NfRule,
    NfTable,
    OpaqueStatement,
    Origin,
    TableFamily,
)
from diag.model.provenance import Evidence, Gap, GapKind
from diag.parse.iptables_rule import PlainRule, parse_rule_spec, read_plain_rule, split_words
from diag.parse.json_items import decode
from diag.parse.result import Parsed

_BUILTIN: Mapping[str, Mapping[str, tuple[Hook, int, ChainType]]] = MappingProxyType(
    {
        "raw": {
            "PREROUTING": (Hook.PREROUTING, -300, ChainType.FILTER),
            "OUTPUT": (Hook.OUTPUT, -300, ChainType.FILTER),
        },
        "mangle": {
            "PREROUTING": (Hook.PREROUTING, -150, ChainType.FILTER),
            "INPUT": (Hook.INPUT, -150, ChainType.FILTER),
            "FORWARD": (Hook.FORWARD, -150, ChainType.FILTER),
            "OUTPUT": (Hook.OUTPUT, -150, ChainType.ROUTE),
            "POSTROUTING": (Hook.POSTROUTING, -150, ChainType.FILTER),
        },
        "nat": {
            "PREROUTING": (Hook.PREROUTING, -100, ChainType.NAT),
            "INPUT": (Hook.INPUT, 100, ChainType.NAT),
            "OUTPUT": (Hook.OUTPUT, -100, ChainType.NAT),
            "POSTROUTING": (Hook.POSTROUTING, 100, ChainType.NAT),
        },
        "filter": {
            "INPUT": (Hook.INPUT, 0, ChainType.FILTER),
            "FORWARD": (Hook.FORWARD, 0, ChainType.FILTER),
            "OUTPUT": (Hook.OUTPUT, 0, ChainType.FILTER),
        },
        "security": {
            "INPUT": (Hook.INPUT, 50, ChainType.FILTER),
            "FORWARD": (Hook.FORWARD, 50, ChainType.FILTER),
            "OUTPUT": (Hook.OUTPUT, 50, ChainType.FILTER),
        },
    }
)
"""Built-in chains: hook, priority (include/uapi/linux/netfilter_ipv4.h) and type."""

_RULE = "-A "
_COUNTERS = re.compile(r"^\[\d+:\d+\]\s+")
_CHAIN = re.compile(r"^:(\S+)\s+(\S+)")
_PROMPT = re.compile(r"^\S*[$#>]\s+(sudo\s+)?(ip6?tables\S*|nsenter|cat)\b")
_ELISION = re.compile(r"^[\s.…]*(\.\.\.|…)[\s.…]*$")


@dataclass
class _TableDraft:
    name: str
    rules: dict[str, list[NfRule]] = field(default_factory=dict)
    policies: dict[str, tuple[str, Evidence]] = field(default_factory=dict)
    pending: list[tuple[str, PlainRule | list[str], Evidence]] = field(default_factory=list)
    elided: Evidence | None = None
    committed: bool = False


class _Line(Struct, frozen=True):
    """What a line says by itself; only its text is known of one for :func:`_read_other`."""

    text: str
    table: str | None = None
    """Begins with this line."""
    chain: str = ""
    """Of a rule or a policy."""
    rule: PlainRule | list[str] | None = None
    """`-A chain …` without quotes in it, or its words."""
    policy: str = ""


_COMMIT = _Line("COMMIT")


@lru_cache(maxsize=1 << 12)  # those of containers differ in the ports of Docker's resolver
def _line(raw: str, family: TableFamily) -> _Line | None:
    """None for one that says nothing."""
    line = raw.strip().replace("\x00", "")
    counters = _COUNTERS.match(line) if line.startswith("[") else None
    if counters:
        line = line[counters.end() :]
    if not line.startswith(_RULE):
        if not line or line.startswith("#") or (("$" in line or "#" in line or ">" in line) and _PROMPT.match(line)):
            return None
        if line.startswith("*"):
            return _Line(line, table=line[1:].strip())
        if line == "COMMIT":
            return _COMMIT
        chain = _CHAIN.match(line)
        if chain:
            return _Line(line, chain=chain[1], policy=chain[2])
    if '"' not in line and "'" not in line and "…" not in line and "..." not in line:  # neither quotes nor an elision
        words = line.split(None, 2)
        if len(words) == 3 and words[0] == "-A":
            return _Line(line, None, words[1], read_plain_rule(words[2], family) or words[2].split())
    return _Line(line)


def parse_iptables_save(data: bytes, file: str, family: TableFamily, origin: Origin) -> Parsed[tuple[NfTable, ...]]:
    """Read every table of one `iptables-save` output; never raises."""
    drafts: dict[str, _TableDraft] = {}
    gaps: list[Gap] = []
    current: _TableDraft | None = None
    last = 0
    text = decode(data)
    for last, raw in enumerate(text.splitlines(), 1):
        line = _line(raw, family)
        if line is None:
            continue
        if line.table is not None:
            current = drafts.setdefault(line.table, _TableDraft(line.table))
            current.committed = False
            continue
        if line is _COMMIT:
            if current is not None:
                current.committed = True
            continue
        if current is None or current.committed:
            current = drafts.setdefault("filter", _TableDraft("filter"))
            current.committed = False
        evidence = Evidence(file, last, line.text)
        if line.rule is not None:
            if line.chain not in current.rules:
                current.rules[line.chain] = []
            current.pending.append((line.chain, line.rule, evidence))
        elif line.policy:
            current.rules.setdefault(line.chain, [])
            current.policies[line.chain] = (line.policy, evidence)
        else:
            _read_other(line.text, evidence, current, gaps)
    truncated = (current is not None and not current.committed) or _header_without_end(text)
    if truncated:
        gaps.append(
            Gap(
                GapKind.UNREADABLE,
                file,
                last,
                say("the file ends before its last table does (no COMMIT): rules are missing"),
                say("every flow that meets these chains"),
            )
        )
        for name in _BUILTIN:
            if name != "security" and name not in drafts:
                drafts[name] = _TableDraft(name, elided=Evidence(file, last, say("(the file ends here)")))
    tables = tuple(_finish(draft, file, last, family, origin, gaps) for draft in drafts.values())
    return Parsed(tables, tuple(gaps))


def _header_without_end(text: str) -> bool:
    """`# Generated by …` opens each table, `# Completed on …` closes it, and the last line ends with a newline.

    A comment alone may be all there is: iptables-nft-save then warns of tables of the other variant.
    """
    open_tables, at = 0, text.find("#")
    while at >= 0:
        open_tables += text.startswith("# Generated by", at) - text.startswith("# Completed on", at)
        at = text.find("#", at + 1)
    if open_tables > 0:
        return True
    if text.endswith("\n") or not text.strip():
        return False
    return not any(line[:1] in "*:-[C" for line in text.splitlines() if line)


def _read_other(line: str, evidence: Evidence, table: _TableDraft, gaps: list[Gap]) -> None:
    """A line with quotes, one that is written by hand, an elision; what it is not becomes a gap."""
    if _ELISION.match(line):
        table.elided = evidence
        gaps.append(
            Gap(
                GapKind.UNREADABLE,
                evidence.file,
                evidence.line,
                say("rules of table {name} are left out here", name=table.name),
                say("every flow that meets table {name}", name=table.name),
            )
        )
        return
    words = split_words(line)
    if len(words) >= 2 and words[0] in ("-A", "--append", "-I", "--insert"):
        table.rules.setdefault(words[1], [])
        table.pending.append((words[1], words[2:], evidence))
        return
    if len(words) >= 2 and words[0] in ("-P", "--policy"):
        table.policies[words[1]] = (words[2] if len(words) > 2 else "-", evidence)
        table.rules.setdefault(words[1], [])
        return
    if len(words) == 2 and words[0] in ("-N", "--new-chain"):
        table.rules.setdefault(words[1], [])
        return
    table.elided = table.elided or evidence
    gaps.append(
        Gap(
            GapKind.UNREADABLE,
            evidence.file,
            evidence.line,
            say("not a line of iptables-save: {line}", line=repr(line[:80])),
            say("every flow that meets table {name}", name=table.name),
        )
    )


def _finish(draft: _TableDraft, file: str, last: int, family: TableFamily, origin: Origin, gaps: list[Gap]) -> NfTable:
    hooks = _BUILTIN.get(draft.name, {})
    if draft.elided or not draft.committed:
        for name in hooks:
            draft.rules.setdefault(name, [])
    targets = frozenset(draft.rules)
    for chain_name, rule, evidence in draft.pending:
        rules = draft.rules[chain_name]
        try:
            if isinstance(rule, list):
                parts, comment = parse_rule_spec(rule, family, targets)
            else:
                parts, comment = rule.parts(targets), rule.comment
        except ValueError as error:
            gaps.append(
                Gap(GapKind.UNREADABLE, file, evidence.line, said(error), say("every flow that meets this rule"))
            )
            parts, comment = (OpaqueStatement(evidence.text),), ""
        rules.append(NfRule(parts, evidence, len(rules) + 1, comment))
    chains: dict[str, Chain] = {}
    for name, rules in draft.rules.items():
        policy, policy_line = draft.policies.get(name) or (
            "",
            Evidence(file, 0, say("policy of {name} is not shown", name=name)),
        )
        body = list(rules)
        if draft.elided:
            body.insert(0, NfRule((OpaqueStatement(say("rules that were left out")),), draft.elided))
        elif not draft.committed:
            body.append(
                NfRule((OpaqueStatement(say("rules after the end of the file")),), Evidence(file, last, "(end)"))
            )
        base = None
        if name in hooks:
            hook, priority, kind = hooks[name]
            base = Base(hook, priority, kind, policy == "DROP", evidence=policy_line)
            if policy not in ("ACCEPT", "DROP"):
                body.append(
                    NfRule((OpaqueStatement(say("the policy of {name}, which is not shown", name=name)),), policy_line)
                )
                if draft.committed and not draft.elided:
                    what = say("the policy of {table} {name} is not shown", table=draft.name, name=name)
                    gaps.append(
                        Gap(GapKind.UNREADABLE, file, policy_line.line, what, say("flows that meet {name}", name=name))
                    )
        chains[name] = Chain(name, tuple(body), base)
    return NfTable(family, draft.name, origin, MappingProxyType(chains))
