"""The rights that the systemd unit and the container have are enough for a whole capture, and each of them is needed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from diag.bundle.reader import read_bundle
from diag.model.bundle import Bundle
from tests.contrib.units import CONTRIB, capabilities, setting
from tests.live.lab import Engine

ROOT = CONTRIB.parent
CAPTURE = [sys.executable, "-m", "diag", "capture", "-o"]
_NO_EXECUTABLE_DATA = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(65, 1, 0, 0, 0); os.execvp(sys.argv[1], sys.argv[1:])"
)
"""PR_SET_MDWE, which is what MemoryDenyWriteExecute asks for; kernels before 6.3 do not know it."""


def with_rights(*names: str) -> list[str]:
    """The beginning of a command that runs as root with these capabilities."""
    assert setting("NoNewPrivileges") == setting("MemoryDenyWriteExecute") == "yes"
    kept = "".join(f",+{name}" for name in names)
    drop = ["setpriv", f"--bounding-set=-all{kept}", "--inh-caps=-all", "--no-new-privs"]
    return [*drop, sys.executable, "-c", _NO_EXECUTABLE_DATA]


@pytest.fixture(scope="module")
def private(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A container with a hosts file of its user's that only the user may read."""
    hosts = tmp_path_factory.mktemp("mounted") / "hosts"
    hosts.write_text("127.0.0.1 localhost\n")
    hosts.chmod(0o600)
    os.chown(hosts, 1000, 1000)
    engine.run_container("private", "--network=none", "-v", f"{hosts}:/etc/hosts")
    yield
    engine.docker("rm", "-f", "private")


@pytest.fixture
def legacy(tmp_path: Path) -> Iterator[str]:
    """A namespace with a rule of iptables-legacy."""
    name = f"diag-legacy-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        inside = ["nsenter", f"--net=/run/netns/{name}"]
        subprocess.run([*inside, "iptables-legacy", "-A", "INPUT", "-j", "ACCEPT"], check=True)
        yield f"/run/netns/{name}"
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


def captured(engine: Engine, folder: Path, *rights: str) -> Bundle:
    done = engine.run(*with_rights(*rights), *CAPTURE, str(folder / "bundle"))
    assert done.returncode == 0, done.stderr
    return read_bundle(str(folder / "bundle"))


def test_they_are_enough(engine: Engine, private: None, tmp_path: Path) -> None:
    bundle = captured(engine, tmp_path, *capabilities())
    assert {path: r.error for path, r in bundle.records.items() if r.error} == {}
    assert bundle.gaps == ()


@pytest.mark.parametrize("right", sorted(set(capabilities()) - {"net_raw"}))
def test_each_of_them_is_needed(engine: Engine, private: None, tmp_path: Path, right: str) -> None:
    bundle = captured(engine, tmp_path, *(name for name in capabilities() if name != right))
    assert any("permission" in r.error for r in bundle.records.values())


def test_raw_sockets_are_for_legacy_rules(engine: Engine, legacy: str, tmp_path: Path) -> None:
    for rights in (capabilities(), tuple(name for name in capabilities() if name != "net_raw")):
        target = tmp_path / str(len(rights))
        words = ["nsenter", f"--net={legacy}", *with_rights(*rights), *CAPTURE, str(target)]
        subprocess.run(words, env=engine.environment, check=True, capture_output=True, timeout=60)
        record = read_bundle(str(target)).records["host/iptables-legacy-save.txt"]
        assert ("permission" in record.error) is ("net_raw" not in rights)


def test_the_container_has_what_it_needs(engine: Engine, private: None, tmp_path: Path) -> None:
    """run.sh with this machine's own programs in the place of the image's, which needs a registry."""
    borrowed = {"/usr", "/lib", "/lib64", "/bin", "/sbin", "/etc/alternatives", sys.prefix, sys.base_prefix, str(ROOT)}
    mounts = [f"--volume={Path(place).resolve()}:{place}:ro" for place in sorted(borrowed) if Path(place).exists()]
    data = f"{engine.folder}/data/containers"
    options = [*mounts, f"--volume={data}:{data}:ro", f"--env=PYTHONPATH={ROOT}", f"--entrypoint={sys.executable}"]
    environment = {
        **engine.environment,
        "DOCKER_SOCKET": engine.url.removeprefix("unix://"),
        "IMAGE": "busybox",
        "STATE": str(tmp_path),
        "RUN_OPTIONS": " ".join(options),
    }
    words = ["nsenter", f"--net={engine.netns}", str(CONTRIB / "docker/run.sh"), *CAPTURE[1:], "/state/bundle"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    bundle = read_bundle(str(tmp_path / "bundle"))
    assert {path: r.error for path, r in bundle.records.items() if r.error} == {}
    assert sum(path.endswith("/hosts") for path in bundle.files) > 10
