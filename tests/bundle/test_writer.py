"""Writing: what is read again is the same, the bytes are the same, and half a file never stays."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import sys
from pathlib import Path
from types import MappingProxyType

import pytest

from diag.bundle import writer
from diag.bundle.reader import read_bundle
from diag.bundle.writer import check_target, write_bundle, write_tar_gz
from diag.errors import UsageError
from diag.model.bundle import Bundle, FileRecord
from tests.bundle.archives import FILES

BUNDLE = Bundle(
    "live",
    MappingProxyType({**FILES, "containers/0123456789ab/hosts": b"127.0.0.1 localhost\n", "host/hosts": b""}),
    MappingProxyType({"host/ipset.txt": FileRecord("ipset save", error="ipset is not installed")}),
    "web 1/../x",
    "2026-11-24T04:00:00Z",
)
FORMS = ["b.tar.gz", "b.tgz", "B.TAR.ZST", "b.tar", "b.zip", "folder", "host.example.com"]


@pytest.mark.parametrize("name", FORMS)
def test_round_trip(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write_bundle(BUNDLE, str(path))
    again = read_bundle(str(path))
    assert again.files == BUNDLE.files
    assert again.gaps == ()
    assert (again.host, again.captured_at) == (BUNDLE.host, BUNDLE.captured_at)
    assert again.records["host/ipset.txt"] == BUNDLE.records["host/ipset.txt"]
    assert [child.name for child in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", FORMS[:5])
def test_same_bundle_same_bytes(tmp_path: Path, name: str) -> None:
    backwards = Bundle(
        BUNDLE.source,
        dict(reversed(list(BUNDLE.files.items()))),
        BUNDLE.records,
        BUNDLE.host,
        BUNDLE.captured_at,
    )
    write_bundle(BUNDLE, str(tmp_path / name))
    first = (tmp_path / name).read_bytes()
    os.utime(tmp_path / name, (0, 0))
    write_bundle(backwards, str(tmp_path / name))
    assert (tmp_path / name).read_bytes() == first


def test_stream_is_the_file(tmp_path: Path) -> None:
    write_bundle(BUNDLE, str(tmp_path / "b.tar.gz"))
    stream = io.BytesIO()
    write_tar_gz(BUNDLE, stream)
    assert stream.getvalue() == (tmp_path / "b.tar.gz").read_bytes()


def test_the_top_folder_has_a_harmless_name(tmp_path: Path) -> None:
    write_bundle(BUNDLE, str(tmp_path / "b.tar.gz"))
    listed = subprocess.run(["tar", "tzf", str(tmp_path / "b.tar.gz")], capture_output=True, text=True, check=True)
    assert {line.split("/")[0] for line in listed.stdout.splitlines()} == {"diag-web_1_.._x"}


@pytest.mark.skipif(sys.platform == "win32", reason="modes are Unix's")
@pytest.mark.parametrize("name", ["b.tar.gz", "folder"])
def test_nobody_else_may_read_it(tmp_path: Path, name: str) -> None:
    old = os.umask(0)
    try:
        write_bundle(BUNDLE, str(tmp_path / name))
    finally:
        os.umask(old)
    path = tmp_path / name
    assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)
    for file in path.rglob("*") if path.is_dir() else []:
        assert stat.S_IMODE(file.stat().st_mode) == (0o700 if file.is_dir() else 0o600)


@pytest.mark.parametrize("name", ["b.tar.gz", "folder"])
def test_a_failure_leaves_nothing(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> bytes:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer, "encode_manifest", fail)
    with pytest.raises(OSError, match="No space left"):
        write_bundle(BUNDLE, str(tmp_path / name))
    assert list(tmp_path.iterdir()) == []


def test_a_failure_keeps_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "b.zip"
    path.write_bytes(b"old")

    def fail(_: Bundle, **__: object) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(writer, "encode_manifest", fail)
    with pytest.raises(KeyboardInterrupt):
        write_bundle(BUNDLE, str(path))
    assert path.read_bytes() == b"old"


def test_targets_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.zip").mkdir()
    for name, said in (
        ("b.html", "is not a form of bundle"),
        ("b.gz", "is not a form of bundle"),
        ("full", "exists already"),
        ("x.zip", "is a folder"),
        ("no/such/b.zip", "does not exist"),
    ):
        with pytest.raises(UsageError, match=said):
            write_bundle(BUNDLE, str(tmp_path / name))
    check_target(str(tmp_path / "empty"))
    write_bundle(BUNDLE, str(tmp_path / "empty"))
    assert read_bundle(str(tmp_path / "empty")).files == BUNDLE.files
