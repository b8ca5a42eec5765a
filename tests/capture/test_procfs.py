"""`/proc` and `/etc`: the right namespace, no connections, no links."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from diag.capture import netns, procfs
from diag.capture.steps import Output, Step, UnavailableError


def text(step: Step) -> str:
    output = step.run()
    assert isinstance(output, Output)
    return output.content.decode()


def test_sysctls_are_those_of_the_namespace(make_netns: Callable[[], str]) -> None:
    name = make_netns()
    for command in (["ip", "link", "add", "eth0.7", "type", "bridge"], ["sysctl", "-wq", "net.ipv4.ip_forward=1"]):
        subprocess.run(["nsenter", f"--net=/run/netns/{name}", *command], check=True)

    def run() -> str:
        netns.enter(f"/run/netns/{name}")
        return text(procfs.sysctl_step("host"))

    with ThreadPoolExecutor(1) as pool:
        lines = dict(line.split(" = ") for line in pool.submit(run).result().splitlines())
    assert lines["net.ipv4.ip_forward"] == "1"
    assert lines["net.ipv4.conf.eth0/7.rp_filter"] in "012"
    assert lines["net.ipv6.conf.all.forwarding"] == "0"
    assert lines["net.ipv4.ip_local_port_range"].split()[0].isdigit()


def test_only_listening_sockets() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        port, udp = listener.getsockname()[1], bound.getsockname()[1]
        with (
            socket.create_connection(("127.0.0.1", port)) as client,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connected,
        ):
            connected.connect(("127.0.0.1", udp))
            own, peer = client.getsockname()[1], connected.getsockname()[1]
            tables = {step.path: text(step) for step in procfs.socket_steps("host")}
            by_process = text(procfs.socket_steps("host", str(os.getpid()))[0])
    assert f"0100007F:{port:04X} 00000000:0000 0A" in tables["host/proc-net-tcp.txt"]
    assert f":{own:04X}" not in tables["host/proc-net-tcp.txt"]
    assert f"0100007F:{udp:04X} 00000000:0000 07" in tables["host/proc-net-udp.txt"]
    assert f":{peer:04X} 0100007F" not in tables["host/proc-net-udp.txt"]
    assert tables["host/proc-net-tcp.txt"].lstrip().startswith("sl  local_address")
    assert f":{port:04X}" in by_process


def test_a_process_that_is_gone() -> None:
    with pytest.raises(UnavailableError, match="is not there"):
        procfs.socket_steps("host", "0")[0].run()


def test_files_by_the_first_way_that_works() -> None:
    def fail() -> bytes:
        raise PermissionError(13, "Permission denied", "/x")

    assert text(procfs.file_step("host/hosts", "cat", fail, lambda: b"second")) == "second"
    with pytest.raises(PermissionError):
        procfs.file_step("host/hosts", "cat", fail).run()
    with pytest.raises(UnavailableError):
        procfs.file_step("host/hosts", "cat").run()


def test_links_of_the_host_are_followed_and_those_of_docker_are_not(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"nameserver 10.0.0.1\n")
    (tmp_path / "link").symlink_to("real")
    assert procfs.read_host_file(str(tmp_path / "link")) == b"nameserver 10.0.0.1\n"
    assert procfs.read_docker_file(str(tmp_path / "real")) == b"nameserver 10.0.0.1\n"
    with pytest.raises(OSError, match="symbolic links"):
        procfs.read_docker_file(str(tmp_path / "link"))
    with pytest.raises(UnavailableError, match="names no such file"):
        procfs.read_docker_file("")


def test_files_of_a_container_are_bounded(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes((1 << 20) + 1))
    os.mkfifo(tmp_path / "pipe")
    for name, said in (("large", "larger than 1 MiB"), ("pipe", "not a regular file"), (".", "not a regular file")):
        with pytest.raises(UnavailableError, match=said):
            procfs.read_docker_file(f"{tmp_path}/{name}")


@pytest.fixture
def jailed(tmp_path: Path) -> str:
    """A root file system whose owner has put links where files belong."""
    if os.geteuid():
        pytest.skip("not root")
    for folder in ("good/etc", "evil", "bad/etc"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "good/etc/hosts").write_bytes(b"127.0.0.1 inside\n")
    (tmp_path / "evil/etc").symlink_to("/etc")
    (tmp_path / "bad/etc/hosts").symlink_to("/etc/hosts")
    return str(tmp_path)


@pytest.mark.parametrize(("root", "found"), [("good", True), ("evil", False), ("bad", False)])
def test_files_as_a_process_sees_them(jailed: str, root: str, found: bool) -> None:
    code = f"import os, time; os.chroot({jailed + '/' + root!r}); print('in', flush=True); time.sleep(60)"
    import sys

    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            if found:
                assert procfs.read_inside(process.pid, "etc", "hosts") == b"127.0.0.1 inside\n"
            else:
                with pytest.raises(OSError, match=r"symbolic links|Not a directory"):
                    procfs.read_inside(process.pid, "etc", "hosts")
        finally:
            process.kill()


def test_whose_process_it_is(tmp_path: Path) -> None:
    assert procfs.belongs_to(os.getpid(), "f" * 64) is False
    assert procfs.belongs_to(0, "f" * 64) is False
    mounts = Path(f"/proc/{os.getpid()}/mountinfo").read_text()
    assert procfs.belongs_to(os.getpid(), mounts.split()[4]) is True
