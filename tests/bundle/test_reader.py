"""Bundles from untrusted hands: what is read, what is left out with a gap, what is refused."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import socket
import sys
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diag.bundle.archive import Limits
from diag.bundle.reader import read_bundle
from diag.errors import BundleError
from diag.model.bundle import Bundle
from diag.model.provenance import GapKind
from tests.bundle.archives import FILES, PACK, entry, tar, tar_of, zip_of

SEED = Path(__file__).parents[2] / "fixtures" / "captures" / "seed-d20" / "bundle.tar.gz"


def read(data: bytes, limits: Limits = Limits()) -> Bundle:  # noqa: B008  frozen
    return read_bundle("-", io.BytesIO(data), limits)


def details(bundle: Bundle) -> str:
    return "\n".join(map(str, bundle.gaps))


@pytest.fixture(params=PACK)
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_every_form(form: str, tmp_path: Path) -> None:
    file = tmp_path / "misnamed.txt"
    file.write_bytes(PACK[form](FILES))
    bundle = read_bundle(str(file))
    assert dict(bundle.files) == FILES
    assert bundle.gaps == ()
    assert bundle.source == str(file)


def test_standard_input(form: str) -> None:
    bundle = read(PACK[form](FILES))
    assert bundle.files == FILES
    assert bundle.source == "-"


def test_one_top_folder_is_taken_off(form: str) -> None:
    assert read(PACK[form]({f"./some host/{name}": data for name, data in FILES.items()})).files == FILES


@pytest.mark.parametrize("top", ["host", "docker", "containers", "netns"])
def test_a_folder_of_the_layout_is_no_top_folder(top: str) -> None:
    name = (
        f"{top}/web/hosts" if top in ("containers", "netns") else f"{top}/{'info.json' if top == 'docker' else 'hosts'}"
    )
    assert list(read(tar_of({name: b"x"})).files) == [name]


def test_several_top_folders_stay(form: str) -> None:
    files = {"a/host/hosts": b"1", "b/host/hosts": b"2"}
    with pytest.raises(BundleError, match="has no file of a bundle"):
        read(PACK[form](files))


def test_what_other_systems_add_is_passed_over() -> None:
    extra = {"__MACOSX/x/._host": b"1", "x/.DS_Store": b"1", "x/host/._hosts": b"1"}
    assert read(zip_of({"x/host/hosts": b"1", **extra})).files == {"host/hosts": b"1"}


def test_unknown_files_are_passed_over(form: str) -> None:
    bundle = read(PACK[form]({**FILES, "notes.txt": b"call me", "host/shadow": b"root"}))
    assert bundle.files == FILES
    assert bundle.gaps == ()


@pytest.mark.parametrize(
    "name",
    [
        "../host/hosts",
        "host/../../etc/passwd",
        "/host/hosts",
        "//host/hosts",
        "C:/host/hosts",
        "c:host/hosts",
        "host\\hosts",
        "..\\host\\hosts",
        "host/..",
    ],
)
def test_names_that_lead_out_refuse_the_archive(form: str, name: str) -> None:
    with pytest.raises(BundleError, match="refused as unsafe") as refused:
        read(PACK[form]([*FILES.items(), (name, b"x")]))
    assert "\n" not in str(refused.value)


def test_nul_in_a_name() -> None:
    data = zip_of({"host/hostsXY": b"1"}).replace(b"hostsXY", b"hosts\0Y")
    with pytest.raises(BundleError, match="a NUL in its name"):
        read(data)


def test_links_and_devices_are_left_out() -> None:
    made = [
        (entry("host/hosts", kind=tarfile.SYMTYPE, link="/etc/shadow"), b""),
        (entry("host/resolv.conf", kind=tarfile.LNKTYPE, link="host/sysctl.txt"), b""),
        (entry("host/ipset.txt", kind=tarfile.CHRTYPE), b""),
        (entry("host/sysctl.txt", b"x = 1"), b"x = 1"),
    ]
    bundle = read(tar(made))
    assert bundle.files == {"host/sysctl.txt": b"x = 1"}
    assert {(gap.file, gap.kind) for gap in bundle.gaps} == {
        ("host/hosts", GapKind.UNREADABLE),
        ("host/resolv.conf", GapKind.UNREADABLE),
        ("host/ipset.txt", GapKind.UNREADABLE),
    }


@pytest.mark.parametrize("second", ["host/hosts", "./host/hosts", "host//hosts", "host/./hosts"])
def test_of_two_with_one_name_the_first_counts(second: str) -> None:
    bundle = read(tar_of([("host/hosts", b"first"), (second, b"second")]))
    assert bundle.files == {"host/hosts": b"first"}
    assert "twice" in details(bundle)


def test_long_names_and_large_files_are_left_out() -> None:
    limits = Limits(file=100, name=50)
    bundle = read(tar_of({**FILES, "x" * 60: b"", "host/hosts": bytes(200)}), limits)
    assert bundle.files == FILES
    assert "longer than 50 characters" in details(bundle)
    assert "host/hosts: left out of the reading: it is too large" in details(bundle)


def test_too_many_members() -> None:
    with pytest.raises(BundleError, match="more than 10 members"):
        read(tar_of({f"f{i}": b"" for i in range(11)}), Limits(members=10))


def test_gaps_about_members_are_not_endless() -> None:
    made = [(entry(f"containers/c{i}/hosts", kind=tarfile.SYMTYPE, link="x"), b"") for i in range(500)]
    bundle = read(tar([*made, (entry("host/hosts", b"1"), b"1")]))
    assert len(bundle.gaps) == 201
    assert bundle.gaps[-1].detail == "and 300 more members were left out"


def test_terminal_escapes_do_not_get_through() -> None:
    with pytest.raises(BundleError) as refused:
        read(tar_of({"../\x1b]0;pwned\x07": b""}))
    assert "\x1b" not in str(refused.value)
    manifest = json.dumps({"schema_version": 1, "host": "\x1b[31mred", "captured_at": "\x07"}).encode()
    bundle = read(tar_of({**FILES, "manifest.json": manifest}))
    assert "\x1b" not in bundle.host
    assert "\x07" not in bundle.captured_at


def test_truncated_archives_give_what_they_hold(form: str) -> None:
    rest = {f"containers/c{i}/hosts": random.Random(i).randbytes(8000) for i in range(50)}  # noqa: S311
    whole = PACK[form]({**FILES, **rest})
    bundle = read(whole[: len(whole) // 2])
    assert FILES.keys() <= bundle.files.keys() or form == "zip"
    assert 0 < len(bundle.files) < 53
    gap = bundle.gaps[-1]
    assert gap.kind is GapKind.UNREADABLE
    assert "files before that were read" in gap.detail


def test_a_real_archive_cut_at_every_fiftieth() -> None:
    whole = SEED.read_bytes()
    complete = read(whole)
    before = 0
    for part in range(50):
        try:
            bundle = read(whole[: len(whole) * part // 50])
        except BundleError as error:
            assert not before, f"{part}/50: {error}"  # noqa: PT017
            continue
        assert bundle.gaps, f"at {part}/50 nothing is missing"
        assert bundle.files.items() <= complete.files.items()
        assert len(bundle.files) >= before
        before = len(bundle.files)
    assert before > 0.9 * len(complete.files)


def test_a_flipped_bit_is_noticed() -> None:
    whole = bytearray(gzip.compress(tar_of({**FILES, "containers/c/hosts": bytes(range(256)) * 40})))
    whole[-5] ^= 1
    assert "damaged" in details(read(bytes(whole)))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "it is empty"),
        (b"hello", "neither a folder nor a tar"),
        (b"\xfd7zXZ\0rest", "xz is not a format that is read"),
        (b"BZh91AY", "bzip2 is not"),
        (b"\x1f\x8b\x08\0", "the gzip stream ends early"),
        (b"\x28\xb5\x2f\xfd", "no end mark"),
        (b"PK\x03\x04", "its end is missing"),
        (tar_of({}), "is empty"),
        (zip_of({}), "is empty"),
        (tar_of({"notes.txt": b"x"}), "has no file of a bundle"),
        (tar_of({"manifest.json": b"{}"}), "has no file of a bundle"),
    ],
)
def test_what_is_no_bundle(data: bytes, said: str) -> None:
    with pytest.raises(BundleError, match="standard input") as refused:
        read(data)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=2000),
        st.tuples(
            st.sampled_from([b"\x1f\x8b\x08\0", b"\x28\xb5\x2f\xfd", b"PK\x03\x04", b"PK\x05\x06"]), st.binary()
        ).map(b"".join),
    )
)
def test_random_bytes(data: bytes) -> None:
    try:
        assert isinstance(read(data), Bundle)
    except BundleError as error:
        assert "\n" not in str(error)  # noqa: PT017  either outcome is right


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_mutated_archives(form: str, data: st.DataObject) -> None:
    archive = bytearray(PACK[form]({**FILES, "manifest.json": b'{"schema_version": 1, "files": {}}'}))
    for _ in range(data.draw(st.integers(1, 8))):
        archive[data.draw(st.integers(0, len(archive) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(archive)))
    try:
        assert isinstance(read(bytes(archive[:cut] if data.draw(st.booleans()) else archive)), Bundle)
    except BundleError as error:
        assert "\n" not in str(error)  # noqa: PT017  either outcome is right


@pytest.mark.apart
@settings(max_examples=200, deadline=None)
@given(
    st.recursive(
        st.none() | st.integers() | st.floats() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_any_manifest(document: object) -> None:
    text = json.dumps({"files": {"host/hosts": document}, "schema_version": document, "host": document}).encode()
    assert read(tar_of({**FILES, "manifest.json": text})).files == FILES


# Folders


def write(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


@pytest.mark.parametrize("top", ["", "inner"])
def test_folders(tmp_path: Path, top: str) -> None:
    write(tmp_path / top, {**FILES, "notes.txt": b"x", "containers/web/hosts": b"1", "host/deep/hosts": b"2"})
    bundle = read_bundle(str(tmp_path))
    assert bundle.files == {**FILES, "containers/web/hosts": b"1"}
    assert bundle.gaps == ()


def test_folder_links_are_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    write(secret, {"hosts": b"secret", "x/hosts": b"secret"})
    bundle_folder = tmp_path / "bundle"
    write(bundle_folder, FILES)
    (bundle_folder / "host" / "hosts").symlink_to(secret / "hosts")
    (bundle_folder / "containers").symlink_to(secret)
    (bundle_folder / "netns").mkdir()
    (bundle_folder / "netns" / "x").symlink_to(secret / "x")
    bundle = read_bundle(str(bundle_folder))
    assert bundle.files == FILES
    assert {gap.file for gap in bundle.gaps} == {"host/hosts", "containers", "netns/x"}


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pipes in folders")
def test_folder_pipes_sockets_and_folders_are_left_out(tmp_path: Path) -> None:
    write(tmp_path, FILES)
    os.mkfifo(tmp_path / "host" / "hosts")
    (tmp_path / "host" / "ipset.txt").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(tmp_path / "host")  # a socket's path is short
        try:
            listener.bind("resolv.conf")
        finally:
            os.chdir(here)
        bundle = read_bundle(str(tmp_path))
    assert bundle.files == FILES
    assert {gap.file for gap in bundle.gaps} == {"host/hosts", "host/ipset.txt", "host/resolv.conf"}


def test_folder_limits(tmp_path: Path) -> None:
    write(tmp_path, {**FILES, "host/hosts": bytes(1000)})
    bundle = read_bundle(str(tmp_path), limits=Limits(file=100))
    assert bundle.files == FILES
    with pytest.raises(BundleError, match="holds more than"):
        read_bundle(str(tmp_path), limits=Limits(total=500))
    with pytest.raises(BundleError, match="more than 2 files"):
        read_bundle(str(tmp_path), limits=Limits(members=2))


@pytest.mark.parametrize("told", [0, 3, 4096])
def test_a_file_is_read_to_its_end_whatever_it_says_of_its_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: int
) -> None:
    write(tmp_path, {"host/hosts": b"127.0.0.1 web\n", "host/sysctl.txt": b""})
    fstat = os.fstat
    monkeypatch.setattr(os, "fstat", lambda fd: os.stat_result((*fstat(fd)[:6], told, *fstat(fd)[7:])))
    assert read_bundle(str(tmp_path)).files == {"host/hosts": b"127.0.0.1 web\n", "host/sysctl.txt": b""}
    limited = read_bundle(str(tmp_path), limits=Limits(file=13))
    assert limited.files == {"host/sysctl.txt": b""}
    assert "host/hosts: left out of the reading: it is larger than" in details(limited)


def test_empty_and_foreign_folders(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"is empty\. `diag capture` writes one"):
        read_bundle(str(tmp_path))
    write(tmp_path, {"a/x": b"", "b/y": b""})
    with pytest.raises(BundleError, match="has no file of a bundle"):
        read_bundle(str(tmp_path))


def test_missing_source() -> None:
    with pytest.raises(BundleError, match="cannot read /no/such: No such file"):
        read_bundle("/no/such")
    with pytest.raises(BundleError, match="cannot read"):
        read_bundle("a\0b")


def test_a_terminal_is_no_archive(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal())
    with pytest.raises(BundleError, match="standard input is a terminal"):
        read_bundle("-")
