"""What people do today against `diag pairs`, on one real host in one run: `python -m benchmarks.ping`, as root.

A Docker engine of its own is started in a network namespace of its own, with a few containers on a few networks. Every
container pings every address of every other one, as `docker exec A ping -c1 -W1 B`, one after the other; `diag pairs`
answers for the same host, live and from a bundle. Everything that was started is ended and removed.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.commands import DIAG, Command, circumstances, exit_when_terminated
from benchmarks.figures import Spread
from benchmarks.measure import Usage, measure
from tests.live.lab import Engine

LIVE, BUNDLE, CAPTURE = "diag pairs -f live", "diag pairs -f x.tar.gz", "diag capture"
_PROGRAMS = ("dockerd", "docker", "ip", "nsenter", "iptables", "busybox")
_EVERY = 5
"""One container in so many is on a second network."""
_LIMIT = 120.0
"""Seconds for each process."""
_GRACE = 10.0
"""Seconds for the engine's children to end after it."""

_PR_SET_CHILD_SUBREAPER = 36

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Ask:
    """An address of another container, as a ping has it, and a row of `diag pairs`."""

    source: str
    destination: str
    address: str


@dataclass(frozen=True, slots=True)
class Timing:
    """A command that was run several times."""

    name: str
    wall_seconds: Spread
    cpu_seconds: Spread
    ratio: float
    """How many times as long all pings took."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A ping that was not as a command said."""

    command: str
    ask: Ask
    answered: bool
    """The ping."""
    said: bool | None
    """What the command said; None: it did not know, or had no row."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The whole run."""

    engine: str
    """Its version."""
    containers: int
    networks: int
    pings: int
    answered: int
    ping_seconds: float
    timings: tuple[Timing, ...]
    differences: tuple[Difference, ...]


# The host


def why_not() -> str:
    """What keeps a real engine from running here; empty when nothing does."""
    if os.geteuid() != 0:
        return "it takes root"
    missing = [program for program in _PROGRAMS if shutil.which(program) is None]
    return (
        f"not installed: {', '.join(missing)} (Debian: docker.io iptables iproute2 busybox-static)" if missing else ""
    )


def memberships(containers: int, networks: int) -> dict[str, tuple[str, ...]]:
    """The networks of each container, by name.

    >>> memberships(3, 2)
    {'c01': ('n1',), 'c02': ('n2',), 'c03': ('n1',)}
    >>> memberships(5, 4)['c05']
    ('n1', 'n2')
    """
    found = {}
    for number in range(containers):
        homes = [number % networks, (number + 1) % networks][: 2 if number % _EVERY == _EVERY - 1 else 1]
        found[f"c{number + 1:02}"] = tuple(dict.fromkeys(f"n{home + 1}" for home in homes))
    return found


@contextlib.contextmanager
def host(containers: int, networks: int, folder: Path, say: Say) -> Iterator[Engine]:
    """A running engine with its containers, until the end of the block. It writes below `folder` only."""
    engine = Engine(f"diag-ping-{os.getpid()}", folder)
    try:
        say("starting the engine")
        engine.start()
        say("starting the containers")
        for number in range(networks):
            engine.docker("network", "create", f"n{number + 1}")
        for name, (first, *others) in memberships(containers, networks).items():
            engine.run_container(name, f"--network={first}")
            for other in others:
                engine.docker("network", "connect", other, name)
        engine.settle()
        yield engine
    finally:
        engine.stop()
        end_processes(str(folder))


def adopt_orphans() -> None:
    """Become the parent of what the engine leaves behind, so that it can be waited for: not every init does that."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def end_processes(folder: str) -> None:
    """Kill whatever names the engine's folder on its command line and does not end by itself, and reap all orphans."""
    deadline = time.monotonic() + _GRACE
    while (left := list(processes(folder))) and time.monotonic() < deadline:
        time.sleep(0.1)
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def processes(folder: str) -> Iterator[int]:
    """Those that name a folder on their command line, this one left out."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        pid = int(path.parent.name)
        with contextlib.suppress(OSError):
            if pid != os.getpid() and folder.encode() in path.read_bytes():
                yield pid


# Both ways


def asks(inspected: Iterable[Mapping[str, Any]]) -> list[Ask]:
    """Every ordered pair of containers of `docker inspect`, with each IPv4 address of the second."""
    owners = sorted(
        (container["Name"].lstrip("/"), endpoint["IPAddress"])
        for container in inspected
        for endpoint in container["NetworkSettings"]["Networks"].values()
        if endpoint["IPAddress"]
    )
    names = sorted({name for name, _ in owners})
    return [Ask(source, owner, address) for source in names for owner, address in owners if owner != source]


def ping(engine: Engine, asked: Iterable[Ask]) -> dict[Ask, bool]:
    """Whether each is answered, one after the other."""
    return {ask: _answers(engine, ask) for ask in asked}


def _answers(engine: Engine, ask: Ask) -> bool:
    words = ["docker", "exec", ask.source, "ping", "-c1", "-W1", ask.address]
    done = subprocess.run(words, env=engine.environment, capture_output=True, timeout=60, check=False)
    return done.returncode == 0


def verdicts(rows: Iterable[str]) -> dict[Ask, bool | None]:
    """What `diag pairs --format jsonl` says of echo requests; None where it does not know."""
    found: dict[Ask, bool | None] = {}
    for row in map(json.loads, rows):
        allowed = row["allowed"]
        known = not allowed.get("unknown", {}).get("icmp")
        found[Ask(row["source"], row["destination"], row["address"])] = allowed["icmp"] if known else None
    return found


def differences(command: str, pings: Mapping[Ask, bool], said: Mapping[Ask, bool | None]) -> tuple[Difference, ...]:
    """Where a command and the pings do not say the same."""
    return tuple(
        Difference(command, ask, answered, said.get(ask))
        for ask, answered in pings.items()
        if said.get(ask) is not answered
    )


def compare(containers: int, networks: int, runs: int, say: Say) -> Comparison:
    """Start a host, ask it both ways, and end it."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as temporary:
        work = Path(temporary)
        (work / "engine").mkdir()
        with host(containers, networks, work / "engine", say) as engine:
            asked = asks(engine.inspect())
            say(f"{len(asked):,} pings")
            started = time.monotonic()
            pings = ping(engine, asked)
            seconds = time.monotonic() - started
            version = engine.docker("version", "--format", "{{.Server.Version}}")
            timings, found = _diag(engine, pings, seconds, runs, work, say)
    answered = sum(pings.values())
    return Comparison(version, containers, networks, len(pings), answered, round(seconds, 2), timings, found)


