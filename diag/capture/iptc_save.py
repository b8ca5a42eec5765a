"""Legacy rules by python-iptables, for hosts that have tables but no `iptables-save`.

The library reads the legacy tables only: on a host whose rules are in iptables-nft it shows none. So it is asked last,
only for tables that exist (asking for another would create it), and what it gives is marked as incomplete.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from diag.capture.steps import Output, UnavailableError

WARNING = "read by python-iptables, which sees legacy tables only: rules of iptables-nft are not in it"


def save(family: str, tables: Iterable[str]) -> Output:
    """The named tables as `iptables-save -c` would print them. Raises UnavailableError when the library is missing."""
    try:
        import iptc
    except ImportError:
        hint = "install iptables, or docker-diag[legacy]"
        raise UnavailableError(f"neither {family}tables-save nor python-iptables is installed: {hint}") from None
    make = iptc.Table if family == "ip" else iptc.Table6
    try:
        text = "".join(line + "\n" for name in tables for line in render_table(make(name)))
    except iptc.IPTCError as error:
        raise UnavailableError(f"python-iptables: {error}") from None
    return Output(text.encode(), incomplete=WARNING)


def render_table(table: Any) -> Iterator[str]:
    """The lines of one `iptc.Table`."""
    yield f"*{table.name}"
    for chain in table.chains:
        policy = chain.get_policy()
        packets, octets = chain.get_counters() if policy else (0, 0)
        yield f":{chain.name} {policy.name if policy else '-'} [{packets}:{octets}]"
    for chain in table.chains:
        for rule in chain.rules:
            yield render_rule(chain.name, rule)
    yield "COMMIT"


def render_rule(chain: str, rule: Any) -> str:
    """One `iptc.Rule` as a line of `iptables-save -c`."""
    packets, octets = rule.get_counters()
    words = [f"[{packets}:{octets}] -A {chain}"]
    for option, value in (
        ("-s", _network(rule.src)),
        ("-d", _network(rule.dst)),
        ("-i", rule.in_interface),
        ("-o", rule.out_interface),
        ("-p", _protocol(rule.protocol)),
    ):
        if value:
            words.append(_option(option, value))
    for match in rule.matches:
        words.append(f"-m {match.name}")
        words.extend(_parameters(match))
    if rule.target is not None and rule.target.name:
        jump = "-g" if getattr(rule.target, "goto", False) else "-j"
        words.append(f"{jump} {rule.target.name}")
        words.extend(_parameters(rule.target))
    return " ".join(words)


def _option(option: str, value: str) -> str:
    return f"! {option} {value[1:].strip()}" if value.startswith("!") else f"{option} {value}"


_ANY = ("0.0.0.0/0.0.0.0", "0.0.0.0/0", "::/0", "::/::")


def _network(value: str | None) -> str:
    """Nothing for any address, which iptables-save leaves out."""
    return "" if value is None or value.lstrip("!") in _ANY else value


def _protocol(value: str | None) -> str:
    return "" if value in (None, "ip", "all", "0") else str(value)


def _parameters(extension: Any) -> list[str]:
    """`--dport 80`, with the negation first and blanks quoted."""
    words = []
    for name, values in extension.get_all_parameters().items():
        negated = values[:1] == ["!"]
        rest = [f'"{value}"' if " " in value or not value else value for value in values[negated:]]
        words.append(" ".join((["!"] if negated else []) + [f"--{name}", *rest]))
    return words
