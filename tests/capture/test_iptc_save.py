"""Rules of python-iptables as lines of iptables-save, with stand-ins of the library's shape."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import pytest

from diag.capture import iptc_save
from diag.capture.steps import UnavailableError
from diag.model.netfilter import Origin, TableFamily
from diag.parse.iptables_save import parse_iptables_save


@dataclass
class Extension:
    name: str
    parameters: dict[str, list[str]] = field(default_factory=dict)
    goto: bool = False

    def get_all_parameters(self) -> dict[str, list[str]]:
        return self.parameters


@dataclass
class Rule:
    target: Extension | None
    matches: list[Extension] = field(default_factory=list)
    src: str = "0.0.0.0/0.0.0.0"
    dst: str = "0.0.0.0/0.0.0.0"
    in_interface: str | None = None
    out_interface: str | None = None
    protocol: str = "ip"

    def get_counters(self) -> tuple[int, int]:
        return 7, 420


@dataclass
class Policy:
    name: str


@dataclass
class Chain:
    name: str
    rules: list[Rule] = field(default_factory=list)
    policy: str = ""

    def get_policy(self) -> Policy | None:
        return Policy(self.policy) if self.policy else None

    def get_counters(self) -> tuple[int, int]:
        return 1, 60


@dataclass
class Table:
    name: str
    chains: list[Chain] = field(default_factory=list)


WEB = Rule(
    Extension("DNAT", {"to-destination": [":80"]}),
    [Extension("tcp", {"dport": ["8080"]}), Extension("comment", {"comment": ["for us"]})],
    in_interface="!docker0",
    protocol="tcp",
)
STATES = Rule(Extension("ACCEPT"), [Extension("conntrack", {"ctstate": ["!", "INVALID"]})], src="!10.0.0.0/255.0.0.0")
LINES = [
    '[7:420] -A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -m comment --comment "for us" -j DNAT --to-destination :80',
    "[7:420] -A DOCKER ! -s 10.0.0.0/255.0.0.0 -m conntrack ! --ctstate INVALID -j ACCEPT",
    "[7:420] -A DOCKER -g DOCKER",
    "[7:420] -A DOCKER",
]
TABLE = Table(
    "nat",
    [
        Chain("OUTPUT", policy="ACCEPT"),
        Chain("DOCKER", [WEB, STATES, Rule(Extension("DOCKER", goto=True)), Rule(None)]),
    ],
)


def test_rules_and_chains() -> None:
    lines = list(iptc_save.render_table(TABLE))
    assert lines == ["*nat", ":OUTPUT ACCEPT [1:60]", ":DOCKER - [0:0]", *LINES, "COMMIT"]


def test_the_parser_reads_it() -> None:
    text = "\n".join(iptc_save.render_table(TABLE)).encode() + b"\n"
    assert parse_iptables_save(text, "host/iptables-save.txt", TableFamily.IP, Origin.IPTABLES_LEGACY).gaps == ()


def test_only_existing_tables_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    library: Any = ModuleType("iptc")
    asked: list[str] = []

    def table(name: str) -> Table:
        asked.append(name)
        if name == "broken":
            raise library.IPTCError("no such table")
        return Table(name)

    library.Table = table
    library.Table6 = lambda name: table(f"6:{name}")
    library.IPTCError = type("IPTCError", (Exception,), {})
    monkeypatch.setitem(sys.modules, "iptc", library)
    output = iptc_save.save("ip", ["nat", "filter"])
    assert (asked, output.content) == (["nat", "filter"], b"*nat\nCOMMIT\n*filter\nCOMMIT\n")
    assert output.incomplete == iptc_save.WARNING
    assert iptc_save.save("ip6", ["nat"]).content == b"*6:nat\nCOMMIT\n"
    with pytest.raises(UnavailableError, match="no such table"):
        iptc_save.save("ip", ["broken"])


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "iptc", None)
    with pytest.raises(UnavailableError, match="install iptables, or"):
        iptc_save.save("ip", ["nat"])
