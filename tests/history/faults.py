"""Everything that may befall a run, and whether the state folder outlives it.

    python -m tests.history.faults --kills 200 --pairs 50

After each fault every snapshot that was there reads back as it was, the next run works, and nothing is left lying about.
Needs root for the full disk (a small tmpfs). Prints how many faults were tried and survived, of each kind.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from benchmarks.history import day
from diag.bundle.reader import read_bundle
from diag.bundle.writer import write_bundle
from diag.errors import DiagError
from diag.history.store import Store
from diag.model.history import Record
from tests.loading import bundle_path

COMMAND = ("diag", "check", "--quiet")
"""The module that stores a bundle, and its first words; it takes `--state`, `-f` and `--keep`."""
KEEPER = ("tests.history.keeper",)
"""The same without the check, for many faults in a short time."""
STORED = frozenset({0, 1})
"""Exit statuses of a run that stored its snapshot."""
KEEP = 6
"""Snapshots of the folders in which retention is at work all the time."""
_OWN = frozenset({"lock", "index.sqlite", "baseline", "snapshots"})
_LIMIT = 90.0
_GRACE = 10.0
FAILED = 2
_DAY = 86400.0
_KIB = 1024

Contents = dict[int, int]
"""Snapshots by number, as hashes of their files."""


@dataclass
class Tally:
    """How the faults of one kind went."""

    kind: str
    tried: int = 0
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.kind}: {self.tried} tried, {self.tried - len(self.problems)} survived"


class Lab:
    """Bundles of consecutive hours, and a program that stores them."""

    def __init__(
        self, folder: Path, command: Sequence[str] = COMMAND, capture: str = "seed_connected-d20", hours: int = 26
    ) -> None:
        self.folder = folder
        self.command = tuple(command)
        self.random = Random(7)  # noqa: S311  the same faults each time
        self.bundles: list[Path] = []
        self.hashes: set[int] = set()
        self._number = 0
        for hour, bundle in enumerate(day(read_bundle(str(bundle_path(capture))), hours)):
            path = folder / f"hour-{hour}.tar.zst"
            write_bundle(bundle, str(path))
            self.bundles.append(path)
            self.hashes.add(_hash(bundle.files))

    def start(self, state: Path, *options: str, at: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        """A run that stores the next bundle; `at` are options of :mod:`tests.history.at`."""
        self._number += 1
        bundle = self.bundles[self._number % len(self.bundles)]
        around = ["-m", "tests.history.at", *at] if at else ["-m"]
        words = [*around, *self.command, "--state", str(state), "-f", str(bundle), *options]
        return subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def run(self, state: Path, *options: str, at: Sequence[str] = ()) -> tuple[int, str]:
        """Exit status and message of such a run."""
        return _ended(self.start(state, *options, at=at))

    def state(self, name: str, snapshots: int = 3) -> Path:
        """A state folder with some snapshots."""
        path = self.folder / name
        store = Store.open(str(path), create=True)
        for source in self.bundles[:snapshots]:
            bundle = read_bundle(str(source))
            with store.lock():
                store.add(bundle, Record(bundle.host, bundle.captured_at))
        return path

    def after(self, state: Path, before: Contents, *options: str) -> str:
        """What a fault broke; empty for nothing. `before` are the snapshots that must still be there."""
        try:
            known = contents(state)
            if lost := _lost(before, known):
                return f"lost before the next run: {lost}"
            status, message = self.run(state, *options)
            if status not in STORED:
                return f"the next run fails: {message}"
            now = contents(state)
        except (DiagError, OSError) as error:
            return f"cannot be read: {error}"
        if lost := _lost(before, now):
            return f"lost by the next run: {lost}"
        if max(now) <= max(known, default=0) or not set(now.values()) <= self.hashes:
            return "the next run has stored nothing, or something else"
        left = {path.name for path in state.iterdir()} - _OWN
        left |= {path.name for path in (state / "snapshots").iterdir() if path.name.startswith(".")}
        return f"left lying about: {left}" if left else ""


def contents(state: Path) -> Contents:
    """Everything that can be read. Raises DiagError when the folder as such cannot."""
    found: Contents = {}
    if (state / "snapshots").is_dir():
        store = Store.open(str(state))
        for entry in store.records():
            with contextlib.suppress(DiagError):
                found[entry.id] = _hash(store.get(entry.id).files)
    return found


def _hash(files: object) -> int:
    return hash(frozenset(dict(files).items()))  # type: ignore[call-overload]


def _lost(before: Contents, now: Contents) -> list[int]:
    return [number for number, content in before.items() if now.get(number) != content]


def _ended(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    try:
        _, message = process.communicate(timeout=_LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        _, message = process.communicate()
        return -1, f"it hangs {message.decode()}"
    return process.returncode, message.decode("utf-8", "replace").strip()


# Faults


def kills(lab: Lab, count: int) -> Tally:
    """SIGKILL at a random moment; every other time where retention has something to remove."""
    tally = Tally("killed at a random moment")
    plain, tight = lab.state("killed"), lab.state("killed-tight", KEEP)
    started = time.monotonic()
    lab.run(plain)
    longest = (time.monotonic() - started) * 1.1
    for number in range(count):
        state, options = (tight, ("--keep", str(KEEP))) if number % 2 else (plain, ())
        before = contents(state)
        if options:
            before = dict(sorted(before.items())[-(KEEP - 2) :])
        process = lab.start(state, *options)
        time.sleep(lab.random.uniform(0, longest))
        process.kill()
        _ended(process)
        _note(tally, lab.after(state, before, *options))
    return tally


def steps(lab: Lab, every: int = 1) -> Tally:
    """SIGKILL before each thing that a run does to a file."""
    tally = Tally("killed at each step")
    state = lab.state("steps", KEEP)
    options = ("--keep", str(KEEP))
    step = 1
    while True:
        before = dict(sorted(contents(state).items())[-(KEEP - 2) :])
        status, _ = lab.run(state, *options, at=("--step", str(step), "--within", str(state)))
        if status != -9:
            return tally
        _note(tally, lab.after(state, before, *options))
        step += every


def first_run(lab: Lab, every: int = 1) -> Tally:
    """The same where there is no folder yet."""
    tally = Tally("killed at each step of the first run")
    step = 1
    while True:
        state = lab.folder / f"first-{step}"
        status, _ = lab.run(state, at=("--step", str(step), "--within", str(state)))
        if status != -9:
            return tally
        _note(tally, lab.after(state, {}))
        step += every


def pairs(lab: Lab, count: int) -> Tally:
    """Two runs that start together: both store their snapshot."""
    tally = Tally("two runs at once")
    state = lab.state("pairs")
    for _ in range(count):
        before = contents(state)
        ended = [_ended(process) for process in (lab.start(state), lab.start(state))]
        problem = "; ".join(message for status, message in ended if status not in STORED)
        if not problem and len(contents(state)) != len(before) + 2:
            problem = "one of the two was lost"
        _note(tally, problem or lab.after(state, before))
    return tally


def full_disk(lab: Lab, count: int) -> Tally:
    """No space left, from none at all to nearly enough. Raises RuntimeError without the right to mount."""
    tally = Tally("full disk")
    with _small_disk(lab.folder / "disk") as disk:
        state = lab.state("disk/state", KEEP)
        for number in range(count):
            before = contents(state)
            left = (number % 12) * 4 * _KIB
            ballast = _fill(disk, left)
            status, message = lab.run(state, "--keep", str(KEEP))
            problem = "" if status in STORED or (status == 2 and "space" in message) else message
            older = dict(sorted(before.items())[-(KEEP - 2) :])
            if lost := _lost(older, contents(state)):
                problem = f"lost on the full disk: {lost}"
            ballast.unlink()
            _note(tally, problem or lab.after(state, older, "--keep", str(KEEP)))
    return tally


@contextlib.contextmanager
def _small_disk(folder: Path) -> Iterator[Path]:
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"cannot mount a small tmpfs, which takes root: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def _fill(disk: Path, left: int) -> Path:
    """Take all space but `left` bytes."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as stream, contextlib.suppress(OSError):
        while True:
            stream.write(bytes(4 * _KIB))
    with ballast.open("r+b") as stream:
        stream.truncate(max(0, ballast.stat().st_size - left))
    return ballast


