"""One process, measured, within a limit."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from benchmarks.measure import measure


def test_a_process_is_measured(tmp_path: Path) -> None:
    code = "import sys; block = bytearray(64 << 20); print(sum(range(2_000_000))); sys.exit(3)"
    used = measure([sys.executable, "-c", code], 30, tmp_path / "out")
    assert used.in_time
    assert used.status == 3
    assert 0 < used.cpu <= used.wall + 0.1
    assert used.rss > 64
    assert (tmp_path / "out").read_text() == "1999999000000\n"


def test_a_process_has_the_environment_that_it_is_given(tmp_path: Path) -> None:
    code = "import os; print(os.environ['ANSWER'])"
    assert measure([sys.executable, "-c", code], 30, tmp_path / "out", environment={"ANSWER": "42"}).status == 0
    assert (tmp_path / "out").read_text() == "42\n"


def test_a_process_is_ended_at_its_limit_with_its_children(tmp_path: Path) -> None:
    code = "import subprocess, time; print(subprocess.Popen(['sleep', '60']).pid, flush=True); time.sleep(60)"
    started = time.monotonic()
    used = measure([sys.executable, "-c", code], 2, tmp_path / "out")
    assert not used.in_time
    assert used.status < 0
    assert 2 <= time.monotonic() - started < 20
    assert _ended(int((tmp_path / "out").read_text()))


def _ended(pid: int) -> bool:
    """Whether a process is gone, or dead and only not waited for, within some seconds."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (ProcessLookupError, FileNotFoundError):
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False