def _diag(
    engine: Engine, pings: Mapping[Ask, bool], seconds: float, runs: int, work: Path, say: Say
) -> tuple[tuple[Timing, ...], tuple[Difference, ...]]:
    """The commands on the running host, each round in the same order, and where the first round's answers differ."""
    there, bundle = ("nsenter", f"--net={engine.netns}", *DIAG), str(work / "x.tar.gz")
    commands = (
        Command(LIVE, (*there, "pairs", "-f", "live", "--format", "jsonl")),
        Command(CAPTURE, (*there, "capture", "-o", bundle)),
        Command(BUNDLE, (*DIAG, "pairs", "-f", bundle, "--format", "jsonl")),
    )
    usages: dict[str, list[Usage]] = {command.name: [] for command in commands}
    found: list[Difference] = []
    for number in range(runs):
        Path(bundle).unlink(missing_ok=True)
        for command in commands:
            say(f"round {number + 1} of {runs}, {command.name}")
            usage = measure(command.words, _LIMIT, work / "stdout", work / "stderr", engine.environment)
            problem = command.problem(usage, _LIMIT, work / "stderr")
            if problem:
                raise RuntimeError(f"{command.name} {problem}")
            usages[command.name].append(usage)
            if not number and command.name != CAPTURE:
                with (work / "stdout").open() as rows:
                    found += differences(command.name, pings, verdicts(rows))
    return tuple(_timing(name, of, seconds) for name, of in usages.items()), tuple(found)


def _timing(name: str, usages: Sequence[Usage], seconds: float) -> Timing:
    wall, cpu = Spread.of([usage.wall for usage in usages]), Spread.of([usage.cpu for usage in usages])
    return Timing(name, wall, cpu, round(seconds / wall.median, 1))


# Output


def print_table(found: Comparison) -> None:
    """The pings, the commands, and whether they agree."""
    print(
        f"Docker {found.engine}, {found.containers} containers on {found.networks} networks:"
        f" {found.pings:,} pings took {found.ping_seconds:.1f} s, {found.answered:,} were answered"
    )
    print(f"{'command':<24}{'wall s':>8}{'CPU s':>8}{'pings took':>14}")
    for timing in found.timings:
        wall, cpu = timing.wall_seconds.median, timing.cpu_seconds.median
        print(f"{timing.name:<24}{wall:8.2f}{cpu:8.2f}{f'{timing.ratio:.0f} × as long':>14}")
    for one in found.differences:
        said = {True: "delivered", False: "stopped", None: "not known"}[one.said]
        pinged = "was answered" if one.answered else "was not answered"
        print(
            f"{one.command}: {one.ask.source} to {one.ask.destination} at {one.ask.address} {said}, the ping {pinged}"
        )
    if not found.differences:
        print("every verdict is that of the ping")


# The command line


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status: 1 when a verdict is not that of the ping, 2 when it cannot run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ping", description="Compare diag pairs with pings.")
    parser.add_argument("--containers", type=int, default=14, metavar="N", help="how many (default 14)")
    parser.add_argument("--networks", type=int, default=4, metavar="N", help="bridge networks (default 4)")
    parser.add_argument("--runs", type=int, default=3, metavar="N", help="of each diag command (default 3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything as JSON")
    options = parser.parse_args(arguments)
    if reason := why_not():
        print(f"error: {reason}", file=sys.stderr)
        return 2
    adopt_orphans()
    try:
        found = compare(
            options.containers, options.networks, options.runs, lambda what: print(what, file=sys.stderr, flush=True)
        )
    except RuntimeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print_table(found)
    if options.json is not None:
        document = {**circumstances(), **asdict(found)}
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    return int(bool(found.differences))


if __name__ == "__main__":
    exit_when_terminated()
    sys.exit(main())