def _corrupt(path: Path, random: Random) -> str:
    """Do something bad to a file; what it was."""
    content = path.read_bytes()
    what = random.choice(("flipped", "cut", "emptied", "removed", "overwritten"))
    at = random.randrange(len(content))
    if what == "flipped":
        path.write_bytes(content[:at] + bytes([content[at] ^ 1 << random.randrange(8)]) + content[at + 1 :])
    elif what == "cut":
        path.write_bytes(content[:at])
    elif what == "emptied":
        path.write_bytes(b"")
    elif what == "removed":
        path.unlink()
    else:
        path.write_bytes(random.randbytes(len(content)))
    return what


def damaged_newest(lab: Lab, count: int) -> Tally:
    """The newest snapshot is not what was written."""
    tally = Tally("damaged newest snapshot")
    state = lab.state("newest")
    for _ in range(count):
        before = contents(state)
        before.pop(max(before))
        newest = max((state / "snapshots").iterdir())
        what = _corrupt(newest, lab.random)
        _note(tally, lab.after(state, before), f"{newest.name} {what}")
    return tally


def damaged_file(lab: Lab, name: str, count: int) -> Tally:
    """The index or the baseline is not what was written, or is gone."""
    tally = Tally(f"damaged {name}")
    state = lab.state(f"damaged-{name}")
    store = Store.open(str(state))
    with store.lock():
        wanted = store.set_baseline(2, {("forwarding-disabled", "net.ipv4.ip_forward")})
    for number in range(count):
        before = contents(state)
        what = _corrupt(state / name, lab.random)
        if name == "index.sqlite" and number % 4 == 0:
            (state / "index.sqlite-journal").write_bytes(lab.random.randbytes(2000))
            what += ", foreign journal"
        problem = lab.after(state, before)
        if not problem and Store.open(str(state)).baseline() != wanted:
            problem = "the baseline is another one"
        _note(tally, problem, what)
    return tally


