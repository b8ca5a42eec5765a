"""The tar, zip and compression readers, form by form."""

from __future__ import annotations

import gzip
import io
import os
import stat
import tarfile
import zipfile
from collections.abc import Iterator

import pytest
import zstandard

from diag.bundle import archive
from diag.bundle.archive import Budget, DamagedArchiveError, Limits, Member, MemberKind, Packed, Unpacked
from diag.bundle.zip_archive import read_zip
from diag.errors import BundleError
from tests.bundle.archives import FILES, entry, tar, tar_of, zip_of

LIMITS = Limits()


def unpack(data: bytes, unpacker: object = archive.plain, limits: Limits = LIMITS) -> Unpacked:
    packed = Packed(io.BytesIO(data), limits)
    return Unpacked(unpacker(packed, packed.read(512)), Budget(packed, limits))  # type: ignore[operator]


def members(data: bytes, limits: Limits = LIMITS) -> list[Member]:
    return list(archive.read_tar(unpack(data, limits=limits), limits))


def zip_members(data: bytes, limits: Limits = LIMITS) -> list[Member]:
    packed = Packed(io.BytesIO(data), limits)
    return list(read_zip(archive.slurp(packed, b""), Budget(packed, limits), limits))


def until_damage(stream: Iterator[Member]) -> tuple[list[Member], str]:
    read = []
    while True:
        try:
            read.append(next(stream))
        except StopIteration:
            return read, ""
        except DamagedArchiveError as damage:
            return read, str(damage)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_tar_of_every_format(form: int) -> None:
    files = {**FILES, f"{'d' * 60}/{'e' * 60}/x": b"deep"}
    if form != tarfile.USTAR_FORMAT:
        files |= {"n" * 300: b"long", "host/ümlaut": b"u"}
    read = members(tar_of(files, form))
    assert {m.name: m.content for m in read} == files
    assert {m.kind for m in read} == {MemberKind.FILE}


def test_tar_kinds() -> None:
    kinds = {
        tarfile.DIRTYPE: MemberKind.FOLDER,
        tarfile.SYMTYPE: MemberKind.LINK,
        tarfile.LNKTYPE: MemberKind.LINK,
        tarfile.CHRTYPE: MemberKind.SPECIAL,
        tarfile.BLKTYPE: MemberKind.SPECIAL,
        tarfile.FIFOTYPE: MemberKind.SPECIAL,
        b"Z": MemberKind.SPECIAL,
    }
    made = [(entry(f"m{i}", kind=kind, link="/etc/passwd"), b"") for i, kind in enumerate(kinds)]
    assert [m.kind for m in members(tar([*made, (entry("last", b"x"), b"x")]))] == [*kinds.values(), MemberKind.FILE]


def test_unpacked_in_small_and_large_reads() -> None:
    data = os.urandom(300_000)
    stream = unpack(gzip.compress(data), archive.gunzip)
    assert stream.read(1) == data[:1]
    assert stream.skip(99_999) == 99_999
    assert stream.read(150_000) == data[100_000:250_000]
    assert stream.read(100_000) == data[250_000:]
    assert stream.read(1) == b""


def test_gzip_of_several_parts_and_padding() -> None:
    data = gzip.compress(b"one") + gzip.compress(b"two") + b"\0" * 1000
    assert unpack(data, archive.gunzip).read(100) == b"onetwo"


def test_zstandard_of_several_frames() -> None:
    data = zstandard.compress(b"one") + zstandard.compress(b"two")
    assert unpack(data, archive.unzstd).read(100) == b"onetwo"


@pytest.mark.parametrize("cut", [511, 512 + 1, 1024 + 511])
def test_truncated_tar_gives_what_is_whole(cut: int) -> None:
    data = tar_of({"a": b"1", "b": b"2"}, tarfile.USTAR_FORMAT)
    read, damage = until_damage(archive.read_tar(unpack(data[:cut]), LIMITS))
    assert [m.name for m in read] == ["a"][: cut // 1024]
    assert damage


def test_tar_without_its_end_mark() -> None:
    data = tar_of({"a": b"1"}, tarfile.USTAR_FORMAT)[:1024]
    with pytest.raises(DamagedArchiveError, match="no end mark"):
        members(data)


def test_tar_with_a_damaged_header() -> None:
    data = bytearray(tar_of({"a": b"1", "b": b"2"}, tarfile.USTAR_FORMAT))
    data[1024] ^= 1
    with pytest.raises(DamagedArchiveError, match="header is damaged"):
        members(bytes(data))


@pytest.mark.parametrize(
    "size", [b"77777777777\0", b"-0000000001\0", b"\x80" + b"\xff" * 11, b"\xff" * 12, b"9" * 12, b"1e9        \0"]
)
def test_tar_with_an_impossible_size(size: bytes) -> None:
    header = bytearray(tar_of({"a": b"1"}, tarfile.USTAR_FORMAT)[:512])
    header[124:136] = size
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + sum(header[156:]) + 256)
    with pytest.raises(DamagedArchiveError):
        members(bytes(header) + b"\0" * 4096)


