"""A real Docker engine in a network namespace of its own, and real packets between its containers.

Nothing leaves the namespace: it has no link to the machine's. Processes are ended by their id, and what the engine
mounted is unmounted.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import io
import json
import os
import select
import signal
import socket
import struct
import subprocess
import tarfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

TCP_PORTS = (80, 5432, 9999)
UDP_PORTS = (53, 9999)
CLOSED_PORT = 81
_CLONE_NEWNET = 0x40000000
_KEPT = 2.0
"""Seconds until the listener closes a connection: longer than a caller waits for all of its answers."""
_APPLETS = ("sh", "ping", "nc", "wget", "httpd", "sleep", "cat", "ip", "nslookup", "head", "timeout", "echo")


def setns(path: str) -> None:
    """Move the calling thread into a network namespace."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns", path)
    finally:
        os.close(descriptor)


def inside(path: str, function: Callable[[], T]) -> T:
    """Call a function in a namespace, in a thread that ends with it."""

    def run() -> T:
        setns(path)
        return function()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(run).result()


@dataclass
class Engine:
    """A dockerd in the namespace `name`, with everything it writes below `folder`."""

    name: str
    folder: Path
    process: subprocess.Popen[bytes] | None = None
    netns: str = field(init=False)
    url: str = field(init=False)

    def __post_init__(self) -> None:
        self.netns = f"/run/netns/{self.name}"
        self.url = f"unix://{self.folder}/docker.sock"

    @property
    def environment(self) -> dict[str, str]:
        clean = {key: value for key, value in os.environ.items() if not key.startswith("DOCKER_")}
        return {**clean, "DOCKER_HOST": self.url}

    def run(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """A command in the engine's namespace, talking to the engine."""
        return subprocess.run(
            ["nsenter", f"--net={self.netns}", *words],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            **options,
        )

    def docker(self, *words: str, fails: bool = False, **options: Any) -> str:
        done = self.run("docker", *words, **options)
        assert (done.returncode != 0) == fails, f"docker {' '.join(words)}: {done.stdout}{done.stderr}"
        return (done.stderr if fails else done.stdout).strip()

    def start(self) -> None:
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        subprocess.run(["ip", "-n", self.name, "link", "set", "lo", "up"], check=True)
        inside(self.netns, lambda: Path("/proc/sys/net/ipv4/ip_forward").write_text("1"))
        daemon = ["dockerd", "--data-root", f"{self.folder}/data", "--exec-root", f"{self.folder}/exec"]
        daemon += ["-H", self.url, "-p", f"{self.folder}/docker.pid"]
        # nsenter and not `ip netns exec`, which hides the cgroup mounts that dockerd needs.
        with (self.folder / "dockerd.log").open("wb") as log:
            self.process = subprocess.Popen(
                ["nsenter", f"--net={self.netns}", *daemon], stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + 30
        while self.run("docker", "version").returncode:
            log_text = (self.folder / "dockerd.log").read_text("utf-8", "replace")
            assert self.process.poll() is None, log_text[-2000:]
            assert time.monotonic() < deadline, log_text[-2000:]
            time.sleep(0.2)
        subprocess.run(
            ["docker", "import", "-", "busybox:latest"],
            input=_busybox(),
            env=self.environment,
            check=True,
            capture_output=True,
        )

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            ids = self.docker("ps", "-aq").split()
            if ids:
                self.run("docker", "rm", "-f", *ids)
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)
        subprocess.run(["ip", "netns", "del", self.name], check=False)
        mounted = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for place in sorted((m for m in mounted if m.startswith(f"{self.folder}/")), reverse=True):
            subprocess.run(["umount", "-l", place], check=False)

    def settle(self) -> None:
        """Wait until IPv6 has found its new addresses to be unique: until then routes come and go."""
        deadline = time.monotonic() + 10
        while self.run("ip", "-6", "addr", "show", "tentative").stdout and time.monotonic() < deadline:
            time.sleep(0.1)

    def run_container(self, name: str, *options: str) -> None:
        self.docker("run", "-d", "--name", name, *options, "busybox", "sleep", "100000")

    def inspect(self) -> list[dict[str, Any]]:
        ids = self.docker("ps", "-aq", "--no-trunc").split()
        found: list[dict[str, Any]] = json.loads(self.docker("inspect", *ids)) if ids else []
        return found


def _busybox() -> bytes:
    """A root file system with nothing but a static busybox."""
    program = Path("/bin/busybox" if Path("/bin/busybox").exists() else "/usr/bin/busybox").read_bytes()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for folder in ("bin", "etc", "tmp"):
            info = tarfile.TarInfo(folder)
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(info)
        info = tarfile.TarInfo("bin/busybox")
        info.size, info.mode = len(program), 0o755
        archive.addfile(info, io.BytesIO(program))
        for applet in _APPLETS:
            info = tarfile.TarInfo(f"bin/{applet}")
            info.type, info.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(info)
    return buffer.getvalue()


# Packets


@dataclass(frozen=True)
class Flow:
    """What one container tries; `port` is 0 for ICMP."""

    source: str
    address: str
    protocol: str
    port: int = 0


class HasNetns(Protocol):
    """Something with a network namespace, by its path."""

    @property
    def netns(self) -> str: ...


@dataclass
class Place:
    """A container's namespace."""

    name: str
    pid: int
    addresses: tuple[str, ...]

    @property
    def netns(self) -> str:
        return f"/proc/{self.pid}/ns/net"


def places(engine: Engine) -> list[Place]:
    """The running containers with their addresses."""
    found = []
    for container in engine.inspect():
        if container["State"]["Pid"]:
            networks = (container["NetworkSettings"]["Networks"] or {}).values()
            addresses = tuple(n["IPAddress"] for n in networks if n.get("IPAddress"))
            found.append(Place(container["Name"].lstrip("/"), container["State"]["Pid"], addresses))
    return sorted(found, key=lambda place: place.name)


def _answer_everything() -> None:
    """Let unprivileged ping sockets exist and every rejection answer: ICMP errors are rate limited by default."""
    for name, value in (("ping_group_range", "0 2147483647"), ("icmp_ratelimit", "0")):
        Path(f"/proc/sys/net/ipv4/{name}").write_text(value)


@contextlib.contextmanager
def listening(spaces: Iterable[HasNetns]) -> Iterator[None]:
    """TCP listeners and UDP echoes in every namespace, served by one thread."""
    sockets: list[socket.socket] = []
    for space in {Path(p.netns).stat().st_ino: p for p in spaces}.values():
        inside(space.netns, _answer_everything)
        sockets += inside(space.netns, _listeners)
    done = threading.Event()
    server = threading.Thread(target=_serve, args=(sockets, done))
    server.start()
    try:
        yield
    finally:
        done.set()
        server.join()
        for listener in sockets:
            listener.close()


def _listeners() -> list[socket.socket]:
    made = []
    wanted = [(socket.SOCK_STREAM, port) for port in TCP_PORTS] + [(socket.SOCK_DGRAM, port) for port in UDP_PORTS]
    for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        for kind, port in wanted:
            listener = socket.socket(family, kind)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setblocking(False)
            listener.bind((address, port))
            if kind == socket.SOCK_STREAM:
                listener.listen(256)
            made.append(listener)
    return made


def _serve(sockets: list[socket.socket], done: threading.Event) -> None:
    """Answer until done. An accepted connection is kept for a while: what the caller's stack sends after the handshake
    may meet other rules' answers (`fib` of an established socket), and they are no part of connect()."""
    by_number = {s.fileno(): s for s in sockets}
    accepted: deque[tuple[float, socket.socket]] = deque()
    poll = select.epoll()
    for number in by_number:
        poll.register(number, select.EPOLLIN)
    while not done.is_set():
        for number, _ in poll.poll(0.1):
            with contextlib.suppress(OSError):
                if by_number[number].type == socket.SOCK_STREAM:
                    accepted.append((time.monotonic() + _KEPT, by_number[number].accept()[0]))
                else:
                    data, sender = by_number[number].recvfrom(2048)
                    by_number[number].sendto(data, sender)
        while accepted and accepted[0][0] < time.monotonic():
            accepted.popleft()[1].close()
    for _, connection in accepted:
        connection.close()
    poll.close()


def pings(spaces: list[Place], wait: float = 0.8) -> dict[Flow, str]:
    """What really happens to ICMP, TCP and UDP from every container to every address of the others: `ok`, or the errno.

    Everything is sent twice, and what does not agree is left out: that was the machine, not the rules.
    """
    addresses = sorted({address for place in spaces for address in place.addresses})
    truth: dict[Flow, str] = {}

    def probe(place: Place) -> dict[Flow, str]:
        flows = [flow for address in addresses for flow in _flows(place.name, address)]
        first = inside(place.netns, lambda: send(flows, wait))
        second = inside(place.netns, lambda: send(flows, wait))
        return {flow: second[flow] for flow in flows if (first[flow] == "ok") == (second[flow] == "ok")}

    with ThreadPoolExecutor(4) as pool:
        for answers in pool.map(probe, spaces):
            truth |= answers
    return truth


def _flows(source: str, address: str) -> Iterator[Flow]:
    yield Flow(source, address, "icmp")
    for port in (*TCP_PORTS, CLOSED_PORT):
        yield Flow(source, address, "tcp", port)
    for port in UDP_PORTS:
        yield Flow(source, address, "udp", port)


def send(flows: Iterable[Flow], wait: float) -> dict[Flow, str]:
    """Send from the calling thread's namespace and wait for the answers, `wait` seconds for all."""
    answers: dict[Flow, str] = {}
    pending: dict[int, tuple[Flow, socket.socket]] = {}
    poll = select.epoll()
    for flow in flows:
        sender, result = _start(flow)
        if result:
            answers[flow] = result
            sender.close()
        else:
            pending[sender.fileno()] = flow, sender
            poll.register(sender, select.EPOLLERR | (select.EPOLLOUT if flow.protocol == "tcp" else select.EPOLLIN))
    deadline = time.monotonic() + wait
    while pending and (left := deadline - time.monotonic()) > 0:
        for number, _ in poll.poll(left):
            flow, sender = pending.pop(number)
            poll.unregister(number)
            answers[flow] = _finish(flow, sender)
            sender.close()
    for flow, sender in pending.values():
        # An ICMP error that came while connect() held the socket is kept as a soft error until the SYN is sent again.
        number = sender.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        answers[flow] = _name(number) if number else "timeout"
        sender.close()
    poll.close()
    return answers


def _start(flow: Flow) -> tuple[socket.socket, str]:
    kind = socket.SOCK_STREAM if flow.protocol == "tcp" else socket.SOCK_DGRAM
    six = ":" in flow.address
    ping = socket.IPPROTO_ICMPV6 if six else socket.IPPROTO_ICMP
    sender = socket.socket(socket.AF_INET6 if six else socket.AF_INET, kind, ping if flow.protocol == "icmp" else 0)
    sender.setblocking(False)
    try:
        sender.connect((flow.address, flow.port))
        if flow.protocol != "tcp":
            echo = struct.pack("!BBHHH", 128 if six else 8, 0, 0, 1, 1) + b"abcdefgh"
            sender.send(echo if flow.protocol == "icmp" else b"x")
    except BlockingIOError:
        return sender, ""
    except OSError as error:
        return sender, _name(error.errno)
    return sender, "ok" if flow.protocol == "tcp" else ""


def _finish(flow: Flow, sender: socket.socket) -> str:
    number = sender.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if number:
        return _name(number)
    if flow.protocol != "tcp":
        try:
            sender.recv(2048)
        except OSError as error:
            return _name(error.errno)
    return "ok"


def _name(number: int | None) -> str:
    return errno.errorcode.get(number or 0, str(number))


def lookups(engine: Engine, spaces: list[Place]) -> dict[tuple[str, str], str | None]:
    """The address that each container's own resolver gives for the name of each other; None for no such name."""
    names = [place.name for place in spaces]
    # The first line that ping prints names the address; -W ends the wait for an answer nobody needs.
    each = " & ".join(f'echo "##{name} $(timeout 4 ping -c1 -W1 -q {name} 2>&1 | head -1)"' for name in names)

    def ask(place: Place) -> dict[tuple[str, str], str | None]:
        found: dict[tuple[str, str], str | None] = {}
        for line in engine.docker("exec", place.name, "sh", "-c", f"{each} & wait").splitlines():
            name, _, rest = line.removeprefix("##").partition(" ")
            found[place.name, name] = rest.split("(")[1].split(")")[0] if rest.startswith("PING") else None
        return found

    with ThreadPoolExecutor(8) as pool:
        return {key: address for answers in pool.map(ask, spaces) for key, address in answers.items()}