def clock(lab: Lab, count: int) -> Tally:
    """The clock goes back, or far ahead and back."""
    tally = Tally("clock that jumps")
    state = lab.state("clock")
    for _ in range(count):
        before = contents(state)
        days = lab.random.choice((-4000, -400, -1, -0.01, 30, 400, 4000))
        status, message = lab.run(state, at=("--clock", str(days * _DAY)))
        problem = "" if status in STORED else message
        _note(tally, problem or lab.after(state, before), f"{days} days")
    return tally


def hung_daemon(lab: Lab, count: int) -> Tally:
    """The engine takes connections and never answers: the run ends in time, says so, and stores nothing."""
    tally = Tally("daemon that hangs")
    state = lab.state("hung")
    path = lab.folder / "hung.sock"
    with socket.socket(socket.AF_UNIX) as daemon:
        daemon.bind(str(path))
        daemon.listen(64)
        for number in range(count):
            before = contents(state)
            limit = 3 if number % 2 else 60
            words = [
                "unshare",
                "--net",
                sys.executable,
                "-m",
                "diag",
                "check",
                "--state",
                str(state),
                "--timeout",
                str(limit),
            ]
            environment = {**os.environ, "DOCKER_HOST": f"unix://{path}"}
            started = time.monotonic()
            status, message = _ended(
                subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment)
            )
            problem = "" if status == FAILED and message.count("\n") == 0 else f"status {status}: {message}"
            if time.monotonic() - started > limit + _GRACE:
                problem = "it takes longer than it may"
            if contents(state) != before:
                problem = "something was stored"
            _note(tally, problem or lab.after(state, before))
    return tally


def _note(tally: Tally, problem: str, detail: str = "") -> None:
    tally.tried += 1
    if problem:
        tally.problems.append(f"{detail}: {problem}" if detail else problem)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 1 when a fault was not survived."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.history.faults", description="Break runs, look at the store."
    )
    parser.add_argument("--kills", type=int, default=200, metavar="N")
    parser.add_argument("--pairs", type=int, default=50, metavar="N")
    parser.add_argument("--others", type=int, default=50, metavar="N", help="faults of each other kind")
    parser.add_argument("command", nargs="*", default=COMMAND, help="module and first words (default: %(default)s)")
    options = parser.parse_args(arguments)
    bad = False
    with tempfile.TemporaryDirectory() as folder:
        for fault in all_faults(Lab(Path(folder), options.command), options.kills, options.pairs, options.others):
            tally = fault()
            sys.stdout.write("\n".join([str(tally), *(f"  {problem}" for problem in tally.problems), ""]))
            sys.stdout.flush()
            bad = bad or bool(tally.problems)
    return 1 if bad else 0


def all_faults(lab: Lab, many: int, together: int, others: int) -> list[Callable[[], Tally]]:
    """Every kind of fault, so many times each."""
    return [
        lambda: kills(lab, many),
        lambda: steps(lab),
        lambda: first_run(lab),
        lambda: pairs(lab, together),
        lambda: full_disk(lab, others),
        lambda: damaged_newest(lab, others),
        lambda: damaged_file(lab, "index.sqlite", others),
        lambda: damaged_file(lab, "baseline", others),
        lambda: clock(lab, others),
        lambda: hung_daemon(lab, max(1, others // 10)),
    ]


if __name__ == "__main__":
    sys.exit(main())