@pytest.mark.parametrize(
    "record", [b"5 path=x\n", b"999 path=x\n", b"x path=x\n", b"-9 path=x\n", b"0 path=x\n", b"path", b"\0" * 20]
)
def test_pax_records_that_lie(record: bytes) -> None:
    data = tar([(entry("pax", record, b"x"), record), (entry("a", b"1"), b"1")], tarfile.USTAR_FORMAT)
    with pytest.raises(DamagedArchiveError):
        members(data)


def test_pax_size_and_path() -> None:
    record = b"".join(b"%d %s\n" % (len(r) + 4, r) for r in (b"path=real", b"size=0003"))
    data = tar([(entry("pax", record, b"x"), record), (entry("fake", b"abc"), b"abc")], tarfile.USTAR_FORMAT)
    assert members(data) == [Member("real", MemberKind.FILE, b"abc")]


def test_sparse_files_are_not_read() -> None:
    record = b"22 GNU.sparse.major=1\n"
    with pytest.raises(DamagedArchiveError, match="sparse"):
        members(tar([(entry("pax", record, b"x"), record), (entry("a", b"1"), b"1")], tarfile.USTAR_FORMAT))


def test_oversized_files_are_passed_over() -> None:
    limits = Limits(file=1000)
    data = tar_of({"large": bytes(5000), "small": b"s"})
    assert [m.kind for m in members(data, limits)] == [MemberKind.OVERSIZED, MemberKind.FILE]
    assert [m.kind for m in zip_members(zip_of({"large": bytes(5000), "small": b"s"}), limits)] == [
        MemberKind.OVERSIZED,
        MemberKind.FILE,
    ]


@pytest.mark.parametrize("unpacker", [archive.gunzip, archive.unzstd])
def test_bombs(unpacker: object) -> None:
    bomb = bytes(50 << 20)
    data = gzip.compress(bomb) if unpacker is archive.gunzip else zstandard.compress(bomb)
    with pytest.raises(BundleError, match="more than 10 MiB"):
        unpack(data, unpacker, Limits(total=10 << 20)).skip(len(bomb))
    with pytest.raises(BundleError, match="more than 400 times its size"):
        unpack(data, unpacker, Limits(ratio_from=1 << 20)).skip(len(bomb))
    assert unpack(data, unpacker).skip(len(bomb)) == len(bomb)


def test_zip_bombs() -> None:
    data = zip_of([(f"f{i}", bytes(1 << 20)) for i in range(20)])
    with pytest.raises(BundleError, match="more than 10 MiB"):
        zip_members(data, Limits(total=10 << 20))
    with pytest.raises(BundleError, match="more than 5 members"):
        zip_members(data, Limits(members=5))


def test_packed_size_is_bounded() -> None:
    with pytest.raises(BundleError, match="larger than"):
        unpack(os.urandom(200_000), limits=Limits(archive=100_000)).skip(200_000)


def test_zip_links_and_devices() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        for name, mode in (("link", stat.S_IFLNK), ("device", stat.S_IFCHR), ("file", stat.S_IFREG)):
            info = zipfile.ZipInfo(name)
            info.create_system, info.external_attr = 3, (mode | 0o644) << 16
            made.writestr(info, b"/etc/passwd")
        made.mkdir("folder")
    assert [m.kind for m in zip_members(buffer.getvalue())] == [
        MemberKind.LINK,
        MemberKind.SPECIAL,
        MemberKind.FILE,
        MemberKind.FOLDER,
    ]


def test_zip_with_a_wrong_checksum() -> None:
    data = bytearray(zip_of({"a": b"hello world" * 10, "b": b"fine"}))
    at = data.index(b"a", 30)
    data[at + 5] ^= 0xFF
    kinds = {m.name: m.kind for m in zip_members(bytes(data))}
    assert kinds == {"a": MemberKind.DAMAGED, "b": MemberKind.FILE}


def test_zip_without_its_directory() -> None:
    data = zip_of(FILES)
    cut = data[: data.index(b"PK\x01\x02")]
    read, damage = until_damage(read_zip(cut, Budget(Packed(io.BytesIO(cut), LIMITS), LIMITS), LIMITS))
    assert {m.name: m.content for m in read} == FILES
    assert "its end is missing" in damage


def test_encrypted_zip() -> None:
    data = bytearray(zip_of({"a": b"1"}))
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(magic) + offset] |= 1
    assert [m.kind for m in zip_members(bytes(data))] == [MemberKind.DAMAGED]
