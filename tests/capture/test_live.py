"""A capture as a whole: with an engine of any kind or none, it ends, and says what it lacks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from diag.capture import live, procfs
from diag.capture.live import CaptureOptions, capture_live
from diag.capture.steps import UnavailableError
from diag.errors import CaptureError
from diag.model.bundle import Bundle
from tests.capture.fake_engine import FakeEngine, silence

QUICK = CaptureOptions(timeout=20, engine_timeout=0.5, program_timeout=5)
ENGINE_FILES = {f"docker/{name}.json" for name in ("version", "info", "networks", "containers")}
IDS = [digit * 64 for digit in "abcd"]


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEngine]:
    """A fake engine, which DOCKER_HOST names."""
    fake = FakeEngine(tmp_path / "docker.sock", {})
    monkeypatch.setenv("DOCKER_HOST", fake.url)
    yield fake
    fake.shutdown()
    fake.server_close()


@pytest.fixture
def sleepers(make_netns: Callable[[], str]) -> Iterator[list[int]]:
    """Process ids: two in one namespace, one in another."""
    one, other = make_netns(), make_netns()
    made = [subprocess.Popen(["nsenter", f"--net=/run/netns/{name}", "sleep", "100"]) for name in (one, one, other)]
    for process in made:
        while os.readlink(f"/proc/{process.pid}/ns/net") == os.readlink("/proc/self/ns/net"):
            time.sleep(0.01)
    yield [process.pid for process in made]
    for process in made:
        process.kill()
        process.wait()


def serve(engine: FakeEngine, *containers: dict[str, Any], **info: Any) -> None:
    engine.answers["/info"] = {"Name": "fake", "KernelVersion": os.uname().release, **info}
    engine.answers["/containers/json"] = [{"Id": c["Id"], "Names": [c["Name"]]} for c in containers]
    engine.answers |= {f"/containers/{c['Id']}/json": c for c in containers}


def container(id_: str, pid: int, mode: str = "bridge", **more: Any) -> dict[str, Any]:
    state = {"Pid": pid, "Status": "running" if pid else "created"}
    return {"Id": id_, "Name": f"/{id_[:3]}", "State": state, "HostConfig": {"NetworkMode": mode}, **more}


def errors(bundle: Bundle) -> dict[str, str]:
    return {path: record.error for path, record in bundle.records.items() if record.error}


def test_without_an_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    bundle = capture_live(QUICK)
    assert {"host/ip-addr.json", "host/sysctl.txt", "host/proc-net-tcp.txt"} <= bundle.files.keys()
    assert errors(bundle).keys() >= ENGINE_FILES
    assert "start Docker" in errors(bundle)["docker/info.json"]
    assert (bundle.source, bundle.host) == ("live", os.uname().nodename)


def test_without_a_usable_context(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setenv("DOCKER_CONTEXT", "no-such-context")
    assert "no Docker context `no-such-context`" in errors(capture_live(QUICK))["docker/info.json"]


def test_a_silent_engine(engine: FakeEngine) -> None:
    engine.answers["/version"] = silence()
    started = time.monotonic()
    bundle = capture_live(QUICK)
    assert time.monotonic() - started < 5
    assert "did not answer within 0.5 s" in errors(bundle)["docker/containers.json"]
    assert "host/ip-addr.json" in bundle.files


def test_the_whole_capture_is_limited(engine: FakeEngine) -> None:
    serve(engine)
    engine.answers["/networks"] = silence()
    started = time.monotonic()
    bundle = capture_live(CaptureOptions(timeout=2, engine_timeout=60))
    assert time.monotonic() - started < 4
    assert "docker/version.json" in bundle.files
    assert errors(bundle)["docker/networks.json"] == "not done within the time limit of 2 s for the whole capture"


def test_namespaces_are_captured_once_and_by_their_owner(
    engine: FakeEngine, sleepers: list[int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(procfs, "belongs_to", lambda *_: True)
    (tmp_path / "hosts").write_bytes(b"172.17.0.2 web\n")
    serve(
        engine,
        container(IDS[0], sleepers[0], f"container:{IDS[1]}"),
        container(IDS[1], sleepers[1], HostsPath=str(tmp_path / "hosts")),
        container(IDS[2], sleepers[2]),
        container(IDS[3], 0),
    )
    told: list[tuple[str, int, int]] = []
    bundle = capture_live(QUICK, lambda *words: told.append(words))
    folders = {path.rsplit("/", 1)[0] for path in bundle.files if path.endswith("ip-addr.json")}
    assert folders == {"host", f"containers/{IDS[1][:12]}", f"containers/{IDS[2][:12]}"}
    assert bundle.files[f"containers/{IDS[1][:12]}/hosts"] == b"172.17.0.2 web\n"
    assert f"containers/{IDS[1][:12]}/proc-net-udp.txt" in bundle.files
    assert not any(IDS[3][:12] in path for path in bundle.records)
    assert bundle.host == "fake"
    assert told[-1][1] == told[-1][2] == len(told)
    links = json.loads(bundle.files[f"containers/{IDS[1][:12]}/ip-addr.json"])
    assert [link["ifname"] for link in links] == ["lo"]
    assert os.readlink("/proc/self/ns/net") == os.readlink("/proc/thread-self/ns/net")


def test_process_ids_that_are_another_machines(engine: FakeEngine, sleepers: list[int]) -> None:
    """Docker Desktop: the socket is here, and the processes are not."""
    serve(engine, container(IDS[0], sleepers[0]), container(IDS[1], 1 << 22))
    bundle = capture_live(QUICK)
    for id_ in IDS[:2]:
        assert "is not that container's, or is gone" in errors(bundle)[f"containers/{id_[:12]}/ip-addr.json"]
    assert "host/ip-addr.json" in bundle.files


def test_an_engine_on_another_kernel(engine: FakeEngine, sleepers: list[int]) -> None:
    serve(engine, container(IDS[0], sleepers[0]), KernelVersion="6.6.12-linuxkit")
    bundle = capture_live(QUICK)
    assert bundle.files.keys() == ENGINE_FILES
    for path in ("host/ip-addr.json", "host/nft-ruleset.json", f"containers/{IDS[0][:12]}/hosts"):
        assert "another kernel (6.6.12-linuxkit)" in errors(bundle)[path]


def test_a_remote_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    with pytest.raises(CaptureError) as refused:
        capture_live(QUICK)
    assert "nothing could be captured: nothing answers at tcp://127.0.0.1:1" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_other_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(CaptureError, match="works on Linux only"):
        capture_live(QUICK)


def test_dockers_own_namespaces(
    engine: FakeEngine,
    make_netns: Callable[[], str],
    sleepers: list[int],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(procfs, "belongs_to", lambda *_: True)
    netns = make_netns()
    for name in ("1-k3x8", "ingress_sbox", "0a1b2c3d4e5f", "default"):
        (tmp_path / name).symlink_to(f"/run/netns/{make_netns() if name == 'ingress_sbox' else netns}")
    sandbox = {"SandboxKey": f"{tmp_path}/0a1b2c3d4e5f"}
    serve(engine, container(IDS[0], sleepers[0], NetworkSettings=sandbox))
    bundle = capture_live(QUICK)
    owners = {path.split("/")[1] for path in bundle.files if path.startswith("netns/")}
    assert owners == {"1-k3x8", "ingress_sbox"}
    assert {"netns/1-k3x8/ip-addr.json", "netns/1-k3x8/bridge-fdb.json"} <= bundle.files.keys()


def test_a_defect_costs_one_part(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(engine)

    def fail(_: str) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(procfs, "_read_sysctl", fail)
    assert errors(capture_live(QUICK)) == {"host/sysctl.txt": "internal error: ZeroDivisionError: "}


def test_engine_trouble_of_unforeseen_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise UnavailableError("odd")

    monkeypatch.setattr(live, "find_engine", fail)
    assert errors(capture_live(QUICK))["docker/info.json"] == "odd"
