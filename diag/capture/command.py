"""Programs of the host: no shell, no input, no translation, and never longer than allowed."""

from __future__ import annotations

import os
import shutil
import subprocess

from diag.capture.steps import Output, UnavailableError

_FOLDERS = ("/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin", "/usr/local/bin")
_MAX_STDERR = 2000


def find_program(name: str) -> str | None:
    """The full path of a program; the administrator's folders are looked at even if `PATH` lacks them."""
    return shutil.which(name, path=_search_path())


def _search_path() -> str:
    own = [folder for folder in os.environ.get("PATH", "").split(os.pathsep) if folder.startswith("/")]
    return os.pathsep.join([*_FOLDERS, *own])


def run_program(words: list[str], limit: float) -> Output:
    """Run a program in the calling thread's network namespace for at most `limit` seconds.

    Raises UnavailableError when it is not there, is killed at the limit, or fails without any output.
    """
    program = find_program(words[0])
    if program is None:
        raise UnavailableError(f"{words[0]} is not installed")
    environment = {"PATH": _search_path(), "LC_ALL": "C"}
    try:
        done = subprocess.run(  # noqa: S603  fixed words, full path
            [program, *words[1:]],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=limit,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UnavailableError(f"{words[0]} was not done within {limit:g} s and was ended") from None
    stderr = done.stderr.decode("utf-8", "replace").strip()[:_MAX_STDERR]
    if done.returncode == 0:
        return Output(done.stdout, 0, stderr)
    first = stderr.partition("\n")[0] or "it gave no reason"
    if "ermission" in stderr or "must be root" in stderr or "not permitted" in stderr:
        raise UnavailableError(f"{words[0]}: no permission: run as root")
    if not done.stdout.strip():
        raise UnavailableError(f"{words[0]} ended with status {done.returncode}: {first}")
    return Output(done.stdout, done.returncode, stderr, f"{words[0]} ended with status {done.returncode}: {first}")
