"""The installed wheel works outside the checkout, templates and schemas included."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.loading import bundle_path

pytestmark = pytest.mark.apart
ROOT = Path(__file__).parent.parent


def run(*command: str, cwd: Path, **environment: str) -> bytes:
    environment = {**os.environ, **environment}
    return subprocess.run(command, cwd=cwd, env=environment, check=True, capture_output=True, timeout=240).stdout


def test_an_installed_wheel_makes_every_report(tmp_path: Path) -> None:
    run(sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path / "dist"), str(ROOT), cwd=tmp_path)
    wheel = next((tmp_path / "dist").glob("docker_diag-*.whl"))
    run(sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv"), cwd=tmp_path)
    python = str(tmp_path / "venv/bin/python")
    pip = (sys.executable, "-m", "pip", "--python", python)
    run(*pip, "install", "-q", "--no-deps", "--no-index", str(wheel), cwd=tmp_path)
    # Its dependencies are those of this environment; the package itself comes from the wheel.
    libraries = {"PYTHONPATH": sysconfig.get_path("purelib")}
    where = run(python, "-c", "import diag; print(diag.__file__)", cwd=tmp_path, **libraries).decode()
    assert where.startswith(str(tmp_path / "venv"))
    outputs = [str(tmp_path / f"r.{suffix}") for suffix in ("html", "pdf", "md", "json", "txt")]
    words = [word for name in outputs for word in ("-o", name)]
    run(python, "-m", "diag", "report", "-f", str(bundle_path("seed-d20")), *words, cwd=tmp_path, **libraries)
    assert all(Path(name).stat().st_size > 1000 for name in outputs)
    for name in ("analysis", "bundle", "health", "policy"):
        assert json.loads(run(python, "-m", "diag", "schema", name, cwd=tmp_path, **libraries))
