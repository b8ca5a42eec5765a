"""Nothing leaves the engine's answers but what is named, whatever they hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diag.bundle.reader import read_bundle
from diag.capture import redact

CAPTURES = Path(__file__).parents[2] / "fixtures" / "captures"
SECRET = "swordfish"  # noqa: S105
FORBIDDEN = {"Env", "Cmd", "Args", "Entrypoint", "Mounts", "Binds", "Volumes", "HostsPath", "LogPath", "GraphDriver"}
FORBIDDEN |= {"RegistryConfig", "HttpProxy", "HttpsProxy", "NoProxy", "Healthcheck", "Secrets", "Plugins", "Warnings"}


def poisoned(value: Any) -> Any:
    """The document with a secret beside every field, under a name nobody has heard of."""
    if isinstance(value, dict):
        return {key: poisoned(part) for key, part in value.items()} | {"NewField": SECRET, SECRET: [SECRET]}
    if isinstance(value, list):
        return [poisoned(part) for part in value]
    return value


def keys(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value) | {key for part in value.values() for key in keys(part)}
    if isinstance(value, list):
        return {key for part in value for key in keys(part)}
    return set()


@pytest.mark.parametrize("capture", ["seed-d20", "seed-d28", "published-d29nft"])
def test_real_answers_keep_the_network_and_lose_the_rest(capture: str) -> None:
    files = read_bundle(str(CAPTURES / capture / "bundle.tar.gz")).files
    containers = json.loads(files["docker/containers.json"])
    for original in containers:
        original["Config"]["Env"] = [f"PASSWORD={SECRET}"]
        original["Config"]["Labels"] = {"com.docker.compose.project": "shop", "deploy": SECRET}
        kept = redact.container(original)
        assert SECRET not in json.dumps(kept)
        assert not keys(kept) & FORBIDDEN
        assert kept["Config"]["Labels"] == {"com.docker.compose.project": "shop"}
        for part in ("NetworkMode", "Links", "ExtraHosts", "PortBindings"):
            assert kept["HostConfig"][part] == original["HostConfig"][part]
        for name, endpoint in (original["NetworkSettings"]["Networks"] or {}).items():
            assert kept["NetworkSettings"]["Networks"][name] == endpoint
        assert kept["NetworkSettings"]["Ports"] == original["NetworkSettings"]["Ports"]
    for original in json.loads(files["docker/networks.json"]):
        kept = redact.network(original)
        assert kept["IPAM"] == {k: v for k, v in original["IPAM"].items() if k != "Options"}
        assert (kept["Containers"], kept["Options"]) == (original["Containers"], original["Options"])
    kept = redact.info(json.loads(files["docker/info.json"]))
    assert not keys(kept) & FORBIDDEN
    assert kept["Swarm"]["LocalNodeState"] == "inactive"
    assert redact.version(json.loads(files["docker/version.json"])["Server"])["ApiVersion"]


@pytest.mark.parametrize("name", ["containers", "networks", "info", "version"])
def test_unknown_fields_are_dropped_everywhere(name: str) -> None:
    document = json.loads(read_bundle(str(CAPTURES / "seed-d28" / "bundle.tar.gz")).files[f"docker/{name}.json"])
    rules = {"containers": redact.container, "networks": redact.network, "info": redact.info, "version": redact.version}
    for item in document if isinstance(document, list) else [document]:
        kept = rules[name](poisoned(item))
        for key in ("Ports", "PortBindings", "ExposedPorts", "Networks", "Containers"):
            _forget_data_key(kept, key)
        assert SECRET not in json.dumps(kept)
        assert "NewField" not in keys(kept)


def _forget_data_key(value: Any, name: str) -> None:
    """Drop the poison where keys are data (names of networks and ports): there it is indistinguishable from them."""
    if isinstance(value, dict):
        if isinstance(value.get(name), dict):
            value[name].pop(SECRET, None)
            value[name].pop("NewField", None)
        for part in value.values():
            _forget_data_key(part, name)


def test_options_and_labels_are_chosen_by_name() -> None:
    options = {
        "com.docker.network.bridge.name": "br-x",
        "parent": "eth0.7",
        "encrypted": "",
        "vendor.password": SECRET,
        "com.docker.networkx": SECRET,
    }
    kept = redact.network({"Options": options, "Labels": {"owner": SECRET}, "IPAM": {"Options": {"key": SECRET}}})
    assert kept["Options"] == {"com.docker.network.bridge.name": "br-x", "parent": "eth0.7", "encrypted": ""}
    assert kept["Labels"] == {}
    assert SECRET not in json.dumps(kept)


def test_null_stays_null() -> None:
    assert redact.container({"Id": "x", "HostConfig": None, "NetworkSettings": {"Networks": None, "Ports": None}}) == {
        "Id": "x",
        "HostConfig": None,
        "NetworkSettings": {"Ports": None, "Networks": None},
    }


@pytest.mark.apart
@given(st.recursive(st.none() | st.text() | st.integers(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)))
def test_answers_of_any_shape(document: Any) -> None:
    fields = ("Config", "HostConfig", "NetworkSettings", "State", "IPAM", "Options", "Labels", "Swarm", "Containers")
    for rule in (redact.container, redact.network, redact.info, redact.version):
        rule(document)
        rule(dict.fromkeys(fields, document))
