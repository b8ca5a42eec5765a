"""`nft list ruleset` as text, `nft(8)`: the same objects that `nft -j list ruleset` prints, by :mod:`diag.parse.nft_json`.

Syntax: `table FAMILY NAME { set NAME { type …; elements = { … } } chain NAME { type … hook … ; RULE … } }`

>>> sample = b'''table inet fw {
...   set lan { type ipv4_addr
...     flags interval
...     elements = { 10.0.0.0/8,
...                  192.168.0.0/16 }
...   }
...   chain fwd {
...     type filter hook forward priority filter + 10; policy drop;
...     iifname "eth0" ip saddr @lan tcp dport { 80, 443 } counter packets 1 bytes 2 accept comment "web"
...   }
... }'''
>>> table, = parse_nft_text(sample, "host/nft-ruleset.txt").value
>>> chain = table.chains["fwd"]
>>> print(chain.base.priority, chain.base.policy_drop)
10 True
>>> for part in chain.rules[0].parts: print(part)
Named(field=<Field.IIFNAME: 'iifname'>, patterns=('eth0',), negated=False)
Within(field=<Field.NFPROTO: 'nfproto'>, ranges=((2, 2),), negated=False)
InSet(set_name='lan', fields=(<Field.SADDR: 'saddr'>,), negated=False, ipset=False)
Within(field=<Field.PROTOCOL: 'l4proto'>, ranges=((6, 6),), negated=False)
Within(field=<Field.DPORT: 'dport'>, ranges=((80, 80), (443, 443)), negated=False)
NoEffect(text='counter')
Accept()

A statement that is not understood makes the rest of its rule opaque.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from diag.model.message import say
from diag.model.netfilter import NfTable
from diag.model.provenance import Gap, GapKind
from diag.parse.json_items import decode
from diag.parse.nft_expression import CT_KEYS, META_KEYS, PAYLOAD_PROTOCOLS
from diag.parse.nft_json import priority_of, tables_of
from diag.parse.result import Parsed

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}(),;]|[^\s{}(),;"]+')
_HEADER = re.compile(
    r"^(table|chain|set|map|counter|quota|limit|ct helper|ct timeout|flowtable|secmark|synproxy)\s+(.*?)\s*\{(.*)$"
)
_OPERATORS = frozenset({"==", "!=", "<", ">", "<=", ">="})
_BARE_META = frozenset({"iifname", "oifname", "iif", "oif"})
_BIT_KEYS = frozenset({"state", "status"})


class _NotUnderstoodError(ValueError):
    """The words at the cursor are none that the reader knows."""


def parse_nft_text(
    data: bytes, file: str, compat: frozenset[tuple[str, str]] = frozenset()
) -> Parsed[tuple[NfTable, ...]]:
    """Read the tables that are not in `compat`; see :func:`diag.parse.nft_json.parse_nft_json`. Never raises."""
    reader = _Listing(decode(data).splitlines(), file)
    objects = list(reader.objects())
    return tables_of(objects, file, compat, reader.gaps)


@dataclass
class _Block:
    """A `{ … }` that is open."""

    kind: str
    words: str
    line: int


class _Listing:
    """The listing, line by line, as the objects of libnftables-json(5)."""

    def __init__(self, lines: list[str], file: str) -> None:
        self.lines = lines
        self.file = file
        self.gaps: list[Gap] = []
        self._open: list[_Block] = []
        self._family = self._table = ""

    def objects(self) -> Iterator[tuple[int, dict[str, Any]]]:
        at = 0
        while at < len(self.lines):
            line, number = self.lines[at].strip(), at + 1
            at += 1
            if not line or line.startswith("#"):
                continue
            header = _HEADER.match(line) if self._may_open(line) else None
            if header:
                if header[1] in ("set", "map"):
                    body, at = self._body(at, header[3])
                    yield number, {header[1]: self._set(header[1], header[2], body)}
                else:
                    yield from self._enter(_Block(header[1], header[2], number))
                    if header[3].strip() and not header[3].strip().startswith("#"):
                        self._unreadable(number, line)
            elif line == "}":
                if self._open:
                    self._open.pop()
            elif self._open and self._open[-1].kind == "chain":
                yield number, self._chain_line(self._open[-1].words, line)
            elif not self._open:
                self._unreadable(number, line)
        if self._open:
            what = say(
                "the file is damaged: the {kind} {words} does not end",
                kind=self._open[-1].kind,
                words=self._open[-1].words,
            )
            self.gaps.append(Gap(GapKind.UNREADABLE, self.file, 0, what, say("every flow that meets nftables")))

    def _may_open(self, line: str) -> bool:
        """Tables stand alone, everything else in a table; a rule may begin with the same word and have a `{` too."""
        return self._open[-1].kind == "table" if self._open else line.startswith("table")

    def _unreadable(self, number: int, line: str) -> None:
        detail = say("not a line of `nft list ruleset`: {line}", line=repr(line[:80]))
        self.gaps.append(Gap(GapKind.UNREADABLE, self.file, number, detail, say("every flow that meets nftables")))

    def _enter(self, block: _Block) -> Iterator[tuple[int, dict[str, Any]]]:
        self._open.append(block)
        if block.kind == "table":
            words = block.words.split()
            self._family, self._table = (words[0], words[1]) if len(words) > 1 else ("ip", block.words)
            yield block.line, {"table": {"family": self._family, "name": self._table}}
        elif block.kind == "chain":
            yield block.line, {"chain": {**self._place(), "name": block.words}}

    def _place(self) -> dict[str, Any]:
        return {"family": self._family, "table": self._table}

    def _body(self, at: int, first: str) -> tuple[str, int]:
        """The text of a set up to its closing brace, and the line after it."""
        text, depth = [first], 1 + _braces(first)
        while depth > 0 and at < len(self.lines):
            line = self.lines[at]
            depth += _braces(line)
            text.append(line)
            at += 1
        if depth > 0:
            what = say("the file is damaged: a set does not end")
            self.gaps.append(Gap(GapKind.UNREADABLE, self.file, 0, what, say("every flow that meets nftables")))
        return "\n".join(text), at

    def _set(self, kind: str, name: str, body: str) -> dict[str, Any]:
        found: dict[str, Any] = {**self._place(), "name": name}
        head, _, elements = body.partition("elements")
        for line in re.split(r"[\n;]", head):
            word, _, rest = line.strip().partition(" ")
            if word == "type":
                types, _, target = rest.partition(" : ")
                columns = [part.strip() for part in types.split(" . ")]
                found["type"] = columns if len(columns) > 1 else columns[0]
                if kind == "map":
                    found["map"] = target.strip()
            elif word == "typeof":
                found["type"] = {"typeof": rest}
            elif word == "flags":
                found["flags"] = rest.split(",")
        if elements:
            cursor = _Cursor(_TOKEN.findall(elements.partition("=")[2]))
            found["elem"] = cursor.braced(_target_of(found.get("map", "")))
        return found

    def _chain_line(self, chain: str, line: str) -> dict[str, Any]:
        if re.match(r"type \w+ hook ", line):
            return {"chain": {**self._place(), "name": chain, **_base(line, self._family)}}
        comment = re.search(r' comment "((?:[^"\\]|\\.)*)"$', line)
        text = line[: comment.start()] if comment else line
        rule: dict[str, Any] = {**self._place(), "chain": chain, "expr": _Cursor(_TOKEN.findall(text)).rule()}
        if comment:
            rule["comment"] = comment[1]
        return {"rule": rule}


def _braces(line: str) -> int:
    """Opening less closing ones, outside quotes."""
    bare = re.sub(r'"[^"]*"', "", line)
    return bare.count("{") - bare.count("}")


def _base(line: str, family: str) -> dict[str, Any]:
    """`type filter hook forward priority filter + 10; policy drop;`."""
    kind, hook = re.findall(r"type (\w+) hook (\w+)", line)[0]
    found: dict[str, Any] = {"type": kind, "hook": hook, "policy": "drop" if "policy drop" in line else "accept"}
    priority = re.search(r"priority ([a-z]+)?\s*([+-]?)\s*(\d+)?", line)
    if priority:
        number = int(priority[3] or 0) * (-1 if priority[2] == "-" else 1)
        found["prio"] = priority_of(priority[1] or "", family) + number
    devices = re.search(r"devices? (?:= \{ (.*?) \}|(\S+))", line)
    if devices:
        found["dev"] = [d.strip(' "') for d in (devices[1] or devices[2]).split(",")]
    return found


def _target_of(kind: str) -> str:
    return "verdict" if kind == "verdict" else "data" if kind else ""


class _Cursor:
    """The words of one rule or of the elements of a set."""

    def __init__(self, words: list[str]) -> None:
        self.words = words
        self.at = 0

    def peek(self, ahead: int = 0) -> str:
        position = self.at + ahead
        return self.words[position] if position < len(self.words) else ""

    def take(self) -> str:
        if self.at >= len(self.words):
            raise _NotUnderstoodError(say("the rule ends early"))
        self.at += 1
        return self.words[self.at - 1]

    def accept(self, *words: str) -> bool:
        if tuple(self.words[self.at : self.at + len(words)]) != words:
            return False
        self.at += len(words)
        return True

    # Rules

    def rule(self) -> list[dict[str, Any]]:
        """Every expression; the rest of the rule as one unknown statement from where it is not understood."""
        found: list[dict[str, Any]] = []
        while self.at < len(self.words):
            start = self.at
            try:
                found.append(self._one())
            except (_NotUnderstoodError, ValueError):
                found.append({" ".join(self.words[start:]): None})
                break
        return found

    def _one(self) -> dict[str, Any]:
        word = self.peek()
        match word:
            case "accept" | "drop" | "return" | "continue" | "notrack":
                return {self.take(): None}
            case "jump" | "goto":
                return {self.take(): {"target": self.take()}}
            case "counter" | "log" | "limit" | "queue" | "reject":
                self.take()
                return self._plain(word)
            case "snat" | "dnat" | "masquerade" | "redirect":
                self.take()
                return {word: self._nat()}
            case "add" | "update" | "delete" if self.peek(1).startswith("@"):
                return self._dynamic()
        return self._match()

    def _plain(self, word: str) -> dict[str, Any]:
        match word:
            case "counter":
                if self.accept("packets"):
                    self.at += 3
                elif self.accept("name"):
                    self.take()
                return {"counter": None}
            case "log":
                while self.peek() in ("prefix", "level", "group", "snaplen", "queue-threshold", "flags"):
                    self.at += 2
                return {"log": None}
            case "limit":
                return {"limit": self._limit()}
            case "queue":
                return {"queue": self._queue()}
        return {"reject": self._reject()}

    def _limit(self) -> dict[str, Any]:
        if not self.accept("rate"):
            raise _NotUnderstoodError("limit")
        over = self.accept("over")
        rate, _, unit = self.take().partition("/")
        if self.accept("burst"):
            self.at += 2
        return {"rate": int(rate), "per": unit, **({"inv": True} if over else {})}

    def _queue(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if self.accept("flags"):
            found["flags"] = self.take().split(",")
        if self.accept("to") or self.accept("num"):
            found["num"] = self.take()
        if self.accept("bypass"):
            found["flags"] = ["bypass"]
        return found

    def _reject(self) -> dict[str, Any] | None:
        if not self.accept("with"):
            return None
        if self.accept("tcp", "reset"):
            return {"type": "tcp reset"}
        kind = self.take()
        self.accept("type")
        return {"type": kind, "expr": self.take()}

    def _dynamic(self) -> dict[str, Any]:
        self.at += 2
        self._skip_braces()
        return {"set": None}

    def _skip_braces(self) -> None:
        depth = 0
        while self.at < len(self.words):
            depth += {"{": 1, "}": -1}.get(self.take(), 0)
            if depth == 0:
                return

    def _nat(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if self.peek() in ("ip", "ip6") and self.peek(1) in ("to", "prefix", "addr"):
            found["family"] = self.take()
        if self.accept("prefix"):
            found["flags"] = ["netmap"]
        self.accept("addr")
        if self.accept("to"):
            self._nat_target(found)
        flags = []
        while self.peek() in ("random", "fully-random", "persistent") or self.peek() == ",":
            flags += [flag for flag in (self.take(),) if flag != ","]
        if flags:
            found["flags"] = [*found.get("flags", ()), *flags]
        return found

    def _nat_target(self, found: dict[str, Any]) -> None:
        word = self.peek()
        if word.startswith(":"):
            self._port(found, self.take()[1:])
            return
        if word in PAYLOAD_PROTOCOLS or word in META_KEYS or word in ("ct", "meta", "numgen", "jhash", "symhash"):
            found["addr"] = self._map()
            if self.peek().startswith(":"):
                self._port(found, self.take()[1:])
            return
        address, port = _address_and_port(self.take())
        found["addr"] = _range_of(address)
        if port:
            self._port(found, port)

    def _port(self, found: dict[str, Any], text: str) -> None:
        if text and text[0].isdigit():
            found["port"] = _range_of(text)
            return
        if text:
            self.words.insert(self.at, text)
        found["port"] = self._map()

    def _map(self) -> dict[str, Any]:
        key = self._left()
        if not self.accept("map"):
            raise _NotUnderstoodError(say("an expression of the packet"))
        return {"map": {"key": key, "data": self._data("data")}}

    def _data(self, target: str) -> Any:
        if self.peek().startswith("@"):
            return self.take()
        return {"set": self.braced(target)}

    # Matches

    def _match(self) -> dict[str, Any]:
        left = self._left()
        if self.accept("vmap"):
            return {"vmap": {"key": left, "data": self._data("verdict")}}
        if self.accept("set"):
            return {"mangle": {"key": left, "value": self._mark_value()}}
        masked = self.accept("&")
        if masked:
            left = {"&": [left, self._mask()]}
        operator = self.take() if self.peek() in _OPERATORS else ""
        bits = not masked and _is_bits(left)
        if self.peek() == "{":
            right: Any = {"set": self.braced("")}
        else:
            right = self._right(left)
        if self.accept("/"):
            mask = self._flags()
            return {"match": {"op": operator or "==", "left": {"&": [left, mask]}, "right": right}}
        implied = "in" if bits and not (isinstance(right, dict) and "set" in right) else "=="
        return {"match": {"op": operator or implied, "left": left, "right": right}}

    def _left(self) -> dict[str, Any]:
        parts = [self._operand()]
        while self.accept("."):
            parts.append(self._operand())
        return {"concat": parts} if len(parts) > 1 else parts[0]

    def _operand(self) -> dict[str, Any]:
        word = self.take()
        if word == "meta":
            key = self.take()
            if key not in META_KEYS:
                raise _NotUnderstoodError(key)
            return {"meta": {"key": key}}
        if word in _BARE_META:
            return {"meta": {"key": word}}
        if word == "ct":
            return self._ct()
        if word == "fib":
            return self._fib()
        if word == "tcp" and self.accept("option"):
            return {"tcp option": {"name": self.take(), "field": self.take()}}
        if word in PAYLOAD_PROTOCOLS:
            name = self.take()
            if word == "arp" and name in ("saddr", "daddr"):
                name = f"{name} {self.take()}"
            return {"payload": {"protocol": word, "field": name}}
        raise _NotUnderstoodError(word)

    def _ct(self) -> dict[str, Any]:
        if self.peek() not in ("original", "reply"):
            key = self.take()
            if key not in CT_KEYS:
                raise _NotUnderstoodError(key)
            return {"ct": {"key": key}}
        direction, key = self.take(), self.take()
        if key in ("ip", "ip6"):
            key = f"{key} {self.take()}"
        return {"ct": {"key": key, "dir": direction}}

    def _fib(self) -> dict[str, Any]:
        flags = [self.take()]
        while self.accept("."):
            flags.append(self.take())
        return {"fib": {"result": self.take(), "flags": flags}}

    def _mask(self) -> Any:
        if not self.accept("("):
            return _constant(self.take())
        values = []
        while not self.accept(")"):
            word = self.take()
            values += [] if word == "|" else [_constant(word)]
        return values

    def _flags(self) -> list[Any]:
        values = [_constant(self.take())]
        while self.accept(",") or self.accept("|"):
            values.append(_constant(self.take()))
        return values

    def _right(self, left: dict[str, Any]) -> Any:
        if self.peek() in ("exists", "missing") and "fib" in left:
            return self.take() == "exists"
        if self.peek().startswith("@"):
            return self.take()
        parts = [self._value()]
        while self.accept("."):
            parts.append(self._value())
        if len(parts) > 1:
            return {"concat": parts}
        separator = self.peek()
        while separator in (",", "|") and self.accept(separator):
            parts.append(self._value())
        if len(parts) == 1:
            return parts[0]
        return parts if separator == "," else {"|": parts}

    def _value(self) -> Any:
        word = self.take()
        if word in ("{", "}", "(", ")", ","):
            raise _NotUnderstoodError(word)
        return _constant(word) if word.startswith('"') else _range_of(word)

    def _mark_value(self) -> Any:
        word = self.peek()
        if word in PAYLOAD_PROTOCOLS or word in _BARE_META or word in ("ct", "meta"):
            source = self._left()
            if self.accept("map"):
                return {"map": {"key": source, "data": self._data("data")}}
            if self.peek() in ("&", "|", "^"):
                return {self.take(): [source, _constant(self.take())]}
            return source
        return _constant(self.take())

    # Elements

    def braced(self, target: str) -> list[Any]:
        """`{ a, b . c, d : verdict }`; raises ValueError where it does not end."""
        if not self.accept("{"):
            raise _NotUnderstoodError(say("no set"))
        found: list[Any] = []
        while not self.accept("}"):
            if not self.accept(","):
                found.append(self._element(target))
        return found

    def _element(self, target: str) -> Any:
        key = self._parts()
        while self.peek() in ("timeout", "expires", "counter", "comment"):
            self.at += 5 if self.peek() == "counter" else 2
        if not target:
            return key
        if not self.accept(":"):
            raise _NotUnderstoodError(say("an element of a map without a value"))
        if target == "verdict":
            verdict = self.take()
            return [key, {verdict: {"target": self.take()} if verdict in ("jump", "goto") else None}]
        return [key, self._parts()]

    def _parts(self) -> Any:
        parts = [self._value()]
        while self.accept("."):
            parts.append(self._value())
        return {"concat": parts} if len(parts) > 1 else parts[0]


def _is_bits(left: dict[str, Any]) -> bool:
    """Whether one value means any of its bits."""
    return left.get("payload") == {"protocol": "tcp", "field": "flags"} or left.get("ct", {}).get("key") in _BIT_KEYS


def _constant(word: str) -> Any:
    if word.startswith('"'):
        return word[1:-1]
    return int(word, 0) if re.fullmatch(r"\d+|0x[0-9a-fA-F]+", word) else word


def _range_of(text: str) -> Any:
    """A number, a name, `a-b`, or `a/length`."""
    if re.fullmatch(r"[0-9a-fA-F.:]+/\d+", text):
        address, _, length = text.partition("/")
        return {"prefix": {"addr": address, "len": int(length)}}
    low, dash, high = text.partition("-")
    if dash and re.fullmatch(r"[0-9a-fA-FxX.:]+", low) and re.fullmatch(r"[0-9a-fA-FxX.:]+", high):
        return {"range": [_constant(low), _constant(high)]}
    return _constant(text)


def _address_and_port(text: str) -> tuple[str, str]:
    """`10.0.0.1:80`, `[fd00::1]:80`, `10.0.0.1-10.0.0.9`, `:80`."""
    if text.startswith("["):
        address, _, port = text[1:].partition("]")
        return address.replace("]-[", "-"), port.removeprefix(":")
    if text.count(":") == 1:
        address, _, port = text.partition(":")
        return address, port
    return text, ""
