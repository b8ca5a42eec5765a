"""An engine that says what a test wants it to say, on a socket of its own."""

from __future__ import annotations

import json
import re
import socketserver
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

VERSION = {"Version": "27.1.0", "ApiVersion": "1.46", "MinAPIVersion": "1.24", "Os": "linux", "GitCommit": "abc"}

Answer = Callable[[], tuple[int, Any]]


class FakeEngine(socketserver.ThreadingUnixStreamServer):
    """Answers by path, without the version in front; an answer that is a callable is called, and may take its time."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, path: Path, answers: dict[str, Any]) -> None:
        self.answers = {
            "/version": VERSION,
            "/info": {"Name": "fake"},
            "/networks": [],
            "/containers/json": [],
        } | answers
        self.asked: list[str] = []
        super().__init__(str(path), _Handler)
        self.url = f"unix://{path}"
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that gave up before an answer that came late is what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeEngine

    def do_GET(self) -> None:
        path = re.sub(r"^/v[0-9.]+", "", self.path.partition("?")[0])
        self.server.asked.append(self.path)
        answer = self.server.answers.get(path, (404, {"message": f"no such thing: {path}"}))
        status, body = answer() if callable(answer) else answer if isinstance(answer, tuple) else (200, answer)
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def address_string(self) -> str:
        return "client"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name is http.server's
        pass


def silence(seconds: float = 30) -> Answer:
    """An answer that does not come."""

    def wait() -> tuple[int, Any]:
        time.sleep(seconds)
        return 200, {}

    return wait
