"""What the commands cost on large hosts: `python -m benchmarks.run --containers 100,300,1000 --json FILE`.

For each size a host is made up, and each command is run on it as a process of its own, several times. A round runs the
floor first, which only reads every file of the bundle and decodes the JSON, and then every command once: each figure is
also given as a multiple of the floor of its own round, which says more across machines than seconds do.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.measure import Usage, measure
from benchmarks.plan import HostSpec, container_name

Json = dict[str, Any]

FLOOR = "floor"
"""Reads every file and decodes the JSON."""
_FLOOR_CODE = """
import json, pathlib, sys
for path in pathlib.Path(sys.argv[1]).rglob("*"):
    if path.is_file():
        content = path.read_bytes()
        if path.suffix == ".json":
            json.loads(content)
"""
_TOO_LONG = ">"
_DIAG = (sys.executable, "-m", "diag")
_CONTAINERS_PER_NETWORK = 10


@dataclass(frozen=True, slots=True)
class Command:
    """Something to measure."""

    name: str
    words: tuple[str, ...]
    statuses: frozenset[int] = frozenset({0})
    """Exit statuses that are answers and not failures."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Of several figures."""

    median: float
    min: float
    max: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> Spread:
        return cls(*(round(f(figures), 4) for f in (statistics.median, min, max)))


@dataclass(frozen=True, slots=True)
class Row:
    """A command on a host. Without figures when it did not end in time, or failed."""

    name: str
    runs: int
    wall_seconds: Spread | None = None
    cpu_seconds: Spread | None = None
    peak_rss_mib: Spread | None = None
    ratio_to_floor: Spread | None = None
    """CPU seconds as a multiple of the floor's in the same round."""
    problem: str = ""
    """Why there are no figures."""


@dataclass(frozen=True, slots=True)
class HostResult:
    """All rows of one host."""

    spec: HostSpec
    made: str
    """What the generator said: rules, files, size, time."""
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Options:
    """How to run."""

    containers: tuple[int, ...]
    runs: int
    limit: float
    """Seconds for each process."""
    flows: int
    flows_at: int
    """The size of the host that flows are traced on."""
    distinct: bool


def run(options: Options, say: Callable[[str], None]) -> list[HostResult]:
    """Measure every size in turn; `say` is told what is being done."""
    return [_run_host(size, options, say) for size in options.containers]


