"""What the commands cost on large hosts: `python -m benchmarks.run --containers 100,300,1000 --json FILE`.

For each size a host is made up, and each command is run on it as a process of its own, several times. A round runs the
floor first, which only reads every file of the bundle and decodes the JSON, and then every command once: each figure is
also given as a multiple of the floor of its own round, which says more across machines than seconds do. After the
commands the phases of one analysis are measured as often, see :mod:`benchmarks.phases`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.commands import (
    DIAG,
    Command,
    circumstances,
    compile_as_installed,
    exit_when_terminated,
    failed,
    make_host,
    python,
    sizes,
)
from benchmarks.figures import Spread
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
_CONTAINERS_PER_NETWORK = 10


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
class Phases:
    """Where the time of `diag report` as JSON goes. Without figures when it did not end in time, or failed."""

    runs: int
    cpu_seconds: dict[str, Spread]
    """By phase."""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class HostResult:
    """All rows of one host."""

    spec: HostSpec
    made: str
    """What the generator said: rules, files, size, time."""
    rows: tuple[Row, ...]
    phases: Phases


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
    ipv6: bool


def run(options: Options, say: Callable[[str], None]) -> list[HostResult]:
    """Measure every size in turn; `say` is told what is being done."""
    return [_run_host(size, options, say) for size in options.containers]


def _run_host(size: int, options: Options, say: Callable[[str], None]) -> HostResult:
    networks = max(2, size // _CONTAINERS_PER_NETWORK)
    spec = HostSpec(size, networks, distinct=options.distinct, ipv6=options.ipv6)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as temporary:
        work = Path(temporary)

        def tell(what: str) -> None:
            say(f"{size:,} containers: {what}")

        tell("making the host")
        made = make_host(spec, work / "host")
        commands = _commands(spec, work)
        if size == options.flows_at:
            commands.append(_trace(work, options.flows))
        rounds = _rounds(commands, options, work, tell)
        phases = _phases(options, work, tell)
    return HostResult(spec, made, tuple(_row(command, rounds) for command in commands), phases)


def _commands(spec: HostSpec, work: Path) -> list[Command]:
    """The floor, then what a person runs. The two containers to explain are on different networks."""
    host = str(work / "host")
    one, other = container_name(spec, 0), container_name(spec, 1)
    return [
        Command(FLOOR, (sys.executable, "-c", _FLOOR_CODE, host)),
        Command("diag --help", (*DIAG, "--help")),
        Command("diag report .json", (*DIAG, "report", "-f", host, "-o", str(work / "report.json"))),
        Command("diag report .html", (*DIAG, "report", "-f", host, "-o", str(work / "report.html"))),
        Command("diag pairs csv", (*DIAG, "pairs", "-f", host, "--format", "csv")),
        Command("diag explain A B", (*DIAG, "explain", one, other, "-f", host), frozenset({0, 1, 3})),
    ]


def _trace(work: Path, flows: int) -> Command:
    host, file = str(work / "host"), str(work / "flows.jsonl")
    python("benchmarks.flows", host, file, "--count", str(flows))
    return Command(f"diag trace, {flows:,} flows", (*DIAG, "trace", "-f", host, "--flows", file))


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
            problem = command.problem(usage, options.limit, work / "stderr")
            if problem:
                rounds.problems[command.name] = problem
                continue
            floor = usage.cpu if command.name == FLOOR else floor
            rounds.usages[command.name].append(usage)
            rounds.ratios[command.name] += [usage.cpu / floor] if floor else []
    return rounds


def _phases(options: Options, work: Path, say: Callable[[str], None]) -> Phases:
    command = Command("phases", (sys.executable, "-m", "benchmarks.phases", str(work / "host"), "--json"))
    found: dict[str, list[float]] = {}
    for number in range(options.runs):
        say(f"round {number + 1} of {options.runs}, phases")
        usage = measure(command.words, options.limit, work / "stdout", work / "stderr")
        problem = command.problem(usage, options.limit, work / "stderr")
        if problem:
            return Phases(number, {}, problem)
        for name, phase in json.loads((work / "stdout").read_bytes())["phases"].items():
            found.setdefault(name, []).append(phase["cpu_seconds"])
    return Phases(options.runs, {name: Spread.of(seconds) for name, seconds in found.items()})


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
    """Two tables for each host: the commands, and the phases."""
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
        phases = Table(title="phases of diag report .json", title_justify="left")
        phases.add_column("phase", no_wrap=True)
        for heading in ("CPU s", "min … max", "share"):
            phases.add_column(heading, justify="right")
        for cells in _phase_cells(result.phases):
            phases.add_row(*cells)
        console.print(phases)
        for name, problem in _failures(result):
            console.print(f"{name} {problem}")


def _failures(result: HostResult) -> list[tuple[str, str]]:
    problems = [*((row.name, row.problem) for row in result.rows), ("phases", result.phases.problem)]
    return [(name, problem) for name, problem in problems if failed(problem)]


def _phase_cells(phases: Phases) -> list[tuple[str, ...]]:
    if phases.problem:
        return [("all", "failed" if failed(phases.problem) else phases.problem)]
    total = sum(seconds.median for seconds in phases.cpu_seconds.values())
    return [
        (name, f"{seconds.median:.3f}", f"{seconds.min:.3f} … {seconds.max:.3f}", f"{seconds.median / total:.0%}")
        for name, seconds in phases.cpu_seconds.items()
    ]


def _cells(row: Row) -> tuple[str, ...]:
    if row.cpu_seconds is None or row.wall_seconds is None or row.peak_rss_mib is None:
        return ("failed" if failed(row.problem) else row.problem,)
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
    return {**circumstances(), "options": asdict(options), "hosts": [asdict(result) for result in results]}


# The command line


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status: 1 when a command failed, other than by taking too long."""
    words = _parser().parse_args(arguments)
    options = Options(
        words.containers, words.runs, words.limit, words.flows, words.flows_at, words.distinct, words.ipv6
    )
    compile_as_installed()
    results = run(options, lambda what: print(what, file=sys.stderr, flush=True))
    print_table(results)
    if words.json is not None:
        words.json.write_text(json.dumps(as_json(results, options), indent=1) + "\n")
    return int(any(_failures(result) for result in results))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.run", description="Measure the commands on large hosts."
    )
    parser.add_argument("--containers", type=sizes, default=(100, 300, 1000), metavar="N,N", help="sizes of the hosts")
    parser.add_argument("--runs", type=int, default=3, metavar="N", help="rounds per host (default 3)")
    parser.add_argument("--limit", type=float, default=120.0, metavar="S", help="seconds per process (default 120)")
    parser.add_argument("--flows", type=int, default=20_000, metavar="N", help="flows to trace (default 20000)")
    parser.add_argument("--flows-at", type=int, default=100, metavar="N", help="on the host of this size (default 100)")
    parser.add_argument("--distinct", action="store_true", help="hosts on which no two containers behave alike")
    parser.add_argument("--ipv6", action="store_true", help="hosts whose networks have IPv6 as well")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything as JSON")
    return parser


if __name__ == "__main__":
    exit_when_terminated()
    sys.exit(main())
