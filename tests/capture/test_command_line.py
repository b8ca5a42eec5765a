"""`diag capture` and `--from`, with a capture that is made up."""

from __future__ import annotations

import io
import sys
import time
from pathlib import Path
from typing import Any

import click
import pytest

from diag.bundle.reader import read_bundle
from diag.bundle.writer import write_bundle
from diag.capture import live
from diag.cli import main
from diag.cli.capture import default_name
from diag.cli.source import capture_progress, load_bundle, source_option
from diag.errors import CaptureError
from diag.model.bundle import Bundle, FileRecord

NO_NFT = FileRecord("nft -j list ruleset", error="nft is not installed")
CAPTURED = Bundle(
    "live",
    {"host/hosts": b"127.0.0.1 localhost\n", "containers/0123456789ab/hosts": b""},
    {"host/nft-ruleset.json": NO_NFT, "host/ipset.txt": NO_NFT, "docker/info.json": FileRecord("x", error="no engine")},
    "web 1",
    "2026-11-24T04:00:00Z",
)


@pytest.fixture(autouse=True)
def made_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
    """No real capture; the options of each are noted."""
    asked: list[Any] = []

    def capture(options: Any, progress: Any = None) -> Bundle:
        asked.append(options)
        if progress:
            progress("the host", 1, 2)
        return CAPTURED

    monkeypatch.setattr(live, "capture_live", capture)
    monkeypatch.chdir(tmp_path)
    return asked


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["capture", *words])
    return int(ended.value.code or 0)


def test_default_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    (file,) = tmp_path.iterdir()
    assert file.name == "diag-web_1-20261124T040000Z.tar.gz"
    assert read_bundle(str(file)).files == CAPTURED.files
    assert default_name(Bundle("live", {}, host="../", captured_at="")) == "diag-_-.tar.gz"
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [
        "diag-web_1-20261124T040000Z.tar.gz: 2 files, 1 containers",
        (
            "not complete: host/nft-ruleset.json and 1 more (packets may meet nftables rules that were not captured): "
            "nft is not installed"
        ),
        "not complete: docker/info.json: no engine",
    ]


def test_named_output_and_limit(made_up: list[Any]) -> None:
    assert run("-o", "x.zip", "--timeout", "7") == 0
    assert read_bundle("x.zip").files == CAPTURED.files
    assert made_up[0].timeout == 7


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-o", "x.html"], "x.html is not a form of bundle. Use .tar.gz"),
        (["-o", "no/such/x.zip"], "the folder no/such does not exist"),
        (["--timeout", "0"], "--timeout"),
        (["surplus"], "surplus"),
    ],
)
def test_mistakes_are_found_before_the_capture(
    words: list[str], said: str, made_up: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*words) == 2
    assert made_up == []
    text = capsys.readouterr().err
    assert said in text
    assert text.count("\n") == 1


def test_standard_output(monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    assert run("-o", "-") == 0
    said = capsysbinary.readouterr()
    assert read_bundle("-", io.BytesIO(said.out)).files == CAPTURED.files
    assert said.err.startswith(b"standard output: 2 files")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert run("-o", "-") == 2


def test_a_full_disk(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fail)
    assert run("-o", "x.zip") == 2
    assert capsys.readouterr().err == "diag: cannot write x.zip: No space left on device\n"


def test_nothing_to_capture(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(*_: object) -> Bundle:
        raise CaptureError("nothing could be captured", why="not root", hint="Run it as root")

    monkeypatch.setattr(live, "capture_live", fail)
    assert run() == 2
    assert capsys.readouterr().err == "diag: nothing could be captured: not root. Run it as root\n"


def test_source(tmp_path: Path, made_up: list[Any]) -> None:
    write_bundle(CAPTURED, str(tmp_path / "live"))
    assert load_bundle("live") is CAPTURED
    assert len(made_up) == 1
    assert load_bundle("./live").source == "./live"

    @click.command()
    @source_option
    def command(source: str) -> None:
        click.echo(source)

    (option,) = command.params
    assert (option.name, option.opts, option.default) == ("source", ["-f", "--from"], "live")


def test_progress_is_for_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    with capture_progress() as progress:
        assert progress is None

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with capture_progress() as progress:
        assert progress is not None
        progress("container abc", 3, 7)
        time.sleep(0.2)
    assert "capturing container abc" in terminal.getvalue()
    assert "3/7" in terminal.getvalue()
