"""The packet filter: both variants, nothing run that is not needed, and nothing made by looking."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from diag.capture import netfilter, netns
from diag.capture.steps import Output, UnavailableError


@pytest.fixture
def space(make_netns: Callable[[], str]) -> str:
    missing = [name for name in ("iptables-nft-save", "iptables-legacy-save", "nft", "ipset") if not shutil.which(name)]
    assert not missing, f"not installed: {missing}"
    return make_netns()


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    netfilter.variants.cache_clear()
    yield
    netfilter.variants.cache_clear()


def run(space: str, *words: str) -> None:
    subprocess.run(["nsenter", f"--net=/run/netns/{space}", *words], check=True)


def collect(space: str, folder: str = "host") -> dict[str, Output | str | None]:
    """What each step gives: an output, nothing, or the reason there is none."""

    def attempt() -> dict[str, Output | str | None]:
        netns.enter(f"/run/netns/{space}")
        found: dict[str, Output | str | None] = {}
        for step in netfilter.steps(folder, 5.0):
            try:
                found[step.path.partition("/")[2]] = step.run()
            except UnavailableError as error:
                found[step.path.partition("/")[2]] = str(error)
        return found

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(attempt).result()


def content(found: Output | str | None) -> str:
    assert isinstance(found, Output), found
    return found.content.decode()


def tables(space: str) -> tuple[str, str]:
    """What the namespace has, as the kernel says."""
    names = ["nsenter", f"--net=/run/netns/{space}", "cat", "/proc/net/ip_tables_names", "/proc/net/ip6_tables_names"]
    nft = ["nsenter", f"--net=/run/netns/{space}", "nft", "list", "tables"]
    return tuple(subprocess.run(c, capture_output=True, text=True, check=False).stdout for c in (names, nft))  # type: ignore[return-value]


def test_a_namespace_without_rules_stays_without(space: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netfilter, "run_program", lambda *_: pytest.fail("a program was run"))
    monkeypatch.setattr(
        netfilter, "variants", lambda family: (f"{family}tables-nft-save", f"{family}tables-legacy-save")
    )
    found = collect(space, "containers/x")
    assert found["x/iptables-legacy-save.txt"] is None
    assert content(found["x/iptables-save.txt"]).startswith("# ")
    assert json.loads(content(found["x/nft-ruleset.json"])) == {"nftables": []}
    assert tables(space) == ("", "")


def test_nft_rules(space: str) -> None:
    run(space, "iptables-nft", "-t", "nat", "-A", "OUTPUT", "-d", "127.0.0.11", "-j", "ACCEPT")
    run(space, "nft", "add", "table", "inet", "mine")
    before = tables(space)
    found = collect(space)
    assert "[0:0] -A OUTPUT -d 127.0.0.11/32 -j ACCEPT" in content(found["iptables-save.txt"])
    assert "-A" not in content(found["ip6tables-save.txt"])
    assert found["iptables-legacy-save.txt"] is None
    entries = json.loads(content(found["nft-ruleset.json"]))["nftables"]
    assert {"mine", "nat"} <= {entry["table"]["name"] for entry in entries if "table" in entry}
    assert tables(space) == before


def test_both_variants_at_once(space: str) -> None:
    run(space, "iptables-nft", "-A", "INPUT", "-s", "10.1.0.0/16", "-j", "DROP")
    run(space, "iptables-legacy", "-A", "INPUT", "-s", "10.2.0.0/16", "-j", "DROP")
    before = tables(space)
    found = collect(space)
    assert "10.1.0.0/16" in content(found["iptables-save.txt"])
    assert "10.2.0.0/16" not in content(found["iptables-save.txt"])
    assert "10.2.0.0/16" in content(found["iptables-legacy-save.txt"])
    assert found["ip6tables-legacy-save.txt"] is None
    assert tables(space) == before


def test_sets(space: str) -> None:
    run(space, "ipset", "create", "friends", "hash:net")
    run(space, "ipset", "add", "friends", "10.3.0.0/16")
    run(space, "iptables-nft", "-A", "FORWARD", "-m", "set", "--match-set", "friends", "src", "-j", "ACCEPT")
    assert "add friends 10.3.0.0/16" in content(collect(space)["ipset.txt"])
    assert "add friends 10.3.0.0/16" in content(collect(space, "containers/x")["x/ipset.txt"])


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the only place for programs."""
    monkeypatch.setattr("diag.capture.command._FOLDERS", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def link(tools: Path, name: str, target: str) -> None:
    found = shutil.which(target, path="/usr/sbin:/sbin:/usr/bin")
    assert found
    (tools / name).symlink_to(found)


def test_only_the_plain_name(space: str, tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Older systems have `iptables-save` alone; `--version` tells which variant it is."""
    (tools / "iptables-save").write_text("#!/bin/sh\necho 'iptables-save v1.8.9 (nf_tables)'\n")
    (tools / "iptables-save").chmod(0o755)
    assert netfilter.variants("ip") == ("iptables-save", None)
    netfilter.variants.cache_clear()
    (tools / "iptables-save").write_text("#!/bin/sh\necho 'iptables-save v1.6.1'\n")
    assert netfilter.variants("ip") == (None, "iptables-save")
    assert netfilter.variants("ip6") == (None, None)


def test_no_program_at_all(space: str, tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = collect(space)
    assert content(found["iptables-save.txt"]) == "# this namespace has no legacy tables\n"
    assert json.loads(content(found["nft-ruleset.json"])) == {"nftables": []}
    monkeypatch.setattr(netfilter, "nft_families", lambda: frozenset({2}))
    monkeypatch.setattr(netfilter, "legacy_tables", lambda family: ["filter"] if family == "ip" else [])
    found = collect(space)
    assert found["nft-ruleset.json"] == "nft is not installed"
    assert "neither iptables-save nor python-iptables is installed" in str(found["iptables-save.txt"])
    assert collect(space, "containers/x")["x/iptables-save.txt"] == "iptables-save is not installed"


def test_an_nft_without_json(space: str, tools: Path) -> None:
    subprocess.run(["/usr/sbin/nft", "list", "tables"], check=False)
    netns_words = ["/usr/bin/nsenter", f"--net=/run/netns/{space}", "/usr/sbin/nft", "add", "table", "ip", "mine"]
    subprocess.run(netns_words, check=True)
    (tools / "nft").write_text(
        '#!/bin/sh\ncase $1 in -j) echo "Error: JSON support not compiled-in" >&2; exit 1;; esac\necho "table ip mine {}"\n'
    )
    (tools / "nft").chmod(0o755)
    found = collect(space)["nft-ruleset.json"]
    assert isinstance(found, Output)
    assert (found.path, found.content) == ("host/nft-ruleset.txt", b"table ip mine {}\n")


def test_families(space: str) -> None:
    def inside() -> frozenset[int] | None:
        netns.enter(f"/run/netns/{space}")
        return netfilter.nft_families()

    def families() -> frozenset[int] | None:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(inside).result()

    assert families() == frozenset()
    for family in ("ip", "ip6", "inet", "bridge"):
        run(space, "nft", "add", "table", family, "t")
    assert families() == frozenset({1, 2, 7, 10})


def test_a_chain_of_a_device_is_listed_with_it(space: str) -> None:
    """JSON of some versions leaves the device out; then the text is captured instead."""
    run(space, "ip", "link", "add", "br-x", "type", "bridge")
    run(space, "nft", "add table netdev d; add chain netdev d c { type filter hook ingress device br-x priority 0; }")
    found = collect(space)["nft-ruleset.json"]
    assert isinstance(found, Output)
    assert b"br-x" in found.content
    assert (found.path == "host/nft-ruleset.txt") == (not found.content.startswith(b"{"))
