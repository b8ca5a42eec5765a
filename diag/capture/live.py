"""This host into memory: every collector, side by side, each within its time limit.

The result is a bundle like one read from disk, so that whatever is seen live can be replayed from a file.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

from msgspec import Struct
from msgspec.structs import replace

from diag.capture import docker_engine, netfilter, netns, procfs, rtnetlink
from diag.capture.docker_context import Address, find_engine
from diag.capture.docker_engine import Engine, LiveContainer
from diag.capture.steps import Item, Job, Output, Step, UnavailableError, run_jobs
from diag.errors import CaptureError
from diag.model.bundle import Bundle, FileRecord

_HINT = "Run it as root on the Docker host, or read a bundle from there with --from"
_SANDBOXES = "/run/docker/netns"


class CaptureOptions(Struct, frozen=True):
    """How long a capture may take, in seconds, and what else it keeps."""

    timeout: float = 120.0
    """For everything: what is not there by then is a gap."""
    engine_timeout: float = 10.0
    """For each answer of the engine."""
    program_timeout: float = 15.0
    """For each program, such as iptables-save."""
    namespace_timeout: float = 60.0
    """For all parts of one network namespace."""
    labels: frozenset[str] = frozenset()
    """Keys of container labels to keep: labels may hold secrets, so that no others are, but for Compose's."""


_DEFAULTS = CaptureOptions()


def capture_live(
    options: CaptureOptions = _DEFAULTS,
    progress: Callable[[str, int, int], None] | None = None,
) -> Bundle:
    """Capture this host and its containers. Changes nothing.

    What cannot be had is a record with the reason. Raises CaptureError when nothing can be had at all.
    """
    if sys.platform != "linux":
        raise CaptureError("live capture works on Linux only", hint=_HINT)
    capture = _Capture(options)
    started = datetime.now(UTC)
    items = run_jobs(capture.first_jobs(), limit=options.timeout, workers=_WORKERS, progress=progress)
    capture.close()
    return _bundle(capture, items, started)


_WORKERS = 4
"""Threads: Python itself runs on one processor at a time, and the rest keeps the programs going."""


@dataclass
class _Capture:
    """The jobs of one capture; containers come when the engine has named them."""

    options: CaptureOptions
    engine: Engine | None = None
    problem: str = ""
    """Why there is no engine to ask."""
    elsewhere: str = ""
    """Why this host's state is not the engine's."""
    known: set[tuple[int, int]] = field(default_factory=set)
    """Namespaces that are captured already."""

    def first_jobs(self) -> list[Job]:
        own = netns.identity(netns.OWN)
        if own:
            self.known.add(own)
        try:
            self.engine = Engine(find_engine(), self.options.engine_timeout, self.options.labels)
        except UnavailableError as error:
            self.problem = str(error)
        if self.engine is None:
            return [_failed_job("engine", _ENGINE_PATHS, self.problem), self._host_job()]
        engine_job = Job("the engine", self.engine.steps(), limit=self.options.timeout, then=self._container_jobs)
        if not self.engine.address.is_local:
            self.elsewhere = docker_engine.elsewhere(self.engine)
            return [engine_job]
        return [engine_job, self._host_job()]

    def close(self) -> None:
        if self.engine is not None:
            self.engine.close()

    def _host_job(self) -> Job:
        return Job("the host", self._host_steps(), limit=self.options.namespace_timeout)

    def _host_steps(self) -> tuple[Step, ...]:
        return (
            *self._namespace_steps("host"),
            *procfs.socket_steps("host"),
            procfs.file_step("host/hosts", "cat /etc/hosts", lambda: procfs.read_host_file("/etc/hosts")),
            procfs.file_step(
                "host/resolv.conf", "cat /etc/resolv.conf", lambda: procfs.read_host_file("/etc/resolv.conf")
            ),
        )

    def _namespace_steps(self, folder: str) -> tuple[Step, ...]:
        return (
            *rtnetlink.steps(folder),
            *netfilter.steps(folder, self.options.program_timeout),
            procfs.sysctl_step(folder),
        )

    def _container_jobs(self) -> Iterable[Job]:
        """A job for each container's files and for each namespace that is not captured yet."""
        if self.engine is None:
            return []
        self.elsewhere = docker_engine.elsewhere(self.engine)
        jobs: list[Job] = []
        # A shared namespace belongs to the container that it was made for, so that one comes first.
        for container in sorted(self.engine.containers, key=lambda c: c.joined):
            jobs += self._jobs_of(container)
        if not self.elsewhere:
            jobs += self._docker_netns_jobs(self.engine)
        return jobs

    def _jobs_of(self, container: LiveContainer) -> list[Job]:
        name = f"container {container.id[:12]}"
        if self.elsewhere or (container.pid and procfs.belongs_to(container.pid, container.id) is False):
            why = self.elsewhere or f"process {container.pid} is not that container's, or is gone"
            running = bool(container.pid)
            return [_failed_job(name, self._container_paths(container), why)] if running else []
        files = Job(f"{name}: files", self._file_steps(container), limit=self.options.namespace_timeout)
        path = f"/proc/{container.pid}/ns/net"
        if not container.pid or not self._is_new(path):
            return [files]
        inside = Job(
            name,
            self._namespace_steps(container.folder),
            before=lambda: netns.enter(path),
            limit=self.options.namespace_timeout,
        )
        return [inside, replace(files, steps=(*files.steps, *self._sockets(container)))]

    def _is_new(self, path: str) -> bool:
        """Whether a namespace has not been met before; one that may not be looked at counts as new."""
        identity = netns.identity(path)
        if identity is None:
            return True
        new = identity not in self.known
        self.known.add(identity)
        return new

    def _sockets(self, container: LiveContainer) -> tuple[Step, ...]:
        return procfs.socket_steps(container.folder, str(container.pid))

    def _file_steps(self, container: LiveContainer) -> tuple[Step, ...]:
        files = (
            ("hosts", container.hosts_path, container.own_hosts),
            ("resolv.conf", container.resolv_path, container.own_resolv),
        )
        # A container that was never started has neither file nor process.
        return tuple(_resolver_step(container, *file) for file in files if container.pid or file[1])

    def _container_paths(self, container: LiveContainer) -> list[tuple[str, str]]:
        steps = (
            *self._namespace_steps(container.folder),
            *self._sockets(container),
            *self._file_steps(container),
        )
        return [(step.path, step.command) for step in steps]

    def _docker_netns_jobs(self, engine: Engine) -> Iterable[Job]:
        """Docker's own namespaces: overlay networks (`1-<id>`), the ingress, load balancers."""
        folders = {str(Path(c.sandbox).parent) for c in engine.containers if c.sandbox} or {_SANDBOXES}
        for folder in sorted(folders):
            try:
                names = sorted(os.listdir(folder))  # noqa: PTH208
            except OSError:
                continue
            for name in names:
                path = f"{folder}/{name}"
                if ("-" in name or "sbox" in name or name.startswith("lb_")) and self._is_new(path):
                    yield Job(
                        f"namespace {name}",
                        self._namespace_steps(f"netns/{name}"),
                        before=lambda path=path: netns.enter(path),  # type: ignore[misc]
                        limit=self.options.namespace_timeout,
                    )


