"""What `/proc` and `/etc` know of a namespace or a container: sysctls, listening sockets, resolver files."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from diag.capture.steps import Output, Step, UnavailableError

_SYS = "/proc/sys/"
_SINGLE = (
    "net.ipv4.ip_forward",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_nonlocal_bind",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.icmp_echo_ignore_all",
    "net.ipv6.bindv6only",
    "net.ipv6.icmp.echo_ignore_all",
    "net.bridge.bridge-nf-call-iptables",
    "net.bridge.bridge-nf-call-ip6tables",
    "net.bridge.bridge-nf-call-arptables",
    "net.netfilter.nf_conntrack_max",
    "net.netfilter.nf_conntrack_count",
)
_PER_INTERFACE = {
    "ipv4": ("forwarding", "rp_filter", "route_localnet", "arp_ignore", "accept_local", "src_valid_mark", "proxy_arp"),
    "ipv6": ("forwarding", "disable_ipv6", "proxy_ndp"),
}
_MAX_FILE = 1 << 20
"""Bytes of a resolver file; a container may write its own."""
_MAX_SOCKETS = 64 << 20
"""Bytes of a socket table that are looked through."""
_LISTEN, _UNCONNECTED = "0A", "07"
SOCKET_TABLES = ("tcp", "tcp6", "udp", "udp6")


def sysctl_step(folder: str) -> Step:
    """The sysctls that decide forwarding and filtering, of the calling thread's namespace."""
    return Step(f"{folder}/sysctl.txt", "sysctl net.ipv4 net.ipv6 net.bridge", lambda: Output(_sysctls()))


def _sysctls() -> bytes:
    lines = [f"{name} = {value}" for name in _sysctl_names() if (value := _read_sysctl(name)) is not None]
    if not lines:
        raise UnavailableError("/proc/sys/net cannot be read")
    return ("\n".join(lines) + "\n").encode()


def _sysctl_names() -> Iterator[str]:
    """Names as `sysctl` prints them: dots between the parts, and `/` for a dot in an interface's name."""
    yield from _SINGLE
    for family, keys in _PER_INTERFACE.items():
        try:
            interfaces = sorted(os.listdir(f"{_SYS}net/{family}/conf"))  # noqa: PTH208
        except OSError:
            continue
        for interface in interfaces:
            for key in keys:
                yield f"net.{family}.conf.{interface.replace('.', '/')}.{key}"


def _read_sysctl(name: str) -> str | None:
    path = name.translate(str.maketrans("./", "/."))
    try:
        descriptor = os.open(_SYS + path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return os.read(descriptor, 4096).decode("ascii", "replace").strip()
    except OSError:
        return None
    finally:
        os.close(descriptor)


def socket_steps(folder: str, process: str = "thread-self") -> tuple[Step, ...]:
    """Listening TCP sockets and unconnected UDP sockets of a process's namespace.

    Established connections stay out of a bundle: who talks to whom is nobody's business but the host's.
    """

    def step(table: str) -> Step:
        path = f"/proc/{process}/net/{table}"
        return Step(f"{folder}/proc-net-{table}.txt", f"cat /proc/net/{table}", lambda: Output(_listeners(path, table)))

    return tuple(step(table) for table in SOCKET_TABLES)


def _listeners(path: str, table: str) -> bytes:
    wanted = _LISTEN if table.startswith("tcp") else _UNCONNECTED
    try:
        with open(path, "rb") as rows:  # noqa: PTH123  a file of the kernel, read line by line
            return b"".join(_rows(rows, wanted.encode()))
    except FileNotFoundError:
        raise UnavailableError(f"{path} is not there: the process is gone, or the kernel has no IPv6") from None


def _rows(rows: Iterable[bytes], wanted: bytes) -> Iterator[bytes]:
    seen = 0
    for number, row in enumerate(rows):
        seen += len(row)
        if seen > _MAX_SOCKETS:
            raise UnavailableError("there are too many sockets to look through")
        words = row.split(None, 4)
        if number == 0 or (len(words) > 3 and words[3] == wanted):
            yield row


def file_step(path: str, command: str, *readers: Callable[[], bytes]) -> Step:
    """A small file, by the first of `readers` that can read it."""

    def run() -> Output:
        problem: Exception = UnavailableError("there is no way to read it")
        for reader in readers:
            try:
                return Output(reader())
            except (OSError, UnavailableError) as error:
                problem = error
        raise problem

    return Step(path, command, run)


def read_host_file(path: str) -> bytes:
    """A file of the host such as `/etc/resolv.conf`, which is often a link and may be followed."""
    return _read_regular(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), path)


def read_docker_file(path: str) -> bytes:
    """A file that Docker keeps for a container (`HostsPath`). Raises OSError, UnavailableError."""
    if not path.startswith("/"):
        raise UnavailableError("Docker names no such file")
    return _read_regular(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK), path)


def read_inside(pid: int, folder: str, name: str) -> bytes:
    """`/<folder>/<name>` as the process `pid` sees it, without following any link that its owner may have made."""
    root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        inner = os.open(folder, os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=root)
        try:
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=inner)
        finally:
            os.close(inner)
    finally:
        os.close(root)
    return _read_regular(descriptor, f"/{folder}/{name} of process {pid}")


def _read_regular(descriptor: int, name: str) -> bytes:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UnavailableError(f"{name} is not a regular file")
    with open(descriptor, "rb") as stream:
        content = stream.read(_MAX_FILE + 1)
    if len(content) > _MAX_FILE:
        raise UnavailableError(f"{name} is larger than {_MAX_FILE >> 20} MiB")
    return content


def belongs_to(pid: int, container_id: str) -> bool | None:
    """Whether process `pid` is that container's: its cgroup or its mounts name it. None when neither may be read.

    An engine that runs elsewhere, e.g. in the virtual machine of Docker Desktop, gives process ids that mean something
    else here, and a container may have ended since.
    """
    readable = False
    for name in ("cgroup", "mountinfo"):
        try:
            text = Path(f"/proc/{pid}/{name}").read_text("utf-8", "replace")
        except (FileNotFoundError, ProcessLookupError):
            return False
        except OSError:
            continue
        if container_id in text:
            return True
        readable = readable or name == "mountinfo"
    return False if readable else None
