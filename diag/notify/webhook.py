"""One POST of JSON to a web address, tried again for as long as it may take.

Secrets come from the environment only, and no error names more of an address than its host: chat services have the
secret in the path. A redirect is an error, for what is sent is meant for the host that was named and for no other.
"""

from __future__ import annotations

import hashlib
import hmac
import threading
import time
from collections.abc import Mapping
from ipaddress import ip_address
from typing import TYPE_CHECKING

from msgspec import Struct

from diag import __version__
from diag.errors import NotifyError, UsageError

if TYPE_CHECKING:
    from urllib3 import PoolManager
    from urllib3.util import Url

TOKEN, SECRET = "DIAG_WEBHOOK_TOKEN", "DIAG_WEBHOOK_SECRET"
"""Variables: what goes into `Authorization: Bearer`, and the key of `X-Diag-Signature`."""
_TRY_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})


class Limits(Struct, frozen=True):
    """How long sending may take; all times in seconds."""

    total: float = 30.0
    """For everything, look-up of the name and pauses included."""
    attempt: float = 10.0
    """For each answer."""
    attempts: int = 4
    pause: float = 1.0
    """Before the second attempt; it doubles each time."""


_DEFAULTS = Limits()


def notify(url: str, payload: bytes, environment: Mapping[str, str], limits: Limits = _DEFAULTS) -> None:
    """Send the payload. TLS is verified against the system's authorities (`SSL_CERT_FILE`); proxies are those of the
    environment (`https_proxy`, `no_proxy`).

    Raises UsageError for an address or a secret that cannot be used, NotifyError when nobody took the payload in time.
    """
    target = _target(url)
    headers = _headers(target, payload, environment)
    delivery = _Delivery(target, payload, headers, _proxy(target, environment), limits)
    # A thread that is left behind, for neither the look-up of a name nor an answer that trickles in has a time limit.
    worker = threading.Thread(target=delivery.run, name="webhook", daemon=True)
    worker.start()
    worker.join(limits.total)
    if worker.is_alive():
        raise NotifyError(_what(target), why=f"not done within {limits.total:g} s", hint=delivery.last)
    if delivery.problem:
        raise NotifyError(_what(target), why=delivery.problem)


def _what(target: Url) -> str:
    return f"the webhook at {target.host} was not told"


def _target(url: str) -> Url:
    from urllib3.exceptions import LocationParseError
    from urllib3.util import parse_url

    try:
        target = parse_url(url)
    except LocationParseError:
        raise UsageError("the webhook's address cannot be read", hint="Give it as https://host/path") from None
    if target.scheme not in ("http", "https") or not target.host:
        raise UsageError("the webhook's address is not one of the web", hint="Give it as https://host/path")
    if target.auth:
        raise UsageError(
            "the webhook's address has a user or a password in it", hint=f"Put a token into {TOKEN} instead"
        )
    return target


def _headers(target: Url, payload: bytes, environment: Mapping[str, str]) -> dict[str, str]:
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"docker-diag/{__version__}",
        "X-Diag-Delivery": hashlib.sha256(payload).hexdigest()[:32],  # the same each time, so that doubles can be told
    }
    if token := environment.get(TOKEN, "").strip():
        if not (token.isascii() and token.isprintable()):
            raise UsageError(f"{TOKEN} has characters that no header may have")
        if target.scheme != "https" and not _is_own(str(target.host)):
            raise UsageError(f"{TOKEN} would be sent in the clear", hint="Use an https:// address for the webhook")
        headers["Authorization"] = f"Bearer {token}"
    if secret := environment.get(SECRET, "").strip():
        digest = hmac.new(secret.encode("utf-8", "surrogateescape"), payload, hashlib.sha256)
        headers["X-Diag-Signature"] = f"sha256={digest.hexdigest()}"
    return headers


def _is_own(host: str) -> bool:
    """Whether it is this machine."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _proxy(target: Url, environment: Mapping[str, str]) -> str:
    """The proxy to go by; empty for none."""
    name = f"{target.scheme}_proxy"
    proxy = environment.get(name) or (environment.get(name.upper()) if target.scheme == "https" else "") or ""
    spared = (environment.get("no_proxy") or environment.get("NO_PROXY") or "").lower().replace(",", " ").split()
    host = str(target.host).lower()
    if not proxy or _is_own(host) or "*" in spared or any(f".{host}".endswith(f".{s.lstrip('.')}") for s in spared):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"


class _Delivery:
    """The attempts, in a thread of their own. Nothing of the address is in what it says."""

    def __init__(self, target: Url, payload: bytes, headers: dict[str, str], proxy: str, limits: Limits) -> None:
        self._target = target
        self._payload = payload
        self._headers = headers
        self._proxy = proxy
        self._limits = limits
        self.problem = ""
        """Why nobody took it; empty when somebody did."""
        self.last = ""
        """What the last attempt came to."""

    def run(self) -> None:
        """Try until it is taken, refused, or enough."""
        try:
            pool = self._pool()
            for attempt in range(self._limits.attempts):
                if attempt:
                    time.sleep(self._limits.pause * 2 ** (attempt - 1))
                self.last, again = self._attempt(pool)
                if not again:
                    break
            self.problem = self.last
        except Exception as error:  # in a thread nobody else would hear of it
            self.problem = f"internal error: {type(error).__name__}"

    def _pool(self) -> PoolManager:
        import urllib3
        from urllib3.util import make_headers, parse_url

        timeout = urllib3.Timeout(total=self._limits.attempt)
        if not self._proxy:
            return urllib3.PoolManager(timeout=timeout, retries=False)
        auth = parse_url(self._proxy).auth
        headers = make_headers(proxy_basic_auth=auth) if auth else None
        return urllib3.ProxyManager(self._proxy, proxy_headers=headers, timeout=timeout, retries=False)

    def _attempt(self, pool: PoolManager) -> tuple[str, bool]:
        """What is wrong, if anything, and whether it may be better the next time."""
        from urllib3.exceptions import HTTPError, SSLError

        try:
            answer = pool.request(
                "POST",
                self._target.url,
                body=self._payload,
                headers=self._headers,
                redirect=False,
                preload_content=False,
            )
        except SSLError as error:
            return f"TLS: {_reason(error)}", False
        except HTTPError as error:
            return _reason(error), True
        answer.close()
        if 200 <= answer.status < 300:
            return "", False
        if 300 <= answer.status < 400:
            return f"it redirects (status {answer.status}), which is not followed", False
        return f"status {answer.status}", answer.status in _TRY_AGAIN


def _reason(error: Exception) -> str:
    """The kind of trouble and the system's word for it: urllib3's own texts have the address in them."""
    cause: BaseException | None = error
    while cause is not None:
        for part in (cause, *cause.args, getattr(cause, "reason", None)):
            if isinstance(part, OSError) and (part.strerror or getattr(part, "verify_message", "")):
                return str(getattr(part, "verify_message", "") or part.strerror)
        cause = cause.__cause__ or cause.__context__
    return {
        "ConnectTimeoutError": "no connection in time",
        "ReadTimeoutError": "no answer in time",
        "NameResolutionError": "its name cannot be resolved",
    }.get(type(error).__name__, type(error).__name__)
