"""The engine's answers: kept in part, bounded in time, and never a traceback."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from diag.capture.docker_context import Address
from diag.capture.docker_engine import Engine, elsewhere, in_other_netns
from diag.capture.steps import Item, Job, run_jobs
from tests.capture.fake_engine import FakeEngine, silence

IDS = [digit * 64 for digit in "abcdef"]


def container(id_: str, name: str, **more: Any) -> dict[str, Any]:
    return {
        "Id": id_,
        "Name": f"/{name}",
        "State": {"Status": "running", "Running": True, "Pid": 4711},
        "Config": {"Hostname": name, "Env": ["PASSWORD=swordfish"], "Cmd": ["swordfish"]},
        "HostConfig": {"NetworkMode": "bridge", "Binds": ["/swordfish:/x"]},
        "NetworkSettings": {"Networks": {}, "SandboxKey": f"/run/docker/netns/{name}"},
        "HostsPath": f"/var/lib/docker/{name}/hosts",
        "Mounts": [{"Source": "/swordfish", "Destination": "/etc/hosts"}],
        **more,
    }


def listed(id_: str, name: str) -> dict[str, Any]:
    return {
        "Id": id_,
        "Names": [f"/{name}"],
        "Image": "busybox",
        "State": "running",
        "Command": "swordfish",
        "HostConfig": {"NetworkMode": "net1"},
        "NetworkSettings": {"Networks": {"net1": {"IPAddress": "10.0.0.2", "NetworkID": "n"}}},
    }


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., FakeEngine]]:
    """Starts fake engines and stops them."""
    engines: list[FakeEngine] = []

    def start(answers: dict[str, Any] | None = None) -> FakeEngine:
        engines.append(FakeEngine(tmp_path / f"{len(engines)}.sock", answers or {}))
        return engines[-1]

    yield start
    for engine in engines:
        engine.shutdown()
        engine.server_close()


def ask(url: str, limit: float = 5.0) -> tuple[Engine, dict[str, Item]]:
    engine = Engine(Address(url), limit)
    items = run_jobs([Job("engine", engine.steps())], limit=60)
    engine.close()
    return engine, {item.path: item for item in items}


def document(item: Item) -> Any:
    assert item.content is not None, item.record.error
    return json.loads(item.content)


def test_answers_are_redacted_and_remembered(serve: Callable[..., FakeEngine]) -> None:
    fake = serve(
        {
            "/containers/json": [listed(IDS[0], "web")],
            f"/containers/{IDS[0]}/json": container(IDS[0], "web"),
            "/networks": [{"Id": "n", "Name": "net1"}],
            "/networks/n": {"Id": "n", "Name": "net1", "Driver": "bridge", "Containers": {}, "Secret": "swordfish"},
            "/info": {"Name": "host-1", "KernelVersion": "6.1", "HttpProxy": "http://swordfish@proxy"},
        }
    )
    engine, items = ask(fake.url)
    assert all(item.content is not None and b"swordfish" not in item.content for item in items.values())
    assert document(items["docker/version.json"]) == {
        "Server": {"Version": "27.1.0", "ApiVersion": "1.46", "MinAPIVersion": "1.24", "Os": "linux"}
    }
    assert document(items["docker/info.json"]) == {"Name": "host-1", "KernelVersion": "6.1"}
    assert document(items["docker/networks.json"])[0]["Driver"] == "bridge"
    assert document(items["docker/containers.json"])[0]["Config"] == {"Hostname": "web"}
    (live,) = engine.containers
    assert (live.id, live.pid, live.own_hosts, live.own_resolv, live.joined) == (IDS[0], 4711, True, False, False)
    assert live.folder == "containers/aaaaaaaaaaaa"


@pytest.mark.parametrize("api", ["1.24", "1.41", "1.52"])
def test_the_version_is_negotiated(serve: Callable[..., FakeEngine], api: str) -> None:
    fake = serve({"/version": {"Version": "x", "ApiVersion": api}})
    _, items = ask(fake.url)
    assert document(items["docker/info.json"]) == {"Name": "fake"}
    assert any(path.startswith(f"/v{api}/info") for path in fake.asked)


def test_a_silent_engine_costs_one_limit(serve: Callable[..., FakeEngine]) -> None:
    fake = serve({"/version": silence()})
    started = time.monotonic()
    _, items = ask(fake.url, limit=0.5)
    assert time.monotonic() - started < 3
    assert {item.record.error for item in items.values()} == {
        f"the engine at {fake.url} did not answer within 0.5 s",
    }


def test_an_engine_that_accepts_and_says_nothing(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "hung.sock"))
        listener.listen()
        started = time.monotonic()
        _, items = ask(f"unix://{tmp_path}/hung.sock", limit=0.5)
    assert time.monotonic() - started < 3
    assert "did not answer within 0.5 s" in items["docker/containers.json"].record.error


def test_one_container_that_hangs(serve: Callable[..., FakeEngine]) -> None:
    fake = serve(
        {
            "/containers/json": [listed(IDS[0], "stuck"), listed(IDS[1], "web")],
            f"/containers/{IDS[0]}/json": silence(),
            f"/containers/{IDS[1]}/json": container(IDS[1], "web"),
        }
    )
    _, items = ask(fake.url, limit=0.5)
    item = items["docker/containers.json"]
    stuck, web = document(item)
    assert web["Name"] == "/web"
    assert stuck["Name"] == "/stuck"
    assert stuck["State"] == {"Status": "running", "Running": True}
    assert stuck["HostConfig"] == {"NetworkMode": "net1"}
    assert stuck["NetworkSettings"]["Networks"]["net1"]["IPAddress"] == "10.0.0.2"
    assert item.record.error == "the engine did not show these containers in full: stuck"


def test_many_that_hang_are_not_waited_for(serve: Callable[..., FakeEngine]) -> None:
    hung = {f"/containers/{id_}/json": silence() for id_ in IDS}
    fake = serve({"/containers/json": [listed(id_, f"c{i}") for i, id_ in enumerate(IDS)], **hung})
    started = time.monotonic()
    _, items = ask(fake.url, limit=0.4)
    assert time.monotonic() - started < 3
    assert len(document(items["docker/containers.json"])) == 6
    assert items["docker/containers.json"].record.error.endswith("c0, c1, c2, c3, c4 and 1 more")


def test_containers_that_went_away_are_left_out(serve: Callable[..., FakeEngine]) -> None:
    fake = serve({"/containers/json": [listed(IDS[0], "gone")], "/networks": [{"Id": "n", "Name": "gone"}]})
    _, items = ask(fake.url)
    for name in ("containers", "networks"):
        assert document(items[f"docker/{name}.json"]) == []
        assert items[f"docker/{name}.json"].record.error == ""


@pytest.mark.parametrize("broken", [(500, {"message": "database\n is locked"}), (200, b"{"), (200, b""), (200, "text")])
def test_an_engine_that_talks_nonsense(serve: Callable[..., FakeEngine], broken: Any) -> None:
    fake = serve({"/info": broken, "/networks": broken, "/containers/json": broken})
    _, items = ask(fake.url)
    assert document(items["docker/version.json"])["Server"]["Version"] == "27.1.0"
    for name in ("networks", "containers"):
        error = items[f"docker/{name}.json"].record.error
        assert error
        assert "\n" not in error


def test_no_engine(tmp_path: Path) -> None:
    _, items = ask(f"unix://{tmp_path}/none.sock")
    assert items["docker/info.json"].record.error == (
        f"there is no engine at unix://{tmp_path}/none.sock: start Docker, or set DOCKER_HOST"
    )
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(tmp_path / "dead.sock"))
    dead.close()
    _, items = ask(f"unix://{tmp_path}/dead.sock")
    assert "nothing answers at" in items["docker/info.json"].record.error


@pytest.mark.parametrize("url", ["gopher://x", "tcp://", "unix://", "nonsense", "tcp://127.0.0.1:1", "ssh://"])
def test_addresses_that_lead_nowhere(url: str) -> None:
    _, items = ask(url, limit=2)
    for item in items.values():
        assert item.content is None or url == "unix://"
        assert item.record.error or url == "unix://"


def test_elsewhere() -> None:
    remote = Engine(Address("tcp://10.0.0.1:2375"), 1)
    assert elsewhere(remote) == "the engine at tcp://10.0.0.1:2375 is another host: run `diag capture` there"
    local = Engine(Address(), 1)
    assert elsewhere(local) == ""
    local.info = {"KernelVersion": os.uname().release}
    assert elsewhere(local) == ""
    local.info = {"KernelVersion": "6.6.0-linuxkit"}
    assert "another kernel (6.6.0-linuxkit)" in elsewhere(local)


def test_a_socket_of_this_namespace(serve: Callable[..., FakeEngine]) -> None:
    assert in_other_netns(Address(serve().url), 1) == ""
    assert in_other_netns(Address("unix:///no/such"), 1) == ""
