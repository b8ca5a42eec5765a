"""How the cost grows with the host: `python -m benchmarks.growth --containers 100,200,500,1000,2000,5000 --json FILE`.

For each size of each curve a host is made up, and `diag report -o x.json` is run on it as a process of its own. Between
sizes stands what a doubling multiplies the cost by: the ratio itself where the size doubles, its root or power where it
grows by another factor. The kinds of pairs in the report say what grew beside the containers.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from benchmarks.commands import (
    DIAG,
    TOO_LONG,
    Command,
    circumstances,
    compile_as_installed,
    exit_when_terminated,
    failed,
    make_host,
    python,
    sizes,
)
from benchmarks.figures import Spread, exponent, per_doubling
from benchmarks.measure import Usage, measure
from benchmarks.plan import HostSpec

BAR = 2.3
"""What doubling the containers may multiply the CPU seconds by when the kinds of pairs stay the same."""
_NETWORKS = 20
_CONTAINERS_PER_NETWORK = 10


@dataclass(frozen=True, slots=True)
class Curve:
    """Hosts that differ in size only."""

    about: str
    host: Callable[[int], HostSpec]
    """By the number of containers."""
    alike: bool = False
    """The number of kinds of pairs does not grow, so that the bar is for it."""


CURVES: Mapping[str, Curve] = MappingProxyType(
    {
        "alike": Curve(
            f"{_NETWORKS} networks, no published ports: the same kinds of pairs at every size",
            lambda count: HostSpec(count, _NETWORKS, published=0, multihomed=0),
            alike=True,
        ),
        "published": Curve(
            f"{_NETWORKS} networks, two published ports a container: as many kinds of pairs with the world as containers",
            lambda count: HostSpec(count, _NETWORKS, multihomed=0),
        ),
        "realistic": Curve(
            f"{_CONTAINERS_PER_NETWORK} containers a network, two published ports each, one in twenty on two networks",
            lambda count: HostSpec(count, max(2, count // _CONTAINERS_PER_NETWORK)),
        ),
    }
)


@dataclass(frozen=True, slots=True)
class Point:
    """One size. Without figures when a process did not end in time, or failed."""

    spec: HostSpec
    made: str
    """What the generator said: rules, files, size, time."""
    runs: int
    cpu_seconds: Spread | None = None
    wall_seconds: Spread | None = None
    peak_rss_mib: Spread | None = None
    report_mib: float = 0.0
    pair_kinds: int = 0
    """Kinds of pairs of containers."""
    outer_kinds: int = 0
    """Kinds of pairs with the host or the world."""
    problem: str = ""
    """Why there are no figures."""


@dataclass(frozen=True, slots=True)
class Step:
    """From one size to the next."""

    containers: tuple[int, int]
    cpu: float
    """The ratio of the CPU seconds."""
    cpu_per_doubling: float
    memory: float
    memory_per_doubling: float


@dataclass(frozen=True, slots=True)
class Growth:
    """A curve that was measured."""

    curve: str
    about: str
    points: tuple[Point, ...]
    steps: tuple[Step, ...]
    cpu_exponent: float | None
    memory_exponent: float | None
    bar: float | None
    """None where it is not for this curve."""

    @property
    def over_bar(self) -> tuple[Step, ...]:
        """The steps that cost too much."""
        return tuple(step for step in self.steps if self.bar is not None and step.cpu_per_doubling > self.bar)


@dataclass(frozen=True, slots=True)
class Options:
    """How to run."""

    containers: tuple[int, ...]
    curves: tuple[str, ...]
    runs: int
    limit: float
    """Seconds for each process."""
    bar: float


def run(options: Options, say: Callable[[str], None]) -> Iterator[Growth]:
    """Measure every curve in turn; `say` is told what is being done."""
    for name in options.curves:
        yield _grow(name, options, say)


def _grow(name: str, options: Options, say: Callable[[str], None]) -> Growth:
    points: list[Point] = []
    for count in sorted(options.containers):
        spec = CURVES[name].host(count)
        if points and points[-1].problem.startswith(TOO_LONG):
            points.append(Point(spec, "", 0, problem=points[-1].problem))
        else:
            points.append(_point(spec, options, f"{name}, {count:,} containers:", say))
    return growth(name, points, options.bar)


def _point(spec: HostSpec, options: Options, heading: str, say: Callable[[str], None]) -> Point:
    with tempfile.TemporaryDirectory(prefix="benchmark-") as temporary:
        work = Path(temporary)
        say(f"{heading} making the host")
        made = make_host(spec, work / "host")
        report = work / "report.json"
        command = Command("diag report .json", (*DIAG, "report", "-f", str(work / "host"), "-o", str(report)))
        usages: list[Usage] = []
        for number in range(options.runs):
            say(f"{heading} round {number + 1} of {options.runs}")
            usage = measure(command.words, options.limit, stderr=work / "stderr")
            problem = command.problem(usage, options.limit, work / "stderr")
            if problem:
                return Point(spec, made, number, problem=problem)
            usages.append(usage)
        kinds = json.loads(python("benchmarks.behaviours", str(report)))
        return Point(
            spec,
            made,
            len(usages),
            Spread.of([usage.cpu for usage in usages]),
            Spread.of([usage.wall for usage in usages]),
            Spread.of([usage.rss for usage in usages]),
            round(report.stat().st_size / 2**20, 2),
            kinds["groups"],
            kinds["endpoints"],
        )


def growth(name: str, points: Sequence[Point], bar: float) -> Growth:
    """What the points of a curve say; `bar` is what its doublings may cost, if it has one."""
    figures = list(_figures(points))
    return Growth(
        name,
        CURVES[name].about,
        tuple(points),
        tuple(_step(one, other) for one, other in itertools.pairwise(figures)),
        exponent([(count, cpu) for count, cpu, _ in figures]),
        exponent([(count, memory) for count, _, memory in figures]),
        bar if CURVES[name].alike else None,
    )


def _figures(points: Iterable[Point]) -> Iterator[tuple[int, float, float]]:
    """Containers, CPU seconds and MiB of the points that have figures."""
    for point in points:
        if point.cpu_seconds is not None and point.peak_rss_mib is not None:
            yield point.spec.containers, point.cpu_seconds.median, point.peak_rss_mib.median


def _step(one: tuple[int, float, float], other: tuple[int, float, float]) -> Step:
    larger, cpu, memory = (after / before for before, after in zip(one, other, strict=True))
    figures = (cpu, per_doubling(larger, cpu), memory, per_doubling(larger, memory))
    return Step((one[0], other[0]), *(round(figure, 3) for figure in figures))


# Output


_HEADINGS = (
    *("containers", "networks", "kinds of pairs", "with host"),
    *("CPU s", "×", "× per doubling", "peak MiB", "×", "× per doubling", "report MiB"),
)
_WIDTH = 140
"""Characters, where that is not up to a terminal."""


def print_table(result: Growth) -> None:
    """A curve, and what follows from it."""
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    table = Table(title=f"{result.curve}: {result.about}", title_justify="left")
    for heading in _HEADINGS:
        table.add_column(heading, justify="right")
    steps = {step.containers[1]: step for step in result.steps}
    for point in result.points:
        table.add_row(*_cells(point, steps.get(point.spec.containers)))
    console.print(table)
    for line in _conclusions(result):
        console.print(line)


def _cells(point: Point, step: Step | None) -> tuple[str, ...]:
    spec = point.spec
    size = (f"{spec.containers:,}", f"{spec.networks:,}")
    if point.cpu_seconds is None or point.peak_rss_mib is None:
        return (*size, "", "", "failed" if failed(point.problem) else point.problem)
    return (
        *size,
        f"{point.pair_kinds:,}",
        f"{point.outer_kinds:,}",
        f"{point.cpu_seconds.median:.2f}",
        *((f"{step.cpu:.2f}", f"{step.cpu_per_doubling:.2f}") if step else ("", "")),
        f"{point.peak_rss_mib.median:.0f}",
        *((f"{step.memory:.2f}", f"{step.memory_per_doubling:.2f}") if step else ("", "")),
        f"{point.report_mib:.1f}",
    )


def _conclusions(result: Growth) -> Iterator[str]:
    if result.cpu_exponent is not None and result.memory_exponent is not None:
        yield f"CPU grows as containers ^ {result.cpu_exponent:.2f}, memory as containers ^ {result.memory_exponent:.2f}"
    if result.bar is not None and result.steps:
        over = ", ".join(
            f"{a:,} to {b:,}: × {s.cpu_per_doubling:.2f}" for s in result.over_bar for a, b in [s.containers]
        )
        yield f"bar of × {result.bar:g} a doubling: {f'missed ({over})' if over else 'met'}"
    for point in result.points:
        if point.problem:
            yield f"{point.spec.containers:,} containers: {point.problem}"


def as_json(results: Iterable[Growth], options: Options) -> dict[str, Any]:
    """Everything, for a file."""
    curves = [{**asdict(result), "bar_met": _bar_met(result)} for result in results]
    return {**circumstances(), "options": asdict(options), "curves": curves}


def _bar_met(result: Growth) -> bool | None:
    """None where there is no bar, or nothing to hold against it."""
    return None if result.bar is None or not result.steps else not result.over_bar


# The command line


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status: 1 when a command failed, other than by taking too long, or missed the bar."""
    words = _parser().parse_args(arguments)
    options = Options(words.containers, tuple(words.curves or CURVES), words.runs, words.limit, words.bar)
    compile_as_installed()
    results = []
    for result in run(options, lambda what: print(what, file=sys.stderr, flush=True)):
        print_table(result)
        results.append(result)
    if words.json is not None:
        words.json.write_text(json.dumps(as_json(results, options), indent=1) + "\n")
    return int(any(result.over_bar or any(failed(p.problem) for p in result.points) for result in results))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.growth", description="Measure how the cost grows with the host."
    )
    default = (100, 200, 500, 1000, 2000)
    parser.add_argument("--containers", type=sizes, default=default, metavar="N,N", help="sizes of the hosts")
    about = "; ".join(f"{name}: {curve.about}" for name, curve in CURVES.items())
    parser.add_argument("--curve", action="append", dest="curves", choices=CURVES, help=f"{about} (default all)")
    parser.add_argument("--runs", type=int, default=1, metavar="N", help="rounds per host (default 1)")
    parser.add_argument("--limit", type=float, default=600.0, metavar="S", help="seconds per process (default 600)")
    shown = f"what a doubling may cost where the kinds of pairs stay the same (default {BAR:g})"
    parser.add_argument("--bar", type=float, default=BAR, metavar="X", help=shown)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything as JSON")
    return parser


if __name__ == "__main__":
    exit_when_terminated()
    sys.exit(main())
