"""The text of `nft list ruleset` and its JSON are read as the same rules."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from msgspec.structs import replace

from diag.bundle.reader import read_bundle
from diag.model.netfilter import Chain, NfTable
from diag.parse.nft_json import parse_nft_json
from diag.parse.nft_text import parse_nft_text
from tests.kernel import rules
from tests.loading import CAPTURES, bundle_path

NAME = f"kx{os.getpid()}"


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
    missing = [p for p in ("ip", "nft") if not shutil.which(p)]
    if (os.geteuid() or missing) and not os.environ.get("CI"):
        pytest.skip(f"not root, or not installed: {', '.join(missing)}")
    subprocess.run(["ip", "netns", "add", NAME], check=True)
    try:
        run("ip", "-batch", "-", text="".join(f"link add {name} type bridge\n" for name in rules.LINKS))
        yield
    finally:
        subprocess.run(["ip", "netns", "del", NAME], check=False)


def bare(tables: tuple[NfTable, ...]) -> Any:
    """Without the lines that things were read from, and without counters."""

    def chain(found: Chain) -> Any:
        # JSON of nft 1.0.6 leaves the devices out
        base = replace(found.base, evidence=None, devices=()) if found.base else None
        return base, [([str(part) for part in rule.parts], rule.comment) for rule in found.rules]

    return [
        (
            table.family,
            table.name,
            {name: chain(found) for name, found in table.chains.items()},
            {
                name: (sorted(str(replace(e, evidence=None)) for e in found.elements), found.unmodelled)
                for name, found in table.sets.items()
            },
        )
        for table in tables
    ]


def assert_same() -> None:
    from_json = parse_nft_json(run("nft", "-j", "list", "ruleset").encode(), "nft-ruleset.json")
    from_text = parse_nft_text(run("nft", "list", "ruleset").encode(), "nft-ruleset.txt")
    assert not from_text.gaps
    for ours, theirs in zip(bare(from_text.value), bare(from_json.value), strict=True):
        assert ours[:2] == theirs[:2]
        for mine, wanted in zip(ours[2:], theirs[2:], strict=True):
            assert {k: v for k, v in mine.items() if wanted.get(k) != v} == {
                k: v for k, v in wanted.items() if mine.get(k) != v
            }


DRAWN = {"ip": rules.nft(), "ip6": rules.nft().map(rules.to_ip6), "links": rules.links()}


@pytest.mark.random
@pytest.mark.parametrize("family", DRAWN)
def test_random_rules(family: str) -> None:
    drawn = DRAWN[family]

    @settings(
        max_examples=80,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(drawn)
    def check(text: str) -> None:
        run("nft", "-f", "-", text=f"flush ruleset\n{text}")
        assert_same()

    check()


@pytest.mark.parametrize("name", [name for name in CAPTURES if name.endswith("nft")])
def test_rules_of_docker(name: str) -> None:
    listed = json.loads(read_bundle(str(bundle_path(name))).files["host/nft-ruleset.json"])
    order = ("metainfo", "table", "chain", "set", "map", "rule")
    listed["nftables"] = [item for item in listed["nftables"] if not _of_iptables(next(iter(item.values())))]
    listed["nftables"].sort(key=lambda item: order.index(next(iter(item))))
    run("nft", "flush", "ruleset")
    run("nft", "-j", "-f", "-", text=json.dumps(listed))
    assert_same()


def _of_iptables(body: dict[str, Any]) -> bool:
    """nft itself cannot load the expressions of iptables-nft."""
    return body.get("table", body.get("name")) in ("filter", "mangle", "nat", "raw")
