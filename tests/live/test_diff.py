"""What is said of changes of a real host: all of them, each as one, and nothing of a restart."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from diag.bundle.reader import read_bundle
from diag.model.analysis import Analysis
from diag.model.difference import Difference
from diag.model.reasons import Reachability
from diag.pipeline import analyse_snapshot, compare_analyses, parse_bundle
from tests.live.lab import Engine

DIAG = [sys.executable, "-m", "diag"]


class Host:
    """A host that is looked at again and again."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine, self.folder = engine, folder
        self.looks: list[Analysis] = [self.look()]
        self.rules = ""
        """Before they are changed."""

    def look(self) -> Analysis:
        self.engine.settle()
        archive = self.folder / f"{len(list(self.folder.iterdir()))}.zip"
        done = self.engine.run(*DIAG, "capture", "-o", str(archive))
        assert done.returncode == 0, done.stderr
        return analyse_snapshot(parse_bundle(read_bundle(str(archive))))

    def changed(self) -> Difference:
        """What changed since the last look."""
        self.looks.append(self.look())
        return compare_analyses(self.looks[-2], self.looks[-1])

    def run(self, *words: str) -> str:
        done = self.engine.run(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def host(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    made = Host(engine, tmp_path_factory.mktemp("looks"))
    yield made
    if made.rules:
        restored = engine.run("iptables-restore", input=made.rules)
        assert restored.returncode == 0, restored.stderr


def told(found: Difference) -> list[tuple[str, str]]:
    return [(change.subject, change.text) for change in found.changes]


def test_a_restart_of_everything_is_no_change(host: Host) -> None:
    running = host.engine.docker("ps", "--format", "{{.Names}}").split()
    first = {"ng", "mysql1"}  # others join them or link to them
    host.engine.docker("restart", "-t", "0", *first)
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda name: host.engine.docker("restart", "-t", "0", name), set(running) - first))
    found = host.changed()
    assert told(found) == []
    assert found.nothing
    assert len(found.restarted) == len(running)


def test_a_network_disconnected(host: Host) -> None:
    host.engine.docker("network", "disconnect", "test_net2", "ng2")
    found = host.changed()
    assert [subject for subject, _ in told(found)] == ["container ng2"]
    assert "ng2 was disconnected from test_net2" in found.changes[0].text
    assert {frozenset({s, d}) for f in found.flips for s in f.sources for d in f.destinations if s != d} == {
        frozenset({"ng2", "box1"}),
        frozenset({"ng2", "box2"}),
    }
    for flip in found.flips:
        assert (flip.before, flip.after) == (Reachability.REACHABLE, Reachability.UNREACHABLE)
        assert flip.because == found.changes
    assert {(n.container, n.name) for n in found.names} >= {("ng2", "box1"), ("box1", "ng2")}
    assert {n.container for n in found.names} == {"ng2", "box1", "box2"}


def test_two_things_at_once_and_a_rule_of_the_users(host: Host) -> None:
    host.engine.docker("network", "connect", "test_net2", "ng2")
    host.rules = host.run("iptables-save")
    host.run("iptables", "-I", "DOCKER-USER", "-i", "docker0", "-o", "docker0", "-j", "DROP")
    found = host.changed()
    connected, rule = found.changes
    assert connected.text.startswith("ng2 was connected to test_net2")
    assert (rule.subject, rule.text) == (
        "rules of filter DOCKER-USER",
        "rule 1 added: -A DOCKER-USER -i docker0 -o docker0 -j DROP.",
    )
    assert all(flip.because == (connected,) for flip in found.flips if flip.after is Reachability.REACHABLE)
    assert all(flip.because == (rule,) for flip in found.flips if flip.after is Reachability.UNREACHABLE)
    assert {flip.after for flip in found.flips} == {Reachability.REACHABLE, Reachability.UNREACHABLE}


def test_a_flush(host: Host) -> None:
    host.run("iptables", "-F")
    found = host.changed()
    assert [subject for subject, _ in told(found)] == ["rules of filter"]
    assert found.changes[0].text.endswith("rules of filter are gone.")
    assert found.flips
    assert all(flip.because == found.changes for flip in found.flips)
    assert found.names == ()
