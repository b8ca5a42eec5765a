"""Where the time of one analysis goes: `python -m benchmarks.phases BUNDLE`, which is `diag report -o x.json`.

A few functions of each phase are wrapped with a stopwatch. What a function takes is its phase's, less what functions of
other phases take inside it; `other` is what none of them takes.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib
import inspect
import io
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

IMPORT = "import"
"""The interpreter's start and every module."""
OTHER = "other"
PHASES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "read": ("diag.bundle.reader:read_bundle",),
        "parse": ("diag.parse.snapshot:build_snapshot",),
        "build": (
            "diag.interpreter.world:World.__init__",
            "diag.names.resolver:Resolver.__init__",
            "diag.reach.beyond:with_world",
            "diag.reach.reserved:ReservedPairs.__init__",
        ),
        "solve": (
            "diag.symbolic.engine:solve",
            "diag.symbolic.behaviours:Solution.__init__",
        ),
        "trace": ("diag.interpreter.trace:Tracer.trace",),
        "group": (
            "diag.reach.matrix:PairMatrix.__init__",
            "diag.reach.groups:group_columns",
            "diag.reach.groups:group_pairs",
        ),
        "explain": (
            "diag.reach.explain:Explainer.path",
            "diag.reach.explain:Explainer.partial_clauses",
            "diag.reach.fixes:FixFinder.find",
        ),
        "names": ("diag.names.resolver:Resolver.scope", "diag.names.resolver:Resolver.names_for"),
        "check": ("diag.findings.registry:find_all",),
        "render": ("diag.report.render:render_parts",),
    }
)
"""The functions of each phase, as `module:name`."""
_ALSO_IMPORTED = ("diag.cli.report", "diag.pipeline", "diag.report.render", "diag.report.analysis_json")
"""What the command imports when it runs."""

Function = Callable[..., Any]


class Stopwatch:
    """Gives every moment to one phase: the one that was entered last and not left."""

    def __init__(self, phase: str, now: Callable[[], float] = time.process_time) -> None:
        """Starts in a phase, which all processor time of this process until now goes to."""
        self.seconds: dict[str, float] = {phase: 0.0}
        self.calls: dict[str, int] = {}
        self._now = now
        self._since = 0.0
        self._stack = [phase]

    def enter(self, phase: str) -> None:
        self._spend()
        self._stack.append(phase)
        self.calls[phase] = self.calls.get(phase, 0) + 1

    def leave(self) -> None:
        self._spend()
        self._stack.pop()

    def _spend(self) -> None:
        now, phase = self._now(), self._stack[-1]
        self.seconds[phase] = self.seconds.get(phase, 0.0) + now - self._since
        self._since = now

    def timed(self, function: Function, phase: str) -> Function:
        """The function in a phase; of a generator every step is."""
        if inspect.isgeneratorfunction(function):
            return self._timed_generator(function, phase)

        @functools.wraps(function)
        def call(*arguments: Any, **options: Any) -> Any:
            self.enter(phase)
            try:
                return function(*arguments, **options)
            finally:
                self.leave()

        return call

    def _timed_generator(self, function: Function, phase: str) -> Function:
        @functools.wraps(function)
        def steps(*arguments: Any, **options: Any) -> Iterator[Any]:
            step = self.timed(functools.partial(next, function(*arguments, **options)), phase)
            while True:
                try:
                    item = step()
                except StopIteration:
                    return
                yield item

        return steps


@contextlib.contextmanager
def wrapped(watch: Stopwatch, phases: Mapping[str, Iterable[str]] = PHASES) -> Iterator[None]:
    """Time the functions of the phases wherever a module of `diag` that is already imported has them.

    Raises LookupError for a function that does not exist.
    """
    originals: list[tuple[object, str, Function]] = []
    try:
        for phase, name in [(phase, name) for phase, names in phases.items() for name in names]:
            owner, attribute, function = find(name)
            timed = watch.timed(function, phase)
            for place, found in _places(function) if isinstance(owner, ModuleType) else [(owner, attribute)]:
                originals.append((place, found, function))
                setattr(place, found, timed)
        yield
    finally:
        for place, found, function in reversed(originals):
            setattr(place, found, function)


def find(name: str) -> tuple[object, str, Function]:
    """The module or class that has a function, its name there, and the function. Raises LookupError where there is none."""
    module, _, path = name.partition(":")
    *parents, attribute = path.split(".")
    try:
        owner: Any = functools.reduce(getattr, parents, importlib.import_module(module))
        function: Function = vars(owner)[attribute]
    except (ImportError, AttributeError, KeyError) as error:
        raise LookupError(f"a phase is measured by {name}, which does not exist: see benchmarks/phases.py") from error
    return owner, attribute, function


def _places(function: Function) -> list[tuple[object, str]]:
    """The names that a function was imported by, and its own."""
    modules = [module for name, module in sys.modules.items() if name.partition(".")[0] == "diag"]
    return [(module, name) for module in modules for name, value in vars(module).items() if value is function]


@dataclass(frozen=True, slots=True)
class Measured:
    """A phase of one run."""

    name: str
    cpu_seconds: float
    calls: int
    """Of its functions; 0 for what is no function."""


def measure_phases(bundle: Path) -> list[Measured]:
    """Every phase of the analysis of a bundle in this process, which has done nothing else."""
    watch = Stopwatch(IMPORT)
    for name in (*(name.partition(":")[0] for names in PHASES.values() for name in names), *_ALSO_IMPORTED):
        importlib.import_module(name)
    with wrapped(watch), tempfile.TemporaryDirectory(prefix="benchmark-") as temporary:
        watch.timed(_report, OTHER)(bundle, Path(temporary) / "report.json")
    names = (IMPORT, *PHASES, OTHER)
    calls = watch.calls | {OTHER: 0}
    return [Measured(name, round(watch.seconds.get(name, 0.0), 4), calls.get(name, 0)) for name in names]


def _report(bundle: Path, out: Path) -> None:
    from diag.cli import cli

    with contextlib.redirect_stderr(io.StringIO()):
        cli.main(["report", "-f", str(bundle), "-o", str(out)], prog_name="diag", standalone_mode=False)


def print_phases(phases: Iterable[Measured]) -> None:
    """A line for each phase, and the sum."""
    phases = list(phases)
    total = sum(phase.cpu_seconds for phase in phases)
    print(f"{'phase':<8}{'CPU s':>9}{'share':>8}{'calls':>10}")
    for phase in phases:
        print(f"{phase.name:<8}{phase.cpu_seconds:9.3f}{phase.cpu_seconds / total:8.0%}{phase.calls or '':>10}")
    print(f"{'all':<8}{total:9.3f}")


def as_json(phases: Iterable[Measured]) -> dict[str, Any]:
    """By name, in their order."""
    found = {phase.name: {"cpu_seconds": phase.cpu_seconds, "calls": phase.calls} for phase in phases}
    return {"phases": found, "cpu_seconds": round(sum(phase["cpu_seconds"] for phase in found.values()), 4)}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.phases", description="Measure the phases of one analysis."
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="a bundle, as diag report -f takes it")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args(arguments)
    phases = measure_phases(options.bundle)
    if options.json:
        print(json.dumps(as_json(phases), indent=1))
    else:
        print_phases(phases)
    return 0


if __name__ == "__main__":
    sys.exit(main())
