"""What a `diag check` of cron costs a real host: `python -m benchmarks.check`, as root.

A Docker engine of its own is started in a network namespace of its own, with some containers on some networks. Each run
has a state folder and talks to the engine through a socket that counts its requests; the engine's own processor time is
taken from /proc.
"""

from __future__ import annotations

import argparse
import os
import re
import socket
import socketserver
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.commands import DIAG, circumstances, exit_when_terminated
from benchmarks.figures import Spread
from benchmarks.measure import measure
from benchmarks.ping import adopt_orphans, host, why_not
from tests.live.lab import Engine

_LIMIT = 120.0
"""Seconds for each check."""
_REQUEST = re.compile(rb"^(GET|HEAD|POST|PUT|DELETE) (?:/v[\d.]+)?(/\S*) HTTP/1\.[01]\r$", re.MULTILINE)
_ID = re.compile(r"/[0-9a-f]{12,64}(?=/|$)")


class _Relay(socketserver.BaseRequestHandler):
    """Passes one connection on to the engine, and notes what is asked of it."""

    server: _Counter

    def handle(self) -> None:
        with socket.socket(socket.AF_UNIX) as upstream:
            upstream.connect(self.server.upstream)
            back = threading.Thread(target=self._pass, args=(upstream, self.request, None))
            back.start()
            self._pass(self.request, upstream, self.server.seen)
            back.join()

    def _pass(self, source: socket.socket, sink: socket.socket, seen: Counter[str] | None) -> None:
        while data := source.recv(1 << 16):
            if seen is not None:
                seen.update(f"{verb.decode()} {_ID.sub('/ID', path.decode())}" for verb, path in _REQUEST.findall(data))
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


class _Counter(socketserver.ThreadingUnixStreamServer):
    """A socket in front of the engine's."""

    daemon_threads = True

    def __init__(self, path: str, upstream: str) -> None:
        super().__init__(path, _Relay)
        self.upstream = upstream
        self.seen: Counter[str] = Counter()


@contextmanager
def counting(engine: Engine, path: Path) -> Iterator[_Counter]:
    """A socket that counts requests, for as long as the context lasts."""
    with _Counter(str(path), engine.url.removeprefix("unix://")) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def engine_seconds(engine: Engine) -> float:
    """Processor seconds that the engine has used so far, without its children's."""
    assert engine.process is not None
    fields = Path(f"/proc/{engine.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--containers", type=int, default=14)
    parser.add_argument("--networks", type=int, default=4)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args(arguments)
    if reason := why_not():
        print(f"cannot start an engine here: {reason}", file=sys.stderr)
        return 2
    exit_when_terminated()
    adopt_orphans()
    with tempfile.TemporaryDirectory(prefix="check-") as folder:
        place = Path(folder)
        (place / "engine").mkdir()
        with (
            host(options.containers, options.networks, place / "engine", print) as engine,
            counting(engine, place / "counted.sock") as server,
        ):
            command = (f"--net={engine.netns}", *DIAG, "check", "--quiet", "--state", str(place / "state"))
            environment = {**engine.environment, "DOCKER_HOST": f"unix://{place}/counted.sock"}
            walls, cpus, engines, requests = [], [], [], []
            for number in range(options.runs + 1):
                server.seen.clear()
                before = engine_seconds(engine)
                used = measure(("nsenter", *command), _LIMIT, environment=environment)
                if used.status not in (0, 1):
                    print(f"a check ended with status {used.status}", file=sys.stderr)
                    return 1
                if number:  # the first has nothing to compare with
                    walls.append(used.wall)
                    cpus.append(used.cpu)
                    engines.append(engine_seconds(engine) - before)
                    requests.append(server.seen.total())
            asked = dict(sorted(server.seen.items()))
    print(f"{options.containers} containers, {options.networks} networks, {options.runs} runs after the first")
    for name, figures in (("wall", walls), ("processor", cpus), ("processor of dockerd", engines)):
        spread = Spread.of(figures)
        print(f"{name}: median {spread.median:.2f} s ({spread.min:.2f} to {spread.max:.2f})")
    print(f"requests to the daemon: {Spread.of(requests).median:.0f}, of these in the last run:")
    for request, number in asked.items():
        print(f"  {number} × {request}")
    print(circumstances())
    return 0


if __name__ == "__main__":
    sys.exit(main())
