"""Files are written whole or not at all, with the permissions they are to have."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from diag.cli.output import write_file
from diag.errors import DiagError


def permissions(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def breaking() -> Iterator[bytes]:
    yield b"half"
    raise OSError(28, "No space left on device")


def test_what_was_there_stays_until_all_is_written(tmp_path: Path) -> None:
    target = tmp_path / "a.prom"
    target.write_bytes(b"old")
    with pytest.raises(DiagError, match="No space left"):
        write_file(target, breaking())
    assert target.read_bytes() == b"old"
    write_file(target, [b"new", b"er"])
    assert target.read_bytes() == b"newer"
    assert list(tmp_path.iterdir()) == [target]


def test_permissions_do_not_hang_on_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        write_file(tmp_path / "asked", [b""], 0o644)
        write_file(tmp_path / "usual", [b""])
    finally:
        os.umask(before)
    assert permissions(tmp_path / "asked") == 0o644
    assert permissions(tmp_path / "usual") == 0o600


def test_a_partial_file_that_somebody_else_put_there_is_not_written_to(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    (tmp_path / f".a.prom.{os.getpid()}.partial").symlink_to(victim)
    write_file(tmp_path / "a.prom", [b"text"])
    assert victim.read_bytes() == b"mine"
    assert (tmp_path / "a.prom").read_bytes() == b"text"


def test_a_link_stays_one_and_a_pipe_is_written_to(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"")
    (tmp_path / "link").symlink_to("real")
    write_file(tmp_path / "link", [b"text"])
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"text"
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_file(tmp_path / "pipe", [b"through"])
        assert os.read(reader, 100) == b"through"
    finally:
        os.close(reader)


def test_a_folder_that_is_not_there_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(DiagError, match=r"cannot write .*/none/a\.prom"):
        write_file(tmp_path / "none" / "a.prom", [b""])
