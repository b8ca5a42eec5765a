"""`diag capture` on a real host: everything is there, it is what the tools say, and nothing else is."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from diag.bundle.layout import FACTS, Scope
from diag.bundle.reader import read_bundle
from diag.model.bundle import Bundle
from tests.live.lab import Engine, Place, listening, places

DIAG = [sys.executable, "-m", "diag"]
WITHOUT_CAPABILITIES = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all"]


@pytest.fixture(scope="module")
def bundle(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    archive = tmp_path_factory.mktemp("captured") / "x.tar.gz"
    started = time.monotonic()
    done = engine.run(*DIAG, "capture", "-o", str(archive))
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - started < 15
    assert archive.stat().st_mode & 0o777 == 0o600
    return read_bundle(str(archive))


def load(bundle: Bundle, path: str) -> Any:
    return json.loads(bundle.files[path])


def folders(bundle: Bundle) -> dict[str, str]:
    """Folder of each container by its name."""
    return {c["Name"].lstrip("/"): f"containers/{c['Id'][:12]}" for c in load(bundle, "docker/containers.json")}


def test_every_part_is_there(bundle: Bundle) -> None:
    assert bundle.gaps == ()
    assert {path: r.error for path, r in bundle.records.items() if r.error} == {}
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", bundle.captured_at)
    assert bundle.host == load(bundle, "docker/info.json")["Name"]
    optional = {"ip-link.json", "iptables-legacy-save.txt", "ip6tables-legacy-save.txt"}
    for folder, scope in (("host", Scope.HOST), ("docker", Scope.ENGINE), (folders(bundle)["ng1"], Scope.CONTAINER)):
        for fact in FACTS:
            if fact.scope & scope and fact.files[0] not in optional:
                assert f"{folder}/{fact.files[0]}" in bundle.files


def test_shared_namespaces_are_captured_once(bundle: Bundle) -> None:
    by_name = folders(bundle)
    assert f"{by_name['ng']}/ip-addr.json" in bundle.files
    for name in ("redis", "onhost"):
        assert f"{by_name[name]}/ip-addr.json" not in bundle.files
        assert f"{by_name[name]}/hosts" in bundle.files
    assert not any(path.startswith(by_name["made"]) for path in bundle.files)


def test_nothing_secret_is_in_it(bundle: Bundle) -> None:
    for path, content in bundle.files.items():
        assert b"swordfish" not in content, path
        assert b"/var/lib" not in content, path
        assert b"100000" not in content or not path.startswith("docker/"), path


COMMANDS = {
    "ip-addr": "ip -j -d addr show",
    "ip-route": "ip -j -4 route show table all",
    "ip6-route": "ip -j -6 route show table all",
    "ip-rule": "ip -j rule show",
    "ip6-rule": "ip -j -6 rule show",
    "bridge-link": "bridge -j -d link show",
    "bridge-fdb": "bridge -j fdb show",
}


def normal(document: Any) -> Any:
    """Without what changes by itself (lifetimes, learned entries), in any order."""
    if isinstance(document, dict):
        drop = ("valid_life_time", "preferred_life_time", "expires", "link_netns", "link_netnsid", "tentative")
        kept = {key: normal(value) for key, value in document.items() if key not in drop and not key.endswith("timer")}
        return {key: value for key, value in kept.items() if key != "linkinfo"}
    if isinstance(document, list):
        items = [normal(item) for item in document]
        stable = [i for i in items if not (isinstance(i, dict) and "mac" in i and i.get("state") in ("", "stale"))]
        return sorted(stable, key=lambda item: json.dumps(item, sort_keys=True))
    return document


@pytest.mark.parametrize("where", ["host", "ng2", "lonely"])
def test_facts_are_those_of_iproute2(engine: Engine, bundle: Bundle, where: str) -> None:
    pid = {place.name: place.pid for place in places(engine)}.get(where)
    netns = f"/proc/{pid}/ns/net" if pid else engine.netns
    folder = folders(bundle).get(where, "host")
    for name, command in COMMANDS.items():
        shown = subprocess.run(["nsenter", f"--net={netns}", *command.split()], capture_output=True, check=True)
        mine = load(bundle, f"{folder}/{name}.json")
        # A name in /run/netns makes `ip` print that instead of the number.
        assert normal(mine) == normal(json.loads(shown.stdout or b"[]")), command


def test_rules_are_those_of_the_tools(engine: Engine, bundle: Bundle) -> None:
    def rules(text: str) -> list[str]:
        return [re.sub(r"^\[\d+:\d+\] ", "", line) for line in text.splitlines() if "-A " in line]

    shown = engine.run("iptables-nft-save", "-c").stdout
    assert rules(bundle.files["host/iptables-save.txt"].decode()) == rules(shown)
    assert any("DOCKER-ISOLATION-STAGE-2" in line for line in rules(shown))
    captured = load(bundle, "host/nft-ruleset.json")["nftables"]
    live = json.loads(engine.run("nft", "-j", "list", "ruleset").stdout)["nftables"]
    assert [next(iter(entry)) for entry in captured] == [next(iter(entry)) for entry in live]


def test_sysctls_resolver_files_and_sockets(engine: Engine, bundle: Bundle) -> None:
    sysctl = bundle.files["host/sysctl.txt"].decode()
    assert "net.ipv4.ip_forward = 1\n" in sysctl
    assert "net.ipv4.conf.docker0.rp_filter = " in sysctl
    assert "net.bridge.bridge-nf-call-iptables = " in sysctl
    by_name = folders(bundle)
    for name in ("tomcat1", "ng1", "onhost", "redis"):
        for file in ("hosts", "resolv.conf"):
            seen = engine.run("docker", "exec", name, "cat", f"/etc/{file}").stdout
            assert bundle.files[f"{by_name[name]}/{file}"].decode() == seen
    assert b":0CEA 00000000:0000 0A" in bundle.files["host/proc-net-tcp.txt"]


def test_established_connections_stay_out(engine: Engine, tmp_path: Path) -> None:
    place: Place = next(p for p in places(engine) if p.name == "ng3")
    with listening([place]):
        sleeper = subprocess.Popen(
            ["nsenter", f"--net={engine.netns}", "busybox", "nc", place.addresses[0], "5432"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )
        try:
            assert engine.run(*DIAG, "capture", "-o", str(tmp_path / "x.zip")).returncode == 0
        finally:
            sleeper.kill()
            sleeper.communicate()
    captured = read_bundle(str(tmp_path / "x.zip"))
    rows = [line.split() for path, text in captured.files.items() if "proc-net-" in path for line in text.splitlines()]
    states = {(row[3]) for row in rows if row[0] != b"sl"}
    assert states <= {b"0A", b"07"}
    assert b":1538 " in captured.files[f"{folders(captured)['ng3']}/proc-net-tcp.txt"]


def test_standard_output(engine: Engine) -> None:
    command = ["nsenter", f"--net={engine.netns}", *DIAG, "capture", "-o", "-"]
    done = subprocess.run(command, env=engine.environment, capture_output=True, check=True)
    piped = subprocess.run([*DIAG, "pairs", "-f", "-"], input=done.stdout, capture_output=True, check=False)
    assert piped.returncode == 0, piped.stderr


def test_without_permission(engine: Engine, tmp_path: Path) -> None:
    """No capability: the engine still answers root's socket, and everything else says what it lacks."""
    done = engine.run(*WITHOUT_CAPABILITIES, *DIAG, "capture", "-o", str(tmp_path / "x.tar.zst"))
    assert done.returncode == 0, done.stderr
    assert "run as root" in done.stderr
    bundle = read_bundle(str(tmp_path / "x.tar.zst"))
    assert "docker/containers.json" in bundle.files
    assert "host/ip-addr.json" in bundle.files
    assert "host/iptables-save.txt" not in bundle.files
    assert bundle.records["host/iptables-save.txt"].error == "iptables-nft-save: no permission: run as root"
    inside = bundle.records[f"{folders(bundle)['ng1']}/ip-addr.json"]
    assert inside.error == "no permission to enter its network namespace: run as root"


