"""What a check asks of the engine is counted, whoever asks; and, where an engine can run, all of it once."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from benchmarks.check import counting
from benchmarks.ping import why_not
from tests.live.lab import Engine

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


def test_requests_are_counted_and_passed_on(tmp_path: Path) -> None:
    engine = Engine("nobody", tmp_path)
    with socket.socket(socket.AF_UNIX) as daemon:
        daemon.bind(str(tmp_path / "docker.sock"))
        daemon.listen()

        def answer() -> None:
            connection, _ = daemon.accept()
            with connection:
                while connection.recv(4096):
                    connection.sendall(ANSWER)

        thread = threading.Thread(target=answer)
        thread.start()
        with counting(engine, tmp_path / "counted.sock") as server, socket.socket(socket.AF_UNIX) as client:
            client.connect(str(tmp_path / "counted.sock"))
            for path in ("/v1.41/containers/json?all=1", f"/v1.41/containers/{'a1' * 32}/json"):
                client.sendall(f"GET {path} HTTP/1.1\r\nHost: docker\r\n\r\n".encode())
                assert client.recv(4096) == ANSWER
            client.shutdown(socket.SHUT_WR)
            thread.join()
            assert dict(server.seen) == {"GET /containers/json?all=1": 1, "GET /containers/ID/json": 1}


@pytest.mark.live
def test_the_whole_of_it() -> None:
    reason = why_not()
    if reason and os.environ.get("CI"):
        pytest.fail(f"the benchmark cannot run in CI: {reason}")
    if reason:
        pytest.skip(reason)
    words = [sys.executable, "-m", "benchmarks.check", "--containers", "2", "--networks", "1", "--runs", "1"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "requests to the daemon:" in done.stdout
    assert "× GET /containers/ID/json" in done.stdout
