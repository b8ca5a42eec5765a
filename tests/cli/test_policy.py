"""`diag policy` and what goes with it on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from diag.capture import redact
from diag.cli import cli, source
from diag.errors import DiagError, UsageError
from diag.model.bundle import Bundle
from diag.parse.docker_objects import parse_containers
from tests.loading import bundle_path

SEED = str(bundle_path("forward_off-d29"))


def run(*words: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(cli, ["policy", *words], input=stdin, standalone_mode=False)


def error(*words: str) -> str:
    found = run(*words).exception
    assert isinstance(found, DiagError)
    return str(found)


def test_init_and_check(tmp_path: Path) -> None:
    path = str(tmp_path / "policy.yaml")
    assert run("init", "-f", SEED, "-o", path).exception is None
    written = Path(path).read_text()
    assert written.startswith("# What ")
    assert run("init", "-f", SEED).stdout == written
    assert run("check", path).stdout == f"{path}: 4 expectations\n"
    assert "is there already" in error("init", "-f", SEED, "-o", path)
    assert run("init", "-f", SEED, "-o", path, "--force").exception is None
    assert Path(path).read_text() == written


def test_init_of_a_compose_file(tmp_path: Path) -> None:
    path = tmp_path / "shop" / "compose.yaml"
    path.parent.mkdir()
    path.write_text("services: {a: {depends_on: [b]}, b: {ports: ['${P}:1']}}")
    text = run("init", "--compose", str(path)).stdout
    assert text.startswith("# What the Compose project shop is for.\n")
    assert text.endswith("# - the port ${P}:1 of b, which depends on a variable or is not understood\n")
    assert "{compose: other/a}" in run("init", "--compose", str(path), "--project", "other").stdout
    assert "{compose: x/a}" in run("init", "--compose", "-", "--project", "x", stdin=path.read_text()).stdout
    path.write_text("services: {a: {network_mode: none}}")
    assert "gives nothing to expect: what a reaches" in error("init", "--compose", str(path))


def test_wrong_words(tmp_path: Path) -> None:
    assert "exclude each other" in error("init", "-f", SEED, "--compose", "x")
    assert "--project is for --compose" in error("init", "-f", SEED, "--project", "x")
    assert "written as YAML" in error("init", "-f", SEED, "-o", "p.toml")
    assert "cannot write" in error("init", "-f", SEED, "-o", str(tmp_path / "no" / "p.yaml"))
    assert "cannot read" in error("check", str(tmp_path / "no.yaml"))
    assert isinstance(run("init", "--compose", str(tmp_path / "no.yaml")).exception, DiagError)
    assert not isinstance(run("check", str(tmp_path)).exception, UsageError)


@pytest.mark.parametrize("data", [b"\xff", b"version: 1\nreach: 5", b""])
def test_a_policy_that_cannot_be_read(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "p.yaml"
    path.write_bytes(data)
    text = error("check", str(path))
    assert str(path) in text
    assert "\n" not in text


def test_the_schema_is_printed() -> None:
    found = CliRunner().invoke(cli, ["schema", "policy"], standalone_mode=False)
    assert json.loads(found.stdout)["$id"] == "urn:docker-diag:schema:policy:1"


def test_labels_are_kept_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    empty = Bundle("live", {})

    def capture(options: object, progress: object) -> Bundle:
        asked.append(getattr(options, "labels", None))
        return empty

    monkeypatch.setattr("diag.capture.live.capture_live", capture)
    assert source.load_bundle("live", frozenset({"tier"})) is empty
    assert source.load_bundle("live") is empty
    assert asked == [frozenset({"tier"}), frozenset()]


def test_only_labels_that_are_asked_for() -> None:
    labels = {"tier": "data", "token": "swordfish", "com.docker.compose.project": "shop", "tier.secret": "x"}
    whole = {"Id": "1", "Config": {"Labels": labels, "Env": ["A=b"]}}
    kept = redact.container_with(frozenset({"tier"}))(whole)
    assert kept == {"Id": "1", "Config": {"Labels": {"tier": "data", "com.docker.compose.project": "shop"}}}
    assert redact.container_with(frozenset())(whole) == redact.container(whole)
    assert redact.container(whole)["Config"]["Labels"] == {"com.docker.compose.project": "shop"}


def test_labels_of_a_bundle_are_read() -> None:
    text = b'[{"Id": "1", "Name": "/a", "Config": {"Labels": {"tier": "data", "odd": 1}}}]'
    (container,) = parse_containers(text, "docker/containers.json").value
    assert container.labels == (("tier", "data"),)
