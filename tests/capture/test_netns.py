"""Entering a namespace moves the calling thread, and only that."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from diag.capture import netns
from diag.capture.steps import UnavailableError


def test_only_the_calling_thread_moves(make_netns: Callable[[], str]) -> None:
    path = f"/run/netns/{make_netns()}"

    def inside() -> list[str]:
        netns.enter(path)
        return [name for _, name in socket.if_nameindex()]

    before = socket.if_nameindex()
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(inside).result() == ["lo"]
    assert socket.if_nameindex() == before


def test_identity(make_netns: Callable[[], str]) -> None:
    first, second = f"/run/netns/{make_netns()}", f"/run/netns/{make_netns()}"
    assert netns.identity(first) == netns.identity(first) != netns.identity(second)
    assert netns.identity(netns.OWN) == netns.identity(f"/proc/{os.getpid()}/ns/net")
    assert netns.identity("/proc/0/ns/net") is None


def test_what_cannot_be_entered(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="its network namespace is gone"):
        netns.enter("/proc/0/ns/net")
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(UnavailableError, match="cannot enter"):
        netns.enter(str(file))
