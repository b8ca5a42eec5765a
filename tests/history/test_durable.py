"""Files are there whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from diag.history.durable import TEMPORARY, remove_temporary, sync_folder, write_file


def test_a_file_and_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "x"
    for content in (b"one", b"two"):
        write_file(path, content)
        assert path.read_bytes() == content
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [child.name for child in tmp_path.iterdir()] == ["x"]


def test_a_failure_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x"
    write_file(path, b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert [child.name for child in tmp_path.iterdir()] == ["x"]


def test_file_and_folder_reach_the_disk_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    fsync, rename = os.fsync, os.replace

    def synced(descriptor: int) -> None:
        order.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def renamed(old: str, new: str) -> None:
        order.append("rename")
        rename(old, new)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", renamed)
    write_file(tmp_path / "x", b"")
    assert order == ["file", "rename", "folder"]
    sync_folder(tmp_path)
    assert order[3:] == ["folder"]


def test_leftovers(tmp_path: Path) -> None:
    (tmp_path / f"{TEMPORARY}abc").touch()
    (tmp_path / "mine").touch()
    remove_temporary(tmp_path)
    remove_temporary(tmp_path / "not there")
    assert [child.name for child in tmp_path.iterdir()] == ["mine"]
