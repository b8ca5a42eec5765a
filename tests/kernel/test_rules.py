"""The random rules hold everything that the parsers understand, and the parsers understand everything in them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from diag.model.netfilter import (
    AnyBit,
    AnyOf,
    CopyMark,
    Field,
    InSet,
    MapMark,
    Masked,
    Match,
    Named,
    Nat,
    NatKind,
    NfTable,
    Opaque,
    OpaqueStatement,
    Origin,
    SetMark,
    Statement,
    TableFamily,
    VerdictMap,
    Within,
)
from diag.parse.ipset import parse_ipset
from diag.parse.iptables_save import parse_iptables_save
from diag.parse.nft_json import parse_nft_json
from diag.parse.nft_text import parse_nft_text
from tests.kernel import rules

NAME = f"kr{os.getpid()}"


def run(*words: str, text: str = "") -> str:
    done = subprocess.run(
        ["nsenter", f"--net=/run/netns/{NAME}", *words],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert not done.returncode, f"{done.stderr}\n{text}"
    return done.stdout


@pytest.fixture(scope="module", autouse=True)
def namespace() -> Iterator[None]:
    missing = [p for p in ("ip", "nft", "iptables-nft-restore", "ipset") if not shutil.which(p)]
    if (os.geteuid() or missing) and not os.environ.get("CI"):
        pytest.skip(f"not root, or not installed: {', '.join(missing)}")
    subprocess.run(["ip", "netns", "add", NAME], check=True)
    try:
        run("ip", "-batch", "-", text="".join(f"link add {name} type bridge\n" for name in rules.LINKS))
        run("ipset", "restore", text=rules.ipset_restore())
        yield
    finally:
        subprocess.run(["ip", "netns", "del", NAME], check=False)


def features(tables: tuple[NfTable, ...]) -> set[object]:
    """What occurs in rules: fields that are looked at or set, and the kinds of matches and statements."""
    found: set[object] = set()
    for part in all_parts(tables):
        found.add(type(part).__name__)
        match part:
            case InSet(fields=fields) | VerdictMap(fields=fields):
                found.update(fields)
            case Nat(kind=kind):
                found.add(kind)
            case SetMark(field=where) | MapMark(field=where) | CopyMark(target=where):
                found.add(("set", where))
            case Within(field=where) | Masked(field=where) | AnyBit(field=where) | Named(field=where):
                found.add(where)
    return found


def all_parts(tables: tuple[NfTable, ...]) -> Iterator[Match | Statement]:
    for table in tables:
        for chain in table.chains.values():
            for rule in chain.rules:
                for part in rule.parts:
                    yield part
                    if isinstance(part, AnyOf):
                        yield from (inner for alternative in part.alternatives for inner in alternative)
        for named in table.sets.values():
            yield from (element.verdict for element in named.elements if element.verdict is not None)


MANY = settings(
    max_examples=250,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
)
NOT_IN_THIS_KERNEL = {Field.IBRNAME, Field.OBRNAME}
"""nft_meta_bridge is a module of its own, which the lab's kernel does not have."""
OF_FRAMES: frozenset[object] = frozenset(
    {Field.ETHER_SADDR, Field.ETHER_DADDR, Field.ETHER_TYPE, Field.PKTTYPE}
    | {Field.ARP_OPERATION, Field.ARP_SADDR_IP, Field.ARP_DADDR_IP, Field.ARP_SADDR_ETHER, Field.ARP_DADDR_ETHER}
)
WANTED: frozenset[object] = frozenset(
    {*Field} - OF_FRAMES - NOT_IN_THIS_KERNEL
    | {Field.PKTTYPE, ("set", Field.MARK), ("set", Field.CT_MARK)}
    | {"Accept", "Drop", "Reject", "Jump", "Goto", "Return", "Nat", "SetMark", "CopyMark", "Notrack", "NoEffect"}
) - {Field.ICMPV6_TYPE, Field.ICMPV6_CODE}


@pytest.mark.random
def test_every_feature_of_iptables_occurs() -> None:
    seen: set[object] = set()

    @MANY
    @given(rules.iptables())
    def collect(text: str) -> None:
        run("iptables-nft-restore", text=text)
        read = parse_iptables_save(
            run("iptables-nft-save").encode(), "iptables-save.txt", TableFamily.IP, Origin.IPTABLES_NFT
        )
        assert not read.gaps
        seen.update(features(read.value))

    collect()
    assert not {"Opaque", "OpaqueStatement"} & seen
    nft_only = {Field.CT_REPL_SPORT, Field.CT_REPL_DPORT, Field.NFPROTO}
    assert WANTED - nft_only - seen == set()
    assert {NatKind.DNAT, NatKind.SNAT, NatKind.MASQUERADE, NatKind.REDIRECT, NatKind.NETMAP} <= seen


@pytest.mark.random
def test_every_feature_of_nft_occurs() -> None:
    seen: set[object] = set()

    @MANY
    @given(rules.nft())
    def collect(text: str) -> None:
        run("nft", "-f", "-", text=f"flush ruleset\n{text}")
        read = parse_nft_json(run("nft", "-j", "list", "ruleset").encode(), "nft-ruleset.json")
        assert not read.gaps
        seen.update(features(read.value))
        assert not any(named.unmodelled for table in read.value for named in table.sets.values())
        assert not opaque(read.value) - {"limit rate 1000000/second"}

    collect()
    iptables_only = {Field.PHYSIN, Field.PHYSOUT, Field.FRAGMENT, Field.CT_ORIG_SPORT}
    assert WANTED - iptables_only - seen == set()
    assert {NatKind.DNAT, NatKind.SNAT, NatKind.MASQUERADE, NatKind.REDIRECT, "VerdictMap", "MapMark", "FibOif"} <= seen


@pytest.mark.random
def test_every_feature_of_frames_occurs() -> None:
    seen: set[object] = set()
    families: set[TableFamily] = set()

    @MANY
    @given(rules.links())
    def collect(text: str) -> None:
        run("nft", "-f", "-", text=f"flush ruleset\n{text}")
        read = parse_nft_text(run("nft", "list", "ruleset").encode(), "nft-ruleset.txt")
        assert not read.gaps
        seen.update(features(read.value))
        families.update(table.family for table in read.value)
        assert not opaque(read.value) - {"vlan id 5"}

    collect()
    assert OF_FRAMES - seen == set()
    assert {TableFamily.BRIDGE, TableFamily.NETDEV, TableFamily.ARP, TableFamily.INET} <= families


def opaque(tables: tuple[NfTable, ...]) -> set[str]:
    return {part.text for part in all_parts(tables) if isinstance(part, (Opaque, OpaqueStatement))}


def test_every_set_is_understood() -> None:
    read = parse_ipset(run("ipset", "save").encode(), "ipset.txt")
    assert not read.gaps
    assert {name: named.unmodelled for name, named in read.value.items() if named.unmodelled} == {}