_ENGINE_PATHS = [(step.path, step.command) for step in Engine(Address(), 0.0).steps()]


def _failed_job(name: str, paths: Iterable[tuple[str, str]], why: str) -> Job:
    """A job that gives nothing but the reason."""

    def refuse() -> None:
        raise UnavailableError(why)

    def nothing() -> Output:
        raise UnavailableError(why)

    return Job(name, tuple(Step(path, command, nothing) for path, command in paths), before=refuse)


def _resolver_step(container: LiveContainer, name: str, docker_path: str, own: bool) -> Step:
    """Docker's file for a container, which needs no step into it, unless the user mounted another one over it."""
    path = f"{container.folder}/{name}"
    command = f"docker exec {container.id[:12]} cat /etc/{name}"

    def inside() -> bytes:
        if not container.pid:
            raise UnavailableError("the container is not running")
        return procfs.read_inside(container.pid, "etc", name)

    def kept() -> bytes:
        return procfs.read_docker_file(docker_path)

    return procfs.file_step(path, command, *((inside, kept) if own else (inside, kept)[::-1]))


def _bundle(capture: _Capture, items: list[Item], started: datetime) -> Bundle:
    if capture.elsewhere:
        items = _without_host(capture, items)
    files = {item.path: item.content for item in items if item.content is not None}
    records = {item.path: item.record for item in items if item.content is not None or item.record.error}
    if not files:
        reasons = sorted({record.error for record in records.values() if record.error})
        raise CaptureError("nothing could be captured", why="; ".join(reasons[:2]), hint=_HINT)
    _note_other_netns(capture, records)
    name = capture.engine.info.get("Name") if capture.engine else None
    return Bundle(
        source="live",
        files=MappingProxyType(dict(sorted(files.items()))),
        records=MappingProxyType(dict(sorted(records.items()))),
        host=str(name or os.uname().nodename),
        captured_at=started.strftime("%Y-%m-%dT%H:%M:%SZ"),
    )


def _without_host(capture: _Capture, items: list[Item]) -> list[Item]:
    """The items without this host's, which is not the engine's."""
    kept = [item for item in items if not item.path.startswith("host/")]
    commands = [(step.path, step.command) for step in capture._host_steps()]
    return kept + [Item(path, None, FileRecord(command=c, error=capture.elsewhere)) for path, c in commands]


def _note_other_netns(capture: _Capture, records: dict[str, FileRecord]) -> None:
    """Say in the record of the host's addresses that they are not of the namespace that the engine works in."""
    path = "host/ip-addr.json"
    if capture.engine is None or capture.elsewhere or not capture.engine.info or path not in records:
        return
    warning = docker_engine.in_other_netns(capture.engine.address, 1.0)
    if warning:
        records[path] = replace(records[path], error=warning)
