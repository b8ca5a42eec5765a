"""The state folder: what was stored can be read, whatever happens to it."""

from __future__ import annotations

import shutil
import sqlite3
import stat
import struct
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from diag.bundle.manifest import encode_manifest
from diag.errors import DiagError, UsageError
from diag.history import store as store_module
from diag.history.store import FAMILY, Store
from diag.model.bundle import Bundle
from diag.model.history import Baseline, Kept, Retention
from tests.history.bundles import NOTE, bundle, record
from tests.history.test_snapshot_file import framed

MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""Where waiting for the disk takes no time."""


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=MEMORY) as path:
        yield Path(path) / "state"


def put(folder: Path, *texts: str, retention: Retention = Retention()) -> list[int]:  # noqa: B008  frozen
    """Snapshots that a run each stores."""
    numbers = []
    for text in texts:
        store = Store.open(str(folder), create=True)
        with store.lock():
            numbers.append(store.add(bundle(text), record(NOTE), retention))
    return numbers


def text_of(store: Store, number: int) -> str:
    return store.get(number).files["host/hosts"].decode()


def snapshot_paths(folder: Path) -> list[Path]:
    return sorted((folder / "snapshots").iterdir())


def test_what_was_stored_is_read(folder: Path) -> None:
    assert put(folder, "a", "b", "c") == [1, 2, 3]
    store = Store.open(str(folder))
    assert [entry.id for entry in store.records()] == [1, 2, 3]
    assert store.records()[0].record.findings == (NOTE,)
    found = store.get(2)
    assert found.files == bundle("b").files
    assert encode_manifest(found) == encode_manifest(bundle("b"))
    latest = store.latest()
    assert latest is not None
    assert latest.id == 3


def test_nobody_else_may_look(folder: Path) -> None:
    put(folder, "a")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for path in folder.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_snapshots_share(folder: Path) -> None:
    put(folder, *map(str, range(FAMILY + 2)))
    alone = [entry.id for entry in Store.open(str(folder)).records() if not entry.base]
    assert alone == [1, FAMILY + 1]
    assert all(entry.base < entry.id for entry in Store.open(str(folder)).records())


def test_a_host_that_changed_stands_alone(folder: Path) -> None:
    put(folder, "a")
    other = Bundle("live", {"host/hosts": Random(1).randbytes(9000)}, {}, "web-1")  # noqa: S311
    store = Store.open(str(folder))
    with store.lock():
        store.add(other, record())
    assert [entry.base for entry in store.records()] == [0, 0]


def test_names_of_snapshots(folder: Path) -> None:
    put(folder, "a", "b")
    store = Store.open(str(folder))
    assert [store.find(name).id for name in ("1", "00000002", "latest", "baseline")] == [1, 2, 2, 1]
    for name in ("3", "", "x", "0", "-1"):
        with pytest.raises(UsageError, match="there is no snapshot"):
            store.find(name)


def test_there_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no state folder"):
        Store.open(str(tmp_path / "x"))
    (tmp_path / "file").touch()
    with pytest.raises(DiagError, match="cannot make the state folder"):
        Store.open(str(tmp_path / "file"), create=True)


def test_an_empty_folder(folder: Path) -> None:
    store = Store.open(str(folder), create=True)
    assert (store.records(), store.latest(), store.baseline()) == ((), None, None)
    with store.lock():
        pass
    assert store.baseline() is None


# Baseline


def test_the_first_one_is_the_baseline_until_another_is_accepted(folder: Path) -> None:
    put(folder, "a", "b", "c")
    store = Store.open(str(folder), clock=lambda: 7.0)
    found = store.baseline()
    assert found is not None
    assert (found.id, found.accepted, found.by_hand) == (1, frozenset(), False)
    with store.lock():
        store.set_baseline(2, {NOTE.key})
    assert Store.open(str(folder)).baseline() == Baseline(2, frozenset({NOTE.key}), 7.0, by_hand=True)


def test_retention_leaves_the_baseline_and_what_it_needs(folder: Path) -> None:
    put(folder, "a", "b")
    store = Store.open(str(folder))
    with store.lock():
        store.set_baseline(2, ())
    put(folder, "c", "d", "e", "f", retention=Retention(count=2))
    store = Store.open(str(folder))
    assert [entry.id for entry in store.records()] == [2, 5, 6]
    assert [path.name[:8] for path in snapshot_paths(folder)] == ["00000001", "00000002", "00000005", "00000006"]
    assert [text_of(store, number) for number in (2, 5, 6)] == ["b", "e", "f"]
    with pytest.raises(UsageError):
        store.get(1)


def test_the_baseline_that_is_damaged_is_replaced_by_the_oldest(folder: Path) -> None:
    put(folder, "a", "b", "c")
    store = Store.open(str(folder))
    with store.lock():
        store.set_baseline(3, {NOTE.key})
    snapshot_paths(folder)[2].write_bytes(b"")
    store = Store.open(str(folder))
    with store.lock():
        found = store.baseline()
    assert found is not None
    assert (found.id, found.accepted, found.by_hand) == (1, frozenset({NOTE.key}), False)
    assert any("baseline, cannot be read: 1 takes its place" in notice for notice in store.notices)


@pytest.mark.parametrize("content", [None, b"", b"text"])
def test_the_baseline_outlives_its_file_and_the_index(folder: Path, content: bytes | None) -> None:
    put(folder, "a", "b")
    store = Store.open(str(folder))
    with store.lock():
        wanted = store.set_baseline(2, {NOTE.key})
    whole = (folder / "baseline").read_bytes()
    for name in ("baseline", "index.sqlite"):
        (folder / name).unlink()
        if content is not None:
            (folder / name).write_bytes(content)
        reader = Store.open(str(folder))
        assert reader.baseline() == wanted
        with reader.lock():
            assert reader.baseline() == wanted
        assert (folder / "baseline").read_bytes() == whole


def test_a_damaged_one_cannot_be_the_baseline(folder: Path) -> None:
    put(folder, "a", "b")
    snapshot_paths(folder)[1].write_bytes(b"")
    store = Store.open(str(folder))
    with store.lock(), pytest.raises(DiagError, match="cannot be the baseline"):
        store.set_baseline(2, ())


# Faults


def test_a_damaged_newest_one(folder: Path) -> None:
    put(folder, "a", "b", "c")
    snapshot_paths(folder)[2].write_bytes(b"x")
    store = Store.open(str(folder))
    latest = store.latest()
    assert latest is not None
    assert latest.id == 2
    with pytest.raises(DiagError, match="cannot read snapshot 3") as raised:
        store.get(3)
    assert "lists the others" in str(raised.value)
    with store.lock():
        assert store.notices == ["snapshot 3 is damaged: its beginning is missing"]
        assert store.add(bundle("d"), record()) == 4
    again = Store.open(str(folder))
    assert [entry.damage for entry in again.records()] == ["", "", "its beginning is missing", ""]
    assert [text_of(again, number) for number in (1, 2, 4)] == ["a", "b", "d"]


def test_a_damaged_base_is_not_built_on(folder: Path) -> None:
    put(folder, "a", "b")
    path = snapshot_paths(folder)[0]
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert put(folder, "c") == [3]
    store = Store.open(str(folder))
    assert store.records()[-1].base == 0
    assert text_of(store, 3) == "c"
    for number in (1, 2):
        with pytest.raises(DiagError, match="cannot read snapshot"):
            store.get(number)


def test_a_base_that_is_gone(folder: Path) -> None:
    put(folder, "a", "b")
    snapshot_paths(folder)[0].unlink()
    assert put(folder, "c") == [3]
    lost = "it is the differences to snapshot 1: its file is gone"
    assert [entry.damage for entry in Store.open(str(folder)).records()] == [lost, ""]
    assert put(folder, "d", retention=Retention(size=1)) == [4]
    store = Store.open(str(folder))
    assert [entry.id for entry in store.records()] == [
        3,
        4,
    ]  # the baseline, which is the oldest that can be read, and the newest
    assert text_of(store, 3) == "c"


@pytest.mark.parametrize("content", [None, b"", b"text", bytes(9000)])
def test_the_index_is_made_again(folder: Path, content: bytes | None) -> None:
    put(folder, "a", "b")
    wanted = Store.open(str(folder)).records()
    index = folder / "index.sqlite"
    index.unlink()
    if content is not None:
        index.write_bytes(content)
    reader = Store.open(str(folder))
    assert reader.records() == wanted
    assert [text_of(reader, number) for number in (1, 2)] == ["a", "b"]
    assert (index.read_bytes() if index.exists() else None) == content
    with reader.lock():
        assert reader.records() == wanted
    assert Store.open(str(folder)).records() == wanted
    assert index.read_bytes().startswith(b"SQLite")


def test_files_that_the_index_does_not_know_are_taken_up_and_entries_without_a_file_dropped(folder: Path) -> None:
    put(folder, "a", "b")
    index = (folder / "index.sqlite").read_bytes()
    put(folder, "c")
    (folder / "index.sqlite").write_bytes(index)
    snapshot_paths(folder)[1].unlink()
    assert [entry.id for entry in Store.open(str(folder)).records()] == [1, 3]
    assert put(folder, "d") == [4]
    store = Store.open(str(folder))
    assert [(entry.id, text_of(store, entry.id)) for entry in store.records()] == [(1, "a"), (3, "c"), (4, "d")]


def test_a_folder_of_a_newer_release_is_left_alone(folder: Path) -> None:
    put(folder, "a")
    with sqlite3.connect(folder / "index.sqlite") as connection:
        connection.execute("PRAGMA user_version = 2")
    connection.close()
    for act in (lambda: Store.open(str(folder)).records(), lambda: put(folder, "b")):
        with pytest.raises(DiagError, match=r"cannot read .*index\.sqlite") as raised:
            act()
        assert "Update docker-diag" in str(raised.value)
    (folder / "index.sqlite").unlink()
    newer = folder / "snapshots" / "00000002.tar.zst"
    newer.write_bytes(framed(b'{"version": 2}'))
    for act in (lambda: Store.open(str(folder)).records(), lambda: put(folder, "b")):
        with pytest.raises(DiagError, match="cannot read") as raised:
            act()
        assert "a newer release wrote it" in str(raised.value)
    assert newer.exists()


def test_files_that_are_not_its_own_stay(folder: Path) -> None:
    put(folder, "a")
    others = [folder / "notes.txt", folder / "snapshots" / "README", folder / "snapshots" / "1.tar.zst"]
    for path in others:
        path.write_text("mine")
    (folder / "snapshots" / ".tmp-abc").touch()
    (folder / ".tmp-def").touch()
    put(folder, "b", "c", retention=Retention(count=1))
    assert all(path.read_text() == "mine" for path in others)
    assert not [path for path in folder.rglob("*") if path.name.startswith(".tmp-")]


def test_one_file_under_the_name_of_another(folder: Path) -> None:
    put(folder, "a", "b")
    one, two = snapshot_paths(folder)
    two.write_bytes(one.read_bytes())
    with pytest.raises(DiagError, match="its file is another one's"):
        Store.open(str(folder)).get(2)


def test_a_length_that_reaches_beyond_the_file(folder: Path) -> None:
    put(folder, "a")
    (path,) = snapshot_paths(folder)
    content = path.read_bytes()
    path.write_bytes(content[:4] + struct.pack("<I", 1 << 31) + content[8:])
    with pytest.raises(DiagError, match="its beginning is damaged"):
        Store.open(str(folder)).get(1)


def test_a_full_disk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(folder, "a")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store_module, "write_file", full)
    with pytest.raises(DiagError, match="cannot store the snapshot") as raised:
        put(folder, "b")
    assert "Free some space" in str(raised.value)
    monkeypatch.undo()
    assert put(folder, "c") == [2]
    assert text_of(Store.open(str(folder)), 1) == "a"


def test_what_is_too_large_to_be_read_again_is_not_stored(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "Limits", lambda: type("Small", (), {"total": 100}))
    with pytest.raises(DiagError, match="is not stored"):
        put(folder, "a")


# Locks


def test_writing_takes_the_lock(folder: Path) -> None:
    store = Store.open(str(folder), create=True)
    with pytest.raises(RuntimeError):
        store.add(bundle(), record())
    with pytest.raises(RuntimeError):
        store.set_baseline(1, ())


def test_a_second_run_waits_and_gives_up(folder: Path) -> None:
    put(folder, "a")
    first, second = Store.open(str(folder)), Store.open(str(folder))
    with first.lock():
        with pytest.raises(DiagError, match="another run uses the state folder"), second.lock(wait=0.05):
            pass
        assert second.records()  # a reader does not wait
    with second.lock(wait=0):
        pass


def test_runs_in_a_row(folder: Path) -> None:
    put(folder, "a")
    failures: list[Exception] = []

    def run(text: str) -> None:
        try:
            put(folder, text)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(str(n),)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    store = Store.open(str(folder))
    assert [entry.id for entry in store.records()] == list(range(1, 8))
    assert {text_of(store, n) for n in range(2, 8)} == {str(n) for n in range(6)}


def test_a_lock_that_cannot_be_made(folder: Path) -> None:
    store = Store.open(str(folder), create=True)
    (folder / "lock").mkdir()
    with pytest.raises(DiagError, match="cannot lock the state folder"), store.lock(wait=0):
        pass


# Whatever the order


class Runs(RuleBasedStateMachine):
    """Runs, baselines, faults and clocks in any order, against a list."""

    def __init__(self) -> None:
        super().__init__()
        self.home = tempfile.mkdtemp(dir=MEMORY)
        self.folder = Path(self.home) / "state"
        self.now = 1.7e9
        self.texts: dict[int, str] = {}
        """Of all that were ever stored."""
        self.kept: list[int] = []
        self.damaged: set[int] = set()
        self.baseline = 0

    def teardown(self) -> None:
        shutil.rmtree(self.home)

    def open(self) -> Store:
        store = Store.open(str(self.folder), create=True, clock=lambda: self.now)
        store.family = 4
        return store

    @rule(text=st.text("ab\n", max_size=5), keep=st.integers(1, 5))
    def run(self, text: str, keep: int) -> None:
        store = self.open()
        with store.lock():
            number = store.add(bundle(text), record(NOTE), Retention(count=keep))
        assert number == max(self.texts, default=0) + 1
        self.texts[number] = text
        whole = [n for n in (*self.kept, number) if n not in self.damaged]
        if self.baseline not in whole:
            self.baseline = whole[0]
        self.kept = [n for n in (*self.kept, number) if n > number - keep or n == self.baseline]
        self.now += 3600

    @precondition(lambda self: self.kept)
    @rule(data=st.data())
    def accept(self, data: Any) -> None:
        whole = [n for n in self.kept if n not in self.damaged]
        if whole:
            store = self.open()
            self.baseline = data.draw(st.sampled_from(whole))
            with store.lock():
                store.set_baseline(self.baseline, {NOTE.key})

    @precondition(lambda self: self.kept)
    @rule(at=st.floats(0, 0.999), how=st.sampled_from(["flip", "cut", "empty"]))
    def damage_newest(self, at: float, how: str) -> None:
        path = max((self.folder / "snapshots").iterdir())
        content = path.read_bytes()
        place = int(len(content) * at)
        if self.kept[-1] not in self.damaged and content:
            flipped = content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :]
            path.write_bytes({"flip": flipped, "cut": content[:place], "empty": b""}[how])
            self.damaged.add(self.kept[-1])

    @rule(name=st.sampled_from(["index.sqlite", "baseline"]), content=st.sampled_from([None, b"", b"x" * 5000]))
    def damage(self, name: str, content: bytes | None) -> None:
        path = self.folder / name
        if self.kept and content is None:
            path.unlink(missing_ok=True)
        elif self.kept and content is not None:
            path.write_bytes(content)
        with self.open().lock():  # both at once would lose what was accepted
            pass

    @rule(hours=st.sampled_from([-90000, -24, -1, 1, 24, 90000]))
    def shift(self, hours: int) -> None:
        self.now += 3600 * hours

    @invariant()
    def everything_is_there(self) -> None:
        if not self.kept:
            return
        store = self.open()
        found: dict[int, Kept] = {entry.id: entry for entry in store.records()}
        assert set(self.kept) <= set(found) <= set(self.texts)  # a lost index forgets what retention removed
        for number in self.kept:
            if number not in self.damaged:
                assert text_of(store, number) == self.texts[number]
        baseline = store.baseline()
        if self.baseline in self.damaged:
            assert baseline is None or baseline.id not in self.damaged
        else:
            assert baseline is not None
            assert baseline.id == self.baseline


TestRuns = Runs.TestCase
TestRuns.settings = settings(max_examples=25, stateful_step_count=14, deadline=None)
