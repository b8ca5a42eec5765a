"""Which engine is asked, in the order of the Docker CLI."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from diag.capture.docker_context import Address, Tls, find_engine
from diag.capture.steps import UnavailableError


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


def context(home: Path, name: str, **endpoint: Any) -> str:
    digest = hashlib.sha256(name.encode()).hexdigest()
    folder = home / ".docker" / "contexts" / "meta" / digest
    folder.mkdir(parents=True)
    (folder / "meta.json").write_text(json.dumps({"Name": name, "Metadata": {}, "Endpoints": {"docker": endpoint}}))
    return digest


def use(home: Path, name: str) -> None:
    (home / ".docker").mkdir(exist_ok=True)
    (home / ".docker" / "config.json").write_text(json.dumps({"currentContext": name, "auths": {}}))


def test_default(home: Path) -> None:
    found = find_engine({"HOME": str(home)})
    assert found == Address()
    assert (found.is_local, found.path, str(found)) == (True, "/var/run/docker.sock", "unix:///var/run/docker.sock")


def test_order(home: Path) -> None:
    context(home, "one", Host="unix:///one.sock")
    context(home, "two", Host="tcp://10.0.0.1:2375")
    use(home, "one")
    environment = {"HOME": str(home)}
    assert find_engine(environment).path == "/one.sock"
    environment["DOCKER_CONTEXT"] = "two"
    assert find_engine(environment).url == "tcp://10.0.0.1:2375"
    assert not find_engine(environment).is_local
    environment["DOCKER_HOST"] = "ssh://root@web"
    assert find_engine(environment) == Address("ssh://root@web")
    environment = {"HOME": str(home), "DOCKER_CONTEXT": "default"}
    assert find_engine(environment) == Address()


def test_config_folder(home: Path) -> None:
    context(home, "one", Host="unix:///one.sock")
    environment = {"HOME": "/nowhere", "DOCKER_CONFIG": str(home / ".docker"), "DOCKER_CONTEXT": "one"}
    assert find_engine(environment).path == "/one.sock"


def test_tls(home: Path) -> None:
    digest = context(home, "safe", Host="tcp://h:2376", SkipTLSVerify=False)
    folder = home / ".docker" / "contexts" / "tls" / digest / "docker"
    folder.mkdir(parents=True)
    (folder / "ca.pem").touch()
    found = find_engine({"HOME": str(home), "DOCKER_CONTEXT": "safe"})
    assert found.tls == Tls(ca=str(folder / "ca.pem"))
    environment = {"HOME": str(home), "DOCKER_HOST": "tcp://h:2376", "DOCKER_CERT_PATH": str(folder)}
    assert find_engine(environment).tls is None
    assert find_engine({**environment, "DOCKER_TLS_VERIFY": "1"}).tls == Tls(ca=str(folder / "ca.pem"))


def test_broken_contexts(home: Path) -> None:
    digest = context(home, "odd")
    for name, said in (("gone", "no Docker context `gone`"), ("odd", "`odd` has no endpoint")):
        with pytest.raises(UnavailableError, match=said):
            find_engine({"HOME": str(home), "DOCKER_CONTEXT": name})
    meta = home / ".docker" / "contexts" / "meta" / digest / "meta.json"
    for text, said in (("{", "cannot be read"), ("[]", "is not a JSON object"), ('{"Endpoints": 1}', "no endpoint")):
        meta.write_text(text)
        with pytest.raises(UnavailableError, match=said):
            find_engine({"HOME": str(home), "DOCKER_CONTEXT": "odd"})
