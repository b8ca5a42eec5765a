"""Programs: found, bounded, and with a reason when they give nothing."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from diag.capture.command import find_program, run_program
from diag.capture.steps import UnavailableError


def script(folder: Path, body: str) -> str:
    program = folder / "fake-tool"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    return "fake-tool"


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"relative:{tmp_path}")
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    monkeypatch.setenv("SECRET", "swordfish")
    return tmp_path


def test_output_and_warnings(tools: Path) -> None:
    output = run_program([script(tools, "echo out; echo '# Warning' >&2; env"), "-c"], 5)
    assert output.content.startswith(b"out\n")
    assert b"LC_ALL=C" in output.content
    assert b"swordfish" not in output.content
    assert (output.exit_status, output.stderr, output.incomplete) == (0, "# Warning", "")


def test_failures_have_reasons(tools: Path) -> None:
    for body, said in (
        ("echo 'cannot do it' >&2; exit 3", "fake-tool ended with status 3: cannot do it"),
        ("exit 1", "fake-tool ended with status 1: it gave no reason"),
        ("echo 'Permission denied (you must be root)' >&2; exit 4", "fake-tool: no permission: run as root"),
    ):
        with pytest.raises(UnavailableError) as refused:
            run_program([script(tools, body)], 5)
        assert str(refused.value) == said
    with pytest.raises(UnavailableError, match="no-such-tool is not installed"):
        run_program(["no-such-tool"], 5)


def test_half_an_output_is_kept_and_marked(tools: Path) -> None:
    output = run_program([script(tools, "echo half; echo oops >&2; exit 2")], 5)
    assert (output.content, output.exit_status) == (b"half\n", 2)
    assert output.incomplete == "fake-tool ended with status 2: oops"


def test_a_program_that_hangs_is_ended(tools: Path) -> None:
    started = time.monotonic()
    with pytest.raises(UnavailableError, match=r"not done within 0\.2 s"):
        run_program([script(tools, "exec sleep 30")], 0.2)
    assert time.monotonic() - started < 5


def test_the_administrators_folders_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert find_program("sh")
    monkeypatch.setenv("PATH", ".")
    assert find_program("no-such-tool") is None
