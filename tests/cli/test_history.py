"""`diag history` and `diag baseline` on a folder with a few real snapshots."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from diag.bundle.reader import read_bundle
from diag.cli import main
from diag.history.store import Store
from diag.model.history import Record
from tests.history.bundles import NOTE
from tests.loading import bundle_path

CAPTURE = str(bundle_path("seed-d20"))


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(tmp_path_factory.mktemp("state"))
    store = Store.open(folder, create=True)
    bundle = read_bundle(CAPTURE)
    with store.lock():
        for findings in ((), (NOTE,)):
            store.add(bundle, Record(bundle.host, bundle.captured_at, findings=findings, healthy=not findings))
    return folder


def diag(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.mark.parametrize("words", [["history", "--state"], ["history", "--lang", "en", "--state"]])
def test_list(state: str, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert diag(*words, state) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[1].endswith("healthy, baseline")
    assert diag("history", "--format", "json", "--state", state) == 0
    assert [row["id"] for row in json.loads(capsys.readouterr().out)] == [1, 2]


def test_show(state: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert diag("history", "show", "latest", "--state", state, "--lang", "en") == 0
    assert "error: forwarding-disabled net.ipv4.ip_forward" in capsys.readouterr().out
    assert diag("history", "--state", state, "show", "baseline", "--format", "json") == 0
    assert json.loads(capsys.readouterr().out)["id"] == 1


def test_trend(state: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert diag("history", "trend", "--state", state, "--lang", "en") == 0
    assert "+ forwarding-disabled net.ipv4.ip_forward" in capsys.readouterr().out
    assert diag("history", "trend", "--state", state, "--format", "json") == 0
    assert len(json.loads(capsys.readouterr().out)) == 2


def test_export(state: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("x.tar.gz", "x.zip", "folder"):
        assert diag("history", "export", "2", "--state", state, "-o", str(tmp_path / name)) == 0
        found = read_bundle(str(tmp_path / name))
        assert found.files == read_bundle(CAPTURE).files
        assert found.gaps == ()
    assert "snapshot 2" in capsys.readouterr().err
    assert diag("history", "export", "2", "--state", state, "-o", str(tmp_path / "x.pdf")) == 2


def test_baseline(state: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert diag("baseline", "--state", state) == 0
    assert "1" in capsys.readouterr().out
    assert diag("baseline", "accept", "--state", state) == 0
    assert capsys.readouterr().err == "snapshot 2 is the baseline now, 1 finding accepted\n"
    assert diag("baseline", "show", "--state", state, "--lang", "en") == 0
    assert "forwarding-disabled net.ipv4.ip_forward" in capsys.readouterr().out
    assert diag("baseline", "accept", "1", "--state", state) == 0
    assert diag("baseline", "show", "--state", state, "--format", "json") == 0
    assert json.loads(capsys.readouterr().out)["accepted"] == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["history"], "no state folder. Name it with --state DIR"),
        (["history", "--state", "/no/such"], "/no/such is no state folder"),
        (["baseline", "accept", "77"], "there is no snapshot 77"),
        (["history", "show", "x"], "there is no snapshot x"),
    ],
)
def test_bad_cases_are_one_line(state: str, words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    if len(words) > 1 and "--state" not in words:
        words = [*words, "--state", state]
    assert diag(*words) == 2
    error = capsys.readouterr().err
    assert error.startswith("diag: ")
    assert said in error
    assert len(error.splitlines()) == 1


def test_a_folder_without_snapshots_has_no_baseline(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Store.open(str(tmp_path), create=True)
    assert diag("baseline", "--state", str(tmp_path)) == 2
    assert "there is no baseline" in capsys.readouterr().err
    assert diag("history", "--state", str(tmp_path), "--lang", "en") == 0
    assert capsys.readouterr().out == "There is no snapshot yet.\n"
