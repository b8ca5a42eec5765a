"""The units are as systemd wants them, and let the service do little."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.contrib.units import PROGRAM, SERVICE, TIMER, setting
from tests.programs import program

pytestmark = pytest.mark.apart
EXPOSURE = 3.0
"""Of 10: what `systemd-analyze security` gave in systemd 252 (2.9), and a little for newer versions."""


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units, with a program that is there."""
    assert setting("ExecStart").startswith(PROGRAM)
    (tmp_path / SERVICE.name).write_text(SERVICE.read_text().replace(PROGRAM, shutil.which("true") or ""))
    shutil.copy(TIMER, tmp_path)
    return tmp_path


def analyze(folder: Path, *words: str) -> str:
    done = subprocess.run([program("systemd-analyze"), *words], cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_systemd_has_nothing_to_say(units: Path) -> None:
    assert analyze(units, "verify", "--man=no", f"./{SERVICE.name}", f"./{TIMER.name}") == ""


def test_the_service_is_hardened(units: Path) -> None:
    said = analyze(units, "security", "--offline=true", f"./{SERVICE.name}")
    found = re.search(r"Overall exposure level for \S+ ([\d.]+)", said)
    assert found, said
    assert float(found[1]) <= EXPOSURE


def test_the_timer_spreads_hosts_and_makes_up_for_what_was_missed() -> None:
    text = TIMER.read_text()
    assert re.search(r"^RandomizedDelaySec=\d+min$", text, re.MULTILINE)
    assert "Persistent=yes" in text
