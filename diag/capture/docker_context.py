"""Which engine the `docker` command would talk to: `DOCKER_HOST`, else a context, else the local socket.

The files are those of the Docker CLI (`docker context ls`): `config.json` names the current context, and
`contexts/meta/<SHA-256 of the name>/meta.json` holds its endpoint. They are read here and not by the SDK, which looks
for contexts only where there is a `config.json`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from diag.capture.steps import UnavailableError


class Tls(Struct, frozen=True):
    """Files for a TLS connection; an empty path means that there is none."""

    ca: str = ""
    cert: str = ""
    key: str = ""
    verify: bool = True


class Address(Struct, frozen=True):
    """Where the engine listens."""

    url: str = ""
    """Empty: the default socket."""
    tls: Tls | None = None

    @property
    def is_local(self) -> bool:
        """Whether the engine is behind a socket of this host; that it also runs here is another question."""
        return not self.url or self.url.startswith(("unix://", "http+unix://", "/", "npipe://"))

    @property
    def path(self) -> str:
        """The socket's path."""
        path = self.url.partition("://")[2] or (self.url if self.url.startswith("/") else "")
        return path or "/var/run/docker.sock"

    def __str__(self) -> str:
        return self.url or f"unix://{self.path}"


def find_engine(environment: Mapping[str, str] = os.environ) -> Address:
    """The engine to ask, in the order of the Docker CLI. Raises UnavailableError for a context that cannot be read."""
    folder = Path(environment.get("DOCKER_CONFIG") or Path(environment.get("HOME") or "/root") / ".docker")
    if environment.get("DOCKER_HOST"):
        return Address(environment["DOCKER_HOST"], _tls_of_environment(environment, folder))
    name = environment.get("DOCKER_CONTEXT") or _current(folder)
    return Address() if name in ("", "default") else _context(folder, name)


def _tls_of_environment(environment: Mapping[str, str], folder: Path) -> Tls | None:
    if not environment.get("DOCKER_TLS_VERIFY"):
        return None
    return _tls_of_folder(Path(environment.get("DOCKER_CERT_PATH") or folder), verify=True)


def _tls_of_folder(folder: Path, *, verify: bool) -> Tls:
    paths = (folder / f"{name}.pem" for name in ("ca", "cert", "key"))
    ca, cert, key = (str(path) if path.is_file() else "" for path in paths)
    return Tls(ca, cert, key, verify)


def _current(folder: Path) -> str:
    try:
        return str(_read(folder / "config.json").get("currentContext") or "")
    except FileNotFoundError:
        return ""


def _context(folder: Path, name: str) -> Address:
    digest = hashlib.sha256(name.encode()).hexdigest()
    try:
        endpoint = _read(folder / "contexts" / "meta" / digest / "meta.json")["Endpoints"]["docker"]
        url = endpoint["Host"]
        verify = not endpoint.get("SkipTLSVerify")
    except FileNotFoundError:
        raise UnavailableError(f"there is no Docker context `{name}`: see `docker context ls`") from None
    except (KeyError, TypeError, AttributeError):
        raise UnavailableError(f"the Docker context `{name}` has no endpoint: see `docker context inspect`") from None
    material = folder / "contexts" / "tls" / digest / "docker"
    return Address(str(url), _tls_of_folder(material, verify=verify) if material.is_dir() else None)


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise UnavailableError(f"{path} cannot be read: {error}") from None
    if not isinstance(document, dict):
        raise UnavailableError(f"{path} is not a JSON object")
    return document