def _run_host(size: int, options: Options, say: Callable[[str], None]) -> HostResult:
    spec = HostSpec(size, max(2, size // _CONTAINERS_PER_NETWORK), distinct=options.distinct)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as temporary:
        work = Path(temporary)
        say(f"{size:,} containers: making the host")
        made = _make(spec, work / "host")
        commands = _commands(spec, work)
        if size == options.flows_at:
            commands.append(_trace(work, options.flows))
        rounds = _rounds(commands, options, work, lambda what: say(f"{size:,} containers: {what}"))
    return HostResult(spec, made, tuple(_row(command, rounds) for command in commands))


def _make(spec: HostSpec, folder: Path) -> str:
    """Write the host in another process, for this one's memory is in every figure, see :class:`Usage`."""
    options = ["--containers", str(spec.containers), "--networks", str(spec.networks)]
    said = _python("benchmarks.hosts", str(folder), *options, *["--distinct"] * spec.distinct)
    return said.partition(": ")[2].strip()


def _python(module: str, *words: str) -> str:
    return subprocess.run([sys.executable, "-m", module, *words], check=True, capture_output=True, text=True).stdout


def _commands(spec: HostSpec, work: Path) -> list[Command]:
    """The floor, then what a person runs. The two containers to explain are on different networks."""
    host = str(work / "host")
    one, other = container_name(spec, 0), container_name(spec, 1)
    return [
        Command(FLOOR, (sys.executable, "-c", _FLOOR_CODE, host)),
        Command("diag --help", (*_DIAG, "--help")),
        Command("diag report .json", (*_DIAG, "report", "-f", host, "-o", str(work / "report.json"))),
        Command("diag report .html", (*_DIAG, "report", "-f", host, "-o", str(work / "report.html"))),
        Command("diag pairs csv", (*_DIAG, "pairs", "-f", host, "--format", "csv")),
        Command("diag explain A B", (*_DIAG, "explain", one, other, "-f", host), frozenset({0, 1, 3})),
    ]


def _trace(work: Path, flows: int) -> Command:
    host, file = str(work / "host"), str(work / "flows.jsonl")
    _python("benchmarks.flows", host, file, "--count", str(flows))
    return Command(f"diag trace, {flows:,} flows", (*_DIAG, "trace", "-f", host, "--flows", file))


@dataclass
class _Rounds:
    """What was measured of each command, by its name, and why one is measured no more."""

    usages: dict[str, list[Usage]]
    ratios: dict[str, list[float]]
    problems: dict[str, str]


def _rounds(commands: Iterable[Command], options: Options, work: Path, say: Callable[[str], None]) -> _Rounds:
    commands = tuple(commands)
    rounds = _Rounds({c.name: [] for c in commands}, {c.name: [] for c in commands}, {})
    for number in range(options.runs):
        floor = 0.0
        for command in commands:
            if command.name in rounds.problems:
                continue
            say(f"round {number + 1} of {options.runs}, {command.name}")
            usage = measure(command.words, options.limit, work / "stdout", work / "stderr")
            problem = _problem(command, usage, options.limit, work / "stderr")
            if problem:
                rounds.problems[command.name] = problem
                continue
            floor = usage.cpu if command.name == FLOOR else floor
            rounds.usages[command.name].append(usage)
            rounds.ratios[command.name] += [usage.cpu / floor] if floor else []
    return rounds


def _problem(command: Command, usage: Usage, limit: float, stderr: Path) -> str:
    if not usage.in_time:
        return f"{_TOO_LONG} {limit:g} s"
    if usage.status in command.statuses:
        return ""
    said = stderr.read_text("utf-8", "replace").strip().splitlines()
    return f"failed with {usage.status}: {said[-1] if said else 'no message'}"


def _row(command: Command, rounds: _Rounds) -> Row:
    usages, problem = rounds.usages[command.name], rounds.problems.get(command.name, "")
    if problem or not usages:
        return Row(command.name, len(usages), problem=problem)
    ratios = rounds.ratios[command.name]
    return Row(
        command.name,
        len(usages),
        Spread.of([usage.wall for usage in usages]),
        Spread.of([usage.cpu for usage in usages]),
        Spread.of([usage.rss for usage in usages]),
        Spread.of(ratios) if ratios else None,
    )


# Output


def print_table(results: Iterable[HostResult]) -> None:
    """A table for each host."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for result in results:
        spec = result.spec
        title = f"{spec.containers:,} containers on {spec.networks:,} networks: {result.made}"
        table = Table(title=title, title_justify="left")
        table.add_column("command", no_wrap=True)
        for heading in ("CPU s", "min … max", "wall s", "peak RSS MiB", "× floor"):
            table.add_column(heading, justify="right")
        for row in result.rows:
            table.add_row(row.name, *_cells(row))
        console.print(table)
        for row in filter(_failed, result.rows):
            console.print(f"{row.name} {row.problem}")


def _failed(row: Row) -> bool:
    return bool(row.problem) and not row.problem.startswith(_TOO_LONG)


def _cells(row: Row) -> tuple[str, ...]:
    if row.cpu_seconds is None or row.wall_seconds is None or row.peak_rss_mib is None:
        return ("failed" if _failed(row) else row.problem,)
    cpu, ratio = row.cpu_seconds, row.ratio_to_floor
    return (
        f"{cpu.median:.2f}",
        f"{cpu.min:.2f} … {cpu.max:.2f}",
        f"{row.wall_seconds.median:.2f}",
        f"{row.peak_rss_mib.median:.0f}",
        f"{ratio.median:.1f}" if ratio else "",
    )


def as_json(results: Iterable[HostResult], options: Options) -> Json:
    """Everything, for a file."""
    machine = {
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "architecture": platform.machine(),
    }
    return {
        "machine": machine,
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "options": asdict(options),
        "hosts": [asdict(result) for result in results],
    }


# The command line


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status: 1 when a command failed, other than by taking too long."""
    words = _parser().parse_args(arguments)
    options = Options(words.containers, words.runs, words.limit, words.flows, words.flows_at, words.distinct)
    results = run(options, lambda what: print(what, file=sys.stderr, flush=True))
    print_table(results)
    if words.json is not None:
        words.json.write_text(json.dumps(as_json(results, options), indent=1) + "\n")
    return int(any(_failed(row) for result in results for row in result.rows))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.run", description="Measure the commands on large hosts."
    )
    parser.add_argument("--containers", type=_sizes, default=(100, 300, 1000), metavar="N,N", help="sizes of the hosts")
    parser.add_argument("--runs", type=int, default=3, metavar="N", help="rounds per host (default 3)")
    parser.add_argument("--limit", type=float, default=120.0, metavar="S", help="seconds per process (default 120)")
    parser.add_argument("--flows", type=int, default=20_000, metavar="N", help="flows to trace (default 20000)")
    parser.add_argument("--flows-at", type=int, default=100, metavar="N", help="on the host of this size (default 100)")
    parser.add_argument("--distinct", action="store_true", help="hosts on which no two containers behave alike")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything as JSON")
    return parser


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


if __name__ == "__main__":
    sys.exit(main())
