"""Files of snapshots: what is read is what was written, or it is refused."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path
from random import Random

import msgspec
import pytest
import zstandard
from msgspec.structs import replace

from diag.bundle.archive import Limits
from diag.bundle.manifest import encode_manifest
from diag.bundle.reader import read_bundle
from diag.history import snapshot_file
from diag.history.snapshot_file import (
    Base,
    DamagedSnapshotError,
    Header,
    NewerSnapshotError,
    bundle_of,
    fits,
    open_file,
    pack,
    standing,
    tar_of,
    unpack,
)
from diag.model.provenance import Gap, GapKind
from tests.history.bundles import NOTE, bundle, record
from tests.loading import bundle_path

GAPS = (Gap(GapKind.INCONSISTENT, "host/hosts", 0, "its SHA-256 differs"),)
TAR = tar_of(bundle("a"))
ALONE = pack(1, record(NOTE), TAR, GAPS)
OTHER = pack(2, record(), tar_of(bundle("b")), (), standing(open_file(ALONE)))


def framed(header: bytes, frame: bytes = b"") -> bytes:
    """A file with the right checksum."""
    digest = hashlib.sha256(header + frame).digest()
    return struct.pack("<II32s", 0x184D2A5D, 32 + len(header), digest) + header + frame


def header(**fields: object) -> Header:
    """That of a file of TAR that stands alone."""
    made = Header(1, 1, record(), len(TAR), hashlib.sha256(TAR).hexdigest())
    return replace(made, **fields)


def test_what_is_read_is_what_was_written() -> None:
    alone, other = open_file(ALONE), open_file(OTHER)
    assert (alone.header.id, alone.header.record, alone.header.gaps) == (1, record(NOTE), GAPS)
    for opened, base, wanted in ((alone, None, bundle("a")), (other, standing(alone), bundle("b"))):
        found = bundle_of(opened, unpack(opened, base), "x")
        assert found.files == wanted.files
        assert encode_manifest(found) == encode_manifest(wanted)
        assert found.gaps == opened.header.gaps


def test_differences_are_small() -> None:
    assert len(OTHER) < len(ALONE) / 5


def test_one_that_stands_alone_is_a_bundle_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "00000001.tar.zst"
    path.write_bytes(ALONE)
    found = read_bundle(str(path))
    assert (found.files, found.gaps, found.host) == (bundle("a").files, (), "web-1")


def test_a_real_capture() -> None:
    real = read_bundle(str(bundle_path("seed-d20")))
    opened = open_file(pack(1, record(), tar_of(real), real.gaps))
    found = bundle_of(opened, unpack(opened, None), "x")
    assert found.files == real.files
    assert encode_manifest(found) == encode_manifest(real)


@pytest.mark.parametrize("content", [ALONE, OTHER], ids=["alone", "differences"])
def test_every_damage_shows(content: bytes) -> None:
    random = Random(1)  # noqa: S311
    places = {*range(60), *(random.randrange(len(content)) for _ in range(200)), len(content) - 1}
    for at in places:
        with pytest.raises(DamagedSnapshotError):
            open_file(content[:at] + bytes([content[at] ^ 1 << random.randrange(8)]) + content[at + 1 :])
        with pytest.raises(DamagedSnapshotError):
            open_file(content[:at])
    with pytest.raises(DamagedSnapshotError):
        open_file(content + b"\0")


def test_another_base_is_refused() -> None:
    another = standing(open_file(pack(1, record(), tar_of(bundle("c")), ())))
    for base in (another, None):
        with pytest.raises(DamagedSnapshotError, match="is another one"):
            unpack(open_file(OTHER), base)
    with pytest.raises(DamagedSnapshotError, match="has a base itself"):
        standing(open_file(OTHER))


def test_a_newer_release_is_told_apart_from_damage() -> None:
    with pytest.raises(NewerSnapshotError):
        open_file(framed(b'{"version": 2, "id": "of another type"}'))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"{}",
        b'{"version": "1"}',
        b"[" * 5000,
        b'{"version": 1, "id": 1}',
        msgspec.json.encode(header(id=0)),
        msgspec.json.encode(header(base=Base(1, "x"))),
    ],
)
def test_headers_that_make_no_sense(text: bytes) -> None:
    with pytest.raises(DamagedSnapshotError):
        open_file(framed(text))


def test_frames_that_are_not_what_the_header_says() -> None:
    frame = zstandard.compress(TAR)
    bomb = zstandard.compress(bytes(50 << 20))
    for made, packed in (
        (header(size=1), frame),
        (header(size=len(TAR) + 1), frame),
        (header(sha256="x"), frame),
        (header(), b"no frame"),
        (header(), bomb),
        (header(size=1 << 40), bomb),
    ):
        with pytest.raises(DamagedSnapshotError):
            unpack(open_file(framed(msgspec.json.encode(made), packed)), None)


def test_limits_of_unpacking() -> None:
    with pytest.raises(DamagedSnapshotError, match="more than"):
        unpack(open_file(ALONE), None, Limits(total=100))


def test_a_content_that_is_no_bundle() -> None:
    for content in (b"", b"text", bytes(2048)):
        with pytest.raises(DamagedSnapshotError):
            bundle_of(open_file(ALONE), content, "x")


def test_halves_of_surrogate_pairs() -> None:
    odd = replace(record(NOTE), host="web\ud800")
    assert open_file(pack(1, odd, TAR, ())).header.record.host == "web?"


def test_what_is_too_large_for_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    base = standing(open_file(ALONE))
    assert fits(base, TAR)
    monkeypatch.setattr(snapshot_file, "_WINDOW", len(TAR))
    assert not fits(base, TAR)
