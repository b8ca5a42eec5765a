"""Jobs of steps, run side by side within time limits: a step gives one file of the bundle, or the reason it does not.

Every job has a thread of its own that is never used again, for a thread that has entered another network namespace
cannot be trusted with anything else; and one that hangs in the kernel is left behind, not waited for.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from msgspec import Struct

from diag.model.bundle import FileRecord


class UnavailableError(Exception):
    """A step has nothing to give; the text says why and what would help."""


class Output(Struct, frozen=True):
    """What a step gives."""

    content: bytes
    exit_status: int | None = None
    stderr: str = ""
    incomplete: str = ""
    """What is missing from the content, and why; empty when nothing is."""
    path: str = ""
    """The file it really is, when the step could only give another form than its own."""


class Step(Struct, frozen=True):
    """One file of the bundle in the making."""

    path: str
    command: str
    """What a person would type for the same output."""
    run: Callable[[], Output | None]
    """None: there is nothing of the kind, which is no gap. Raises UnavailableError, or OSError, which is the same."""


class Item(Struct, frozen=True):
    """One file of the bundle, or its absence."""

    path: str
    content: bytes | None
    record: FileRecord


class Job(Struct, frozen=True, eq=False):
    """Steps that share a thread, run in order."""

    name: str
    steps: tuple[Step, ...]
    before: Callable[[], None] | None = None
    """Run first, e.g. to enter a namespace; when it raises UnavailableError no step is run."""
    limit: float = 60.0
    """Seconds for all steps together."""
    then: Callable[[], Iterable[Job]] | None = None
    """Called when the job is over, for the jobs that it makes possible."""


@dataclass
class _Running:
    job: Job
    until: float
    missing: set[str] = field(default_factory=set)
    """Paths that have not been reported yet."""


def run_jobs(
    jobs: Iterable[Job],
    *,
    limit: float,
    workers: int = 8,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[Item]:
    """Run all jobs within `limit` seconds, `workers` at a time, and return one item per step, in order of arrival.

    A step that is not done in time gets an item that says so. `progress` is told the job, and how many jobs are done
    of how many there are.
    """
    crew = _Crew(time.monotonic() + limit, limit, progress)
    crew.waiting.extend(jobs)
    while crew.waiting or crew.running:
        while crew.waiting and len(crew.running) < workers:
            crew.start(crew.waiting.popleft())
        crew.wait()
    return crew.items


class _Crew:
    def __init__(self, deadline: float, limit: float, progress: Callable[[str, int, int], None] | None) -> None:
        self.deadline = deadline
        self.limit = limit
        self.progress = progress
        self.waiting: deque[Job] = deque()
        self.running: dict[Job, _Running] = {}
        self.items: list[Item] = []
        self.done = 0
        self._reports: queue.SimpleQueue[_Report] = queue.SimpleQueue()

    def start(self, job: Job) -> None:
        now = time.monotonic()
        running = _Running(job, min(now + job.limit, self.deadline), {step.path for step in job.steps})
        self.running[job] = running
        if now >= self.deadline:
            self._give_up(running)
            return
        threading.Thread(target=_work, args=(job, self._reports), name=f"capture {job.name}", daemon=True).start()

    def wait(self) -> None:
        """Take one report, or give up on the jobs whose time is over."""
        if not self.running:
            return
        first = min(running.until for running in self.running.values())
        try:
            job, step, item = self._reports.get(timeout=max(0.0, first - time.monotonic()))
        except queue.Empty:
            for running in [r for r in self.running.values() if r.until <= time.monotonic()]:
                self._give_up(running)
            return
        known = self.running.get(job)
        if known is None:
            return
        if step is None or item is None:
            self._finish(known)
        elif step.path in known.missing:
            known.missing.remove(step.path)
            self.items.append(item)

    def _give_up(self, running: _Running) -> None:
        late = time.monotonic() >= self.deadline
        seconds = self.limit if late else running.job.limit
        why = f"not done within the time limit of {seconds:g} s" + (" for the whole capture" if late else "")
        for step in running.job.steps:
            if step.path in running.missing:
                self.items.append(Item(step.path, None, FileRecord(command=step.command, error=why)))
        self._finish(running)

    def _finish(self, running: _Running) -> None:
        del self.running[running.job]
        self.done += 1
        if running.job.then is not None:
            self.waiting.extend(running.job.then())
        if self.progress is not None:
            self.progress(running.job.name, self.done, self.done + len(self.running) + len(self.waiting))


_Report = tuple[Job, Step | None, Item | None]
"""A step's item, or for a job that is over neither."""


def _work(job: Job, reports: queue.SimpleQueue[_Report]) -> None:
    """The thread of a job."""
    obstacle = ""
    if job.before is not None:
        try:
            job.before()
        except (UnavailableError, OSError) as error:
            obstacle = explain(error)
    for step in job.steps:
        if obstacle:
            reports.put((job, step, Item(step.path, None, FileRecord(command=step.command, error=obstacle))))
        else:
            reports.put((job, step, _run(step)))
    reports.put((job, None, None))


def _run(step: Step) -> Item:
    started = time.monotonic()
    try:
        output = step.run()
    except (UnavailableError, OSError) as error:
        return Item(step.path, None, _record(step, started, error=explain(error)))
    except Exception as error:  # a defect in one collector must not cost the others' results
        return Item(step.path, None, _record(step, started, error=f"internal error: {type(error).__name__}: {error}"))
    if output is None:
        return Item(step.path, None, _record(step, started, error=""))
    record = FileRecord(
        command=step.command,
        exit_status=output.exit_status,
        stderr=output.stderr,
        duration=time.monotonic() - started,
        error=output.incomplete,
    )
    return Item(output.path or step.path, output.content, record)


def _record(step: Step, started: float, error: str) -> FileRecord:
    return FileRecord(command=step.command, duration=time.monotonic() - started, error=error)


def explain(error: UnavailableError | OSError) -> str:
    """One sentence for a report: why there is nothing, and for a lack of permission what to do."""
    if isinstance(error, PermissionError):
        where = f" for {error.filename}" if error.filename else ""
        return f"no permission{where}: run as root"
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}"
    return str(error)
