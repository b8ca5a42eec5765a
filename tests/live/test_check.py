"""`diag check --state` on a real host: after each thing that is done to it, it says that and nothing else."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.live.lab import Engine

DIAG = [sys.executable, "-m", "diag"]


class Watched:
    """A host that is checked again and again, as by cron."""

    def __init__(self, engine: Engine, state: Path) -> None:
        self.engine, self.state = engine, state

    def check(self, status: int) -> dict[str, Any]:
        """The outcome, whose exit status has to be this."""
        self.engine.settle()
        done = self.engine.run(*DIAG, "check", "--format", "json", "--state", str(self.state))
        assert (done.returncode, done.stderr) == (status, ""), done.stdout
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def quiet(self) -> str:
        self.engine.settle()
        return self.engine.run(*DIAG, "check", "--quiet", "--state", str(self.state)).stdout

    def run(self, *words: str) -> str:
        done = self.engine.run(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def news(self, status: int) -> tuple[list[str], list[str], dict[str, Any]]:
        """What changed since the last run: subjects of changes, codes of new findings, and all of it."""
        last = self.check(status)["since_last"]
        return [c["subject"] for c in last["changes"]], [f["code"] for f in last["appeared"]], last


@pytest.fixture(scope="module")
def host(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    made = Watched(engine, tmp_path_factory.mktemp("watched") / "state")
    rules = made.run("iptables-save")
    yield made
    restored = engine.run("iptables-restore", input=rules)
    assert restored.returncode == 0, restored.stderr


def test_a_healthy_host_is_silent(host: Watched) -> None:
    first = host.check(0)
    assert (first["findings"], first["since_last"], first["since_baseline"]) == ([], None, None)
    assert host.quiet() == ""


def test_a_restart_is_a_line_and_no_news(host: Watched) -> None:
    host.engine.docker("restart", "-t", "0", "box1")
    changes, findings, last = host.news(0)
    assert (changes, findings, last["restarted"]) == ([], [], ["box1"])
    assert host.quiet() == ""


def test_a_network_disconnected(host: Watched) -> None:
    host.engine.docker("network", "disconnect", "test_net2", "box1")
    changes, findings, last = host.news(1)
    assert (changes, findings) == (["container box1"], [])
    assert all(flip["because"] == last["changes"] for flip in last["flips"])
    host.engine.docker("network", "connect", "test_net2", "box1")
    changes, findings, _ = host.news(0)
    assert (changes, findings) == (["container box1"], [])


def test_a_rule_in_docker_user(host: Watched) -> None:
    rule = ("-i", "docker0", "-o", "docker0", "-p", "tcp", "--dport", "5432", "-j", "DROP")
    host.run("iptables", "-I", "DOCKER-USER", *rule)
    changes, findings, last = host.news(1)
    assert changes == ["rules of filter DOCKER-USER"]
    assert set(findings) == {"same-network-filtered"}
    assert all(flip["because"] == last["changes"] for flip in last["flips"])
    host.run("iptables", "-D", "DOCKER-USER", *rule)
    assert host.check(0)["since_baseline"]["changes"] == []


def test_a_flush(host: Watched) -> None:
    host.run("iptables", "-F")
    changes, findings, last = host.news(1)
    assert changes == ["rules of filter"]
    assert findings
    assert all("rule" in code for code in findings), findings
    assert last["flips"]
    assert all(flip["because"] == last["changes"] for flip in last["flips"])


def test_without_rights_it_says_what_it_could_not_see(host: Watched, tmp_path: Path) -> None:
    drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all"]
    done = host.engine.run(*drop, *DIAG, "check", "--lang", "en", "--state", str(tmp_path / "state"))
    assert (done.returncode, done.stderr) == (0, "")
    assert "missing from the capture" in done.stdout
    assert "is as it should be as far as can be seen" in " ".join(done.stdout.split())
