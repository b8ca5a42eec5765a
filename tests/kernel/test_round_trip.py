"""Whatever iptables-save prints is read without loss: read, written, loaded and saved again, it is the same."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from types import MappingProxyType

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from msgspec.structs import replace

from diag.bundle.reader import read_bundle
from diag.model.netfilter import NfRule, NfTable, Origin, TableFamily
from diag.model.provenance import Evidence
from diag.parse.iptables_save import parse_iptables_save
from tests.kernel import rules
from tests.kernel.printing import restore_text
from tests.loading import CAPTURES, bundle_path

NAME = f"kt{os.getpid()}"
SOMEWHERE = Evidence("", 0, "")

UNMODELLED = """*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:odd - [0:0]
-A odd -m limit --limit 5/min --limit-burst 3 -j LOG --log-prefix "two words: "
-A odd -m string --string "GET /" --algo bm --to 200 -j DROP
-A odd -m recent --update --seconds 60 --hitcount 4 --name ssh --mask 255.255.255.255 --rsource -j DROP
-A odd -m hashlimit --hashlimit-above 10/sec --hashlimit-mode srcip --hashlimit-name x -j DROP
-A odd -m statistic --mode nth --every 3 --packet 0 -j ACCEPT
-A odd -m mac --mac-source 00:11:22:33:44:55 -j ACCEPT
-A odd -m length --length 100:200 -m ttl --ttl-gt 3 -j ACCEPT
-A odd -m time --timestart 10:00 --timestop 12:00 --weekdays Mon,Tue -j ACCEPT
-A odd -p tcp -m connlimit --connlimit-above 3 --connlimit-mask 32 --connlimit-saddr -j REJECT --reject-with tcp-reset
-A odd -m u32 --u32 "0x6&0xff=0x1" -j DROP
-A odd -m dscp --dscp 0x10 -m tos --tos 0x10/0x3f -j ACCEPT
-A odd -m socket --transparent -j ACCEPT
-A odd -m comment --comment "it's \\"quoted\\" \\\\ here" -j ACCEPT
-A odd -p esp -m esp --espspi 100:200 -j ACCEPT
-A odd -m policy --dir in --pol none -j ACCEPT
-A odd -p tcp -m tcp --tcp-option 8 -j ACCEPT
-A odd -p sctp -m sctp --dport 80 -j ACCEPT
-A odd -m devgroup --src-group 0x1 -j ACCEPT
-A OUTPUT -m owner --uid-owner 0 -j ACCEPT
COMMIT
"""


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
    missing = [p for p in ("ip", "iptables-nft-restore", "iptables-legacy-restore", "ipset") if not shutil.which(p)]
    if (os.geteuid() or missing) and not os.environ.get("CI"):
        pytest.skip(f"not root, or not installed: {', '.join(missing)}")
    subprocess.run(["ip", "netns", "add", NAME], check=True)
    try:
        run("ipset", "restore", text=rules.ipset_restore())
        yield
    finally:
        subprocess.run(["ip", "netns", "del", NAME], check=False)


def saved(tool: str, text: str) -> tuple[NfTable, ...]:
    """Load, save and read; every rule line that was saved is a rule that was read."""
    run(f"iptables-{tool}-restore", text=text)
    save = run(f"iptables-{tool}-save")
    read = parse_iptables_save(save.encode(), "save", TableFamily.IP, Origin.IPTABLES_NFT)
    assert not read.gaps
    count = sum(len(chain.rules) for table in read.value for chain in table.chains.values())
    assert count == len(re.findall("^-A ", save, re.MULTILINE))
    return tuple(_bare(table) for table in read.value)


def _bare(table: NfTable) -> NfTable:
    """Without the lines that things were read from."""
    chains = {}
    for name, chain in sorted(table.chains.items()):
        base = replace(chain.base, evidence=SOMEWHERE) if chain.base else None
        chains[name] = replace(chain, base=base, rules=tuple(map(_bare_rule, chain.rules)))
    return replace(table, chains=MappingProxyType(chains))


def _bare_rule(rule: NfRule) -> NfRule:
    """The order of an iptables rule's matches means nothing: iptables itself puts `-s` before all modules."""
    *matches, target = rule.parts
    return replace(rule, parts=(*sorted(matches, key=str), target), evidence=SOMEWHERE)


def assert_round_trip(tool: str, text: str) -> None:
    first = saved(tool, text)
    again = saved(tool, restore_text(first))
    assert {t.name: dict(t.chains) for t in again} == {t.name: dict(t.chains) for t in first}


@pytest.mark.random
@pytest.mark.parametrize("tool", ["nft", "legacy"])
def test_random_rules(tool: str) -> None:
    @settings(
        max_examples=60,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(rules.iptables())
    def check(text: str) -> None:
        assert_round_trip(tool, text)

    check()


@pytest.mark.parametrize("tool", ["nft", "legacy"])
def test_what_is_not_modelled_is_kept_word_by_word(tool: str) -> None:
    assert_round_trip(tool, UNMODELLED)


@pytest.mark.parametrize("name", CAPTURES)
def test_rules_of_real_hosts(name: str) -> None:
    files = read_bundle(str(bundle_path(name))).files
    sets = files.get("host/ipset.txt", b"").decode()
    if sets:
        run("ipset", "restore", "-exist", text=sets)
    text = files["host/iptables-save.txt"].decode()
    if "*" in text:
        assert_round_trip("nft", text)
