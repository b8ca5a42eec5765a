"""The engine's own objects, by its API (docker SDK): version, info, networks, containers.

An engine that accepts a connection and says nothing is given up on after one time limit, not after one per question.
"""

from __future__ import annotations

import functools
import json
import os
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from msgspec import Struct

from diag.capture import netns, redact
from diag.capture.docker_context import Address, Tls
from diag.capture.steps import Output, Step, UnavailableError

_MAX_SILENT = 3
"""Containers that may fail to answer before the engine is left alone."""


class LiveContainer(Struct, frozen=True):
    """What the other collectors need to know of a container; does not leave this package."""

    id: str
    pid: int
    hosts_path: str = ""
    resolv_path: str = ""
    own_hosts: bool = False
    """Something of the user's is mounted over `/etc/hosts`."""
    own_resolv: bool = False
    sandbox: str = ""
    """`SandboxKey`: where Docker keeps the namespace."""
    joined: bool = False
    """It shares another container's namespace (`--network container:X`)."""

    @property
    def folder(self) -> str:
        return f"containers/{self.id[:12]}"


@dataclass
class Engine:
    """One conversation with the engine, and what it brought to light."""

    address: Address
    limit: float
    """Seconds for each request."""
    labels: frozenset[str] = frozenset()
    """Keys of container labels to keep besides Compose's."""
    info: dict[str, Any] = field(default_factory=dict)
    containers: list[LiveContainer] = field(default_factory=list)
    _client: Any = None
    _refusal: str = ""

    def steps(self) -> tuple[Step, ...]:
        """The files below `docker/`."""
        return (
            Step("docker/version.json", "docker version --format '{{json .}}'", self._version),
            Step("docker/info.json", "docker info --format '{{json .}}'", self._info),
            Step("docker/networks.json", "docker network inspect $(docker network ls -q)", self._networks),
            Step("docker/containers.json", "docker inspect $(docker ps -aq)", self._containers),
        )

    def close(self) -> None:
        if self._client is not None:
            self._client.close()

    def _ask(self, question: Callable[[Any], Any]) -> Any:
        """An answer of the engine. Raises UnavailableError; once the engine is silent, at once."""
        if self._refusal:
            raise UnavailableError(self._refusal)
        try:
            if self._client is None:
                self._client = self._connect()
            return question(self._client)
        except Exception as error:
            reason, final = self._reason(error)
            if final:
                self._refusal = reason
            raise UnavailableError(reason) from error

    def _connect(self) -> Any:
        if self.address.is_local:
            # Whether anything listens is found out without the SDK, which takes long to import and wraps the reason.
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(self.limit)
                probe.connect(self.address.path)
        try:
            from docker import APIClient
        except ImportError:
            raise UnavailableError("the Python package docker is not installed: pip install docker") from None
        return APIClient(
            base_url=self.address.url or None,
            tls=_tls(self.address.tls),
            version="auto",
            timeout=self.limit,  # type: ignore[arg-type]  # a float will do
            use_ssh_client=True,
        )

    def _reason(self, error: Exception) -> tuple[str, bool]:
        """Why there is no answer, and whether asking on is of no use."""
        where = str(self.address)
        chain = _chain(error)
        if isinstance(error, UnavailableError):
            return str(error), True
        if any("timed out" in str(e).lower() or "Timeout" in type(e).__name__ for e in chain):
            return f"the engine at {where} did not answer within {self.limit:g} s", True
        for cause in chain:
            if isinstance(cause, PermissionError):
                return f"no permission for the engine at {where}: run as root, or join the group docker", True
            if isinstance(cause, FileNotFoundError):
                return f"there is no engine at {where}: start Docker, or set DOCKER_HOST", True
            if isinstance(cause, ConnectionRefusedError):
                return f"nothing answers at {where}: start Docker, or set DOCKER_HOST", True
        return f"the engine at {where}: {' '.join(str(error).split())[:300]}", self._client is None

    def _version(self) -> Output:
        return _output({"Server": redact.version(self._ask(lambda client: client.version()))})

    def _info(self) -> Output:
        self.info = self._ask(lambda client: client.info())
        return _output(redact.info(self.info))

    def _networks(self) -> Output:
        listed = self._ask(lambda client: client.networks())
        found, silent = self._inspect(listed, lambda id_, client: client.inspect_network(id_))
        return _output([redact.network(network) for network in found], _incomplete("networks", silent))

    def _containers(self) -> Output:
        listed = self._ask(lambda client: client.containers(all=True))
        found, silent = self._inspect(listed, lambda id_, client: client.inspect_container(id_))
        self.containers = [_live(container) for container in found if container.get("Id")]
        keep = redact.container_with(self.labels)
        return _output([keep(container) for container in found], _incomplete("containers", silent))

    def _inspect(
        self, listed: list[dict[str, Any]], inspect: Callable[[str, Any], dict[str, Any]]
    ) -> tuple[list[dict[str, Any]], list[str]]:
        """Every listed object in full, and the names of those that the engine would not show.

        One that has gone since is left out. One whose lock is held for ever, which happens to containers, is replaced
        by what the list says of it.
        """
        found: list[dict[str, Any]] = []
        silent: list[str] = []
        for entry in listed:
            try:
                if len(silent) >= _MAX_SILENT:
                    raise UnavailableError("not asked any more")
                found.append(self._ask(functools.partial(inspect, entry["Id"])))
            except UnavailableError as error:
                if getattr(getattr(error.__cause__, "response", None), "status_code", 0) == 404:
                    continue
                self._refusal = ""
                silent.append(_listed_name(entry))
                found.append(_from_list(entry))
        return found, silent