def test_from_another_namespace(engine: Engine, tmp_path: Path) -> None:
    """Run beside the engine and not in its namespace, the bundle says that the host's part is not the engine's."""
    archive = tmp_path / "x.tar.gz"
    command = [*DIAG, "capture", "-o", str(archive)]
    done = subprocess.run(command, env=engine.environment, capture_output=True, text=True, check=True)
    assert "nsenter --net=/proc/" in done.stderr
    assert "another network namespace" in read_bundle(str(archive)).records["host/ip-addr.json"].error


def test_a_context_is_honoured(engine: Engine, tmp_path: Path) -> None:
    environment = {**engine.environment, "DOCKER_CONFIG": str(tmp_path / "config")}
    environment.pop("DOCKER_HOST")
    create = ["docker", "context", "create", "lab", "--docker", f"host={engine.url}"]
    subprocess.run(create, env=environment, check=True, capture_output=True)
    command = ["nsenter", f"--net={engine.netns}", *DIAG, "capture", "-o", str(tmp_path / "x.tar.gz")]
    environment["DOCKER_CONTEXT"] = "lab"
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "docker/containers.json" in read_bundle(str(tmp_path / "x.tar.gz")).files


def test_changes_nothing(engine: Engine, tmp_path: Path) -> None:
    def state() -> list[str]:
        commands = ("ip -j -4 route show table all", "ip -o link", "nft list ruleset", "cat /proc/net/ip_tables_names")
        counters = re.compile(r"packets \d+ bytes \d+")
        return [counters.sub("", engine.run(*command.split()).stdout) for command in commands]

    before = state()
    assert engine.run(*DIAG, "capture", "-o", str(tmp_path / "x.tar.gz")).returncode == 0
    assert state() == before
    assert [path.name for path in tmp_path.iterdir()] == ["x.tar.gz"]
