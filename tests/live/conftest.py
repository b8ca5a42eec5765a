"""A real engine with the scenario that the project was created from."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.lab import Engine

_PROGRAMS = ("dockerd", "docker", "ip", "nsenter", "iptables-save", "nft")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "/tests/live/" in item.path.as_posix():
            item.add_marker(pytest.mark.live)


def why_not() -> str:
    """What keeps a real engine from running here; empty when nothing does."""
    if os.geteuid() != 0:
        return "not root"
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    if not any(Path(p).exists() for p in ("/bin/busybox", "/usr/bin/busybox")):
        missing.append("busybox-static")
    return f"not installed: {', '.join(missing)}" if missing else ""


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine with the seed's walk: the predefined networks, two of the user's, links, joins, published ports.

    Where it cannot run the tests are skipped, except in CI, which must have what it takes.
    """
    reason = why_not()
    if reason and os.environ.get("CI"):
        pytest.fail(f"the live tests cannot run in CI: {reason}")
    if reason:
        pytest.skip(reason)
    engine = Engine(f"diag-live-{os.getpid()}", tmp_path_factory.mktemp("engine"))
    try:
        engine.start()
        _play(engine)
        engine.settle()
        yield engine
    finally:
        engine.stop()


def _play(engine: Engine) -> None:
    engine.run_container("lonely", "--network=none")
    engine.run_container("onhost", "--network=host")
    engine.run_container("ng3")
    engine.run_container("ng4")
    engine.docker("network", "create", "test_net1")
    engine.docker("network", "create", "--subnet", "173.20.0.0/16", "--gateway", "173.20.0.1", "test_net2")
    for network, address in (("test_net1", "172.19.0.5"), ("test_net2", "172.20.0.2")):
        refused = engine.docker("run", "--rm", "--network", network, "--ip", address, "busybox", "echo", fails=True)
        assert "subnet" in refused
    engine.run_container("box1", "--network=test_net2")
    engine.run_container("box2", "--network=test_net2", "--ip", "173.20.0.4")
    engine.run_container("ng1", "--network=test_net1", "-e", "PASSWORD=swordfish", "--label", "owner=swordfish")
    engine.run_container("ng2", "--network=test_net1")
    engine.docker("network", "connect", "test_net2", "ng2")
    engine.run_container("mysql1", "-p", "3306:3306")
    engine.run_container("tomcat1", "-p", "8080:8080", "--link", "mysql1")
    engine.docker("network", "create", "--subnet", "192.168.0.0/16", "--gateway", "192.168.0.1", "myBridge")
    engine.run_container("tomcat2", "--network=myBridge")
    engine.docker("network", "connect", "myBridge", "ng4")
    engine.run_container("ng")
    engine.run_container("redis", "--network=container:ng")
    engine.docker("create", "--name", "made", "busybox", "sleep", "1")
