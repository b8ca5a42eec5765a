"""The webhook against a real server: told once, told again, never for long, and never more than it may know."""

from __future__ import annotations

import hashlib
import hmac
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import trustme

from diag.errors import NotifyError, UsageError
from diag.notify.webhook import SECRET, TOKEN, Limits, notify

QUICK = Limits(total=5.0, attempt=2.0, attempts=4, pause=0.01)
PAYLOAD = b'{"healthy": false}\n'
Answer = int | Callable[["Handler"], None]


class Server(ThreadingHTTPServer):
    """Gives the answers in their order, the last one again and again, and keeps what it was told."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, *answers: Answer, context: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers = list(answers)
        self.told: list[tuple[Message, bytes]] = []
        if context:
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self.url = f"http{'s' if context else ''}://localhost:{self.server_port}/hooks/s3cret?key=s3cret"
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.thread.start()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that does not trust this server, or has given up, is what some tests are about."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        self.server.told.append((self.headers, self.rfile.read(int(self.headers["Content-Length"]))))
        answer = self.server.answers.pop(0) if len(self.server.answers) > 1 else self.server.answers[0]
        if callable(answer):
            answer(self)
        else:
            self.send_response(answer)
            self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name is http.server's
        pass


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(*answers: Answer, **options: Any) -> Server:
        servers.append(Server(*answers, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def refused(url: str, limits: Limits = QUICK, token: str = "") -> str:
    """What is said when nobody takes it."""
    with pytest.raises(NotifyError) as caught:
        notify(url, PAYLOAD, {TOKEN: token}, limits)
    said = str(caught.value)
    assert "s3cret" not in said
    assert "was not told" in said
    return said


def test_it_is_told_once(serve: Callable[..., Server]) -> None:
    server = serve(204)
    notify(server.url, PAYLOAD, {TOKEN: " abc \n", SECRET: "key"}, QUICK)
    ((headers, body),) = server.told
    assert body == PAYLOAD
    assert headers["Content-Type"] == "application/json"
    assert headers["Authorization"] == "Bearer abc"
    assert headers["X-Diag-Signature"] == "sha256=" + hmac.new(b"key", PAYLOAD, hashlib.sha256).hexdigest()
    assert headers["User-Agent"].startswith("docker-diag/")


def test_without_secrets_there_are_no_headers_for_them(serve: Callable[..., Server]) -> None:
    server = serve(200)
    notify(server.url, PAYLOAD, {}, QUICK)
    headers = server.told[0][0]
    assert (headers["Authorization"], headers["X-Diag-Signature"]) == (None, None)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_trouble_that_may_pass_is_waited_for(serve: Callable[..., Server], status: int) -> None:
    server = serve(status, status, 200)
    notify(server.url, PAYLOAD, {}, QUICK)
    assert len(server.told) == 3
    assert len({headers["X-Diag-Delivery"] for headers, _ in server.told}) == 1


def test_there_is_an_end_to_trying(serve: Callable[..., Server]) -> None:
    server = serve(502)
    assert refused(server.url).endswith("was not told: status 502")
    assert len(server.told) == QUICK.attempts


@pytest.mark.parametrize("status", [400, 401, 404, 410])
def test_a_refusal_is_one(serve: Callable[..., Server], status: int) -> None:
    server = serve(status)
    assert f"status {status}" in refused(server.url)
    assert len(server.told) == 1


def hang(handler: Handler) -> None:
    time.sleep(10)


def trickle(handler: Handler) -> None:
    """A line that never ends, so that no single read takes long."""
    for _ in range(100):
        handler.wfile.write(b"x")
        time.sleep(0.1)


@pytest.mark.parametrize("answer", [hang, trickle])
def test_no_server_holds_it_up(serve: Callable[..., Server], answer: Answer) -> None:
    server = serve(answer)
    start = time.monotonic()
    assert "not done within 0.5 s" in refused(server.url, Limits(total=0.5, attempt=5.0))
    assert time.monotonic() - start < 2


def test_each_answer_has_its_time(serve: Callable[..., Server]) -> None:
    server = serve(hang, 200)
    notify(server.url, PAYLOAD, {}, Limits(total=5.0, attempt=0.2, attempts=2, pause=0.01))
    assert len(server.told) == 2


def test_no_other_host_is_told(serve: Callable[..., Server]) -> None:
    other = serve(200)

    def redirect(handler: Handler) -> None:
        handler.send_response(307)
        handler.send_header("Location", other.url)
        handler.end_headers()

    server = serve(redirect)
    assert "redirects (status 307)" in refused(server.url, QUICK, "abc")
    assert not other.told


def test_nobody_there(serve: Callable[..., Server]) -> None:
    server = serve(200)
    server.shutdown()
    server.server_close()
    assert "refused" in refused(server.url)


def test_tls_is_verified(
    serve: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    server = serve(200, context=context)
    assert "TLS: unable to get local issuer certificate" in refused(server.url)
    trusted = tmp_path_factory.mktemp("tls") / "ca.pem"
    authority.cert_pem.write_to_path(trusted)
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    notify(server.url, PAYLOAD, {TOKEN: "abc"}, QUICK)
    assert len(server.told) == 1
    assert "mismatch" in refused(server.url.replace("localhost", "127.0.0.1"))


def test_a_proxy_of_the_environment_is_used_and_spared(serve: Callable[..., Server]) -> None:
    proxy = serve(200)
    address = f"127.0.0.1:{proxy.server_port}"
    notify("http://hooks.invalid/a", PAYLOAD, {"http_proxy": f"http://user:pass@{address}"}, QUICK)
    assert proxy.told[0][0]["Proxy-Authorization"].startswith("Basic ")
    once = Limits(total=0.5, attempts=1)
    with pytest.raises(NotifyError, match="was not told"):
        notify("http://hooks.invalid/a", PAYLOAD, {"http_proxy": address, "no_proxy": "a,.invalid"}, once)
    assert len(proxy.told) == 1


@pytest.mark.parametrize(
    ("url", "environment", "why"),
    [
        ("ftp://host/a", {}, "not one of the web"),
        ("host/a", {}, "not one of the web"),
        ("https://", {}, "not one of the web"),
        ("https://[::1/s3cret", {}, "cannot be read"),
        ("https://user:s3cret@host/", {}, "a user or a password"),
        ("http://host/", {TOKEN: "s3cret"}, "in the clear"),
        ("https://host/", {TOKEN: "s3cret\nX-Other: a"}, "no header may have"),
    ],
)
def test_what_cannot_be_used_is_refused_without_a_word_of_it(url: str, environment: dict[str, str], why: str) -> None:
    with pytest.raises(UsageError, match=why) as caught:
        notify(url, PAYLOAD, environment, QUICK)
    assert "s3cret" not in str(caught.value)