def _tls(files: Tls | None) -> Any:
    if files is None:
        return False
    from docker.tls import TLSConfig

    pair = (files.cert, files.key) if files.cert and files.key else None
    return TLSConfig(client_cert=pair, ca_cert=files.ca or None, verify=files.verify)


def _chain(error: BaseException | None) -> list[BaseException]:
    """The error and what is behind it; urllib3 hides the cause in its arguments."""
    found: list[BaseException] = []
    pending = [error]
    while pending and len(found) < 20:
        current = pending.pop()
        if current is None or current in found:
            continue
        found.append(current)
        pending += [current.__cause__, current.__context__, getattr(current, "reason", None)]
        pending += [part for part in current.args if isinstance(part, BaseException)]
    return found


def _output(document: Any, incomplete: str = "") -> Output:
    return Output((json.dumps(document, indent=1) + "\n").encode(), incomplete=incomplete)


def _incomplete(what: str, silent: list[str]) -> str:
    if not silent:
        return ""
    shown = ", ".join(silent[:5]) + (f" and {len(silent) - 5} more" if len(silent) > 5 else "")
    return f"the engine did not show these {what} in full: {shown}"


def _listed_name(entry: Mapping[str, Any]) -> str:
    names = entry.get("Names") or [entry.get("Name") or entry["Id"][:12]]
    return str(names[0]).lstrip("/")


def _from_list(entry: dict[str, Any]) -> dict[str, Any]:
    """What `docker ps` says of a container in the words of `docker inspect`."""
    if "Names" not in entry:
        return entry
    return {
        "Id": entry["Id"],
        "Name": "/" + _listed_name(entry),
        "Image": entry.get("ImageID"),
        "State": {"Status": entry.get("State"), "Running": entry.get("State") == "running"},
        "Config": {"Image": entry.get("Image"), "Labels": entry.get("Labels")},
        "HostConfig": {"NetworkMode": (entry.get("HostConfig") or {}).get("NetworkMode")},
        "NetworkSettings": {"Networks": (entry.get("NetworkSettings") or {}).get("Networks")},
    }


def _live(container: Mapping[str, Any]) -> LiveContainer:
    state = container.get("State") or {}
    mounted = {mount.get("Destination") for mount in container.get("Mounts") or []}
    return LiveContainer(
        id=container["Id"],
        pid=state.get("Pid") or 0,
        hosts_path=container.get("HostsPath") or "",
        resolv_path=container.get("ResolvConfPath") or "",
        own_hosts="/etc/hosts" in mounted,
        own_resolv="/etc/resolv.conf" in mounted,
        sandbox=(container.get("NetworkSettings") or {}).get("SandboxKey") or "",
        joined=str((container.get("HostConfig") or {}).get("NetworkMode")).startswith("container:"),
    )


def elsewhere(engine: Engine) -> str:
    """Why this host's state is not the engine's, in one sentence; empty when nothing says so."""
    if not engine.address.is_local:
        return f"the engine at {engine.address.url} is another host: run `diag capture` there"
    kernel = engine.info.get("KernelVersion")
    if kernel and kernel != os.uname().release:
        return f"the engine runs on another kernel ({kernel}), e.g. in a virtual machine: run `diag capture` there"
    return ""


def in_other_netns(address: Address, limit: float) -> str:
    """Why the namespace of this process is not the one that the engine works in; empty when it is, or cannot be told.

    The kernel tells a client which process listens on a Unix socket (`SO_PEERCRED`); with socket activation that is
    the service manager, whose namespace is the engine's all the same.
    """
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(limit)
            client.connect(address.path)
            pid, _, _ = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    except OSError:
        return ""
    theirs, own = netns.identity(f"/proc/{pid}/ns/net"), netns.identity(netns.OWN)
    if not theirs or not own or theirs == own:
        return ""
    return (
        f"the engine (process {pid}) works in another network namespace than this command: "
        f"run it with `nsenter --net=/proc/{pid}/ns/net`"
    )
