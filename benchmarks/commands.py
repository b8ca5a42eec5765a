"""What is run and measured: commands as processes of their own, on hosts that are made in processes of their own."""

from __future__ import annotations

import compileall
import os
import platform
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diag
from benchmarks.measure import Usage
from benchmarks.plan import HostSpec

DIAG = (sys.executable, "-m", "diag")
TOO_LONG = ">"
"""What the problem of a process starts with that was over its limit."""

_PATIENCE = 600.0
"""Seconds for what is not measured."""


@dataclass(frozen=True, slots=True)
class Command:
    """Something to measure."""

    name: str
    words: tuple[str, ...]
    statuses: frozenset[int] = frozenset({0})
    """Exit statuses that are answers and not failures."""

    def problem(self, usage: Usage, limit: float, stderr: Path) -> str:
        """Why a run of it gives no figures; empty where it does."""
        if not usage.in_time:
            return f"{TOO_LONG} {limit:g} s"
        if usage.status in self.statuses:
            return ""
        said = stderr.read_text("utf-8", "replace").strip().splitlines()
        return f"failed with {usage.status}: {said[-1] if said else 'no message'}"


def compile_as_installed() -> None:
    """Byte code for the package, which pip makes when it installs; an interpreter may be told to write none."""
    package = Path(diag.__file__).parent
    compileall.compile_dir(package, quiet=1)


def failed(problem: str) -> bool:
    """Whether a problem is another one than taking too long."""
    return bool(problem) and not problem.startswith(TOO_LONG)


def make_host(spec: HostSpec, folder: Path) -> str:
    """Write a host in another process, for this one's memory is in every figure, see :class:`Usage`.

    Returns what the generator says: rules, files, size, time.
    """
    values = ("containers", "networks", "published", "multihomed", "admin_rules", "seed")
    options = [word for name in values for word in (f"--{name.replace('_', '-')}", str(getattr(spec, name)))]
    options += [*["--distinct"] * spec.distinct, *["--ipv6"] * spec.ipv6]
    said = python("benchmarks.hosts", str(folder), *options)
    return said.partition(": ")[2].strip()


def python(module: str, *words: str) -> str:
    """Run a module and return what it prints. Raises CalledProcessError where it fails, TimeoutExpired where it hangs."""
    command = [sys.executable, "-m", module, *words]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=_PATIENCE).stdout


def exit_when_terminated() -> None:
    """Make SIGTERM an exception, so that what was started is ended and removed."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


def circumstances() -> dict[str, Any]:
    """When and on what the figures were measured."""
    machine = {
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "architecture": platform.machine(),
    }
    return {"machine": machine, "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}


def sizes(text: str) -> tuple[int, ...]:
    """Numbers with commas between them.

    >>> sizes("100,200")
    (100, 200)
    """
    return tuple(int(part) for part in text.split(","))
