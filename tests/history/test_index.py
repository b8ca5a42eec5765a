"""The index: what goes in comes out, and what is no index is told apart from one that is too new."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from random import Random

import pytest
from msgspec.structs import replace

from diag.errors import DiagError
from diag.history.index import Contents, UnusableIndexError, read_index, update_index, write_index
from diag.model.history import Kept
from tests.history.bundles import NOTE, record

ENTRIES = tuple(Kept(n, n * 10, record(NOTE), base=n - 1, retired=n == 2, damage="x" * (n == 3)) for n in (1, 2, 3))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "index.sqlite"
    write_index(found, Contents(ENTRIES, b"baseline"))
    return found


def test_round_trip(path: Path) -> None:
    assert read_index(path) == read_index(path, mend=True) == Contents(ENTRIES, b"baseline")
    assert [child.name for child in path.parent.iterdir()] == ["index.sqlite"]


def test_updates(path: Path) -> None:
    changed = replace(ENTRIES[1], retired=False)
    more = Kept(7, 1, record())
    update_index(path, (changed, more), (1,), b"")
    assert read_index(path) == Contents((changed, ENTRIES[2], more))


def test_an_update_is_whole_or_not_at_all(path: Path) -> None:
    def broken() -> object:
        yield Kept(8, 1, record())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        update_index(path, broken(), (1,), b"")  # type: ignore[arg-type]
    assert read_index(path) == Contents(ENTRIES, b"baseline")


def test_findings_can_be_asked_for_in_sql(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        asked = "SELECT count(*), max(severity) FROM finding JOIN snapshot ON snapshot.id = snapshot WHERE healthy"
        assert connection.execute(asked).fetchone() == (3, "error")


def test_a_reader_leaves_no_trace_and_needs_no_right_to_write(path: Path) -> None:
    path.chmod(0o400)
    path.parent.chmod(0o500)
    try:
        assert read_index(path).entries == ENTRIES
        assert [child.name for child in path.parent.iterdir()] == ["index.sqlite"]
    finally:
        path.parent.chmod(0o700)


def test_a_newer_one_is_an_error_of_one_line(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(DiagError, match="cannot read") as raised:
        read_index(path)
    assert "version 99" in str(raised.value)


def test_what_is_no_index(tmp_path: Path, path: Path) -> None:
    with pytest.raises(UnusableIndexError):
        read_index(tmp_path / "none")
    for content in (b"", b"text", bytes(5000)):
        (tmp_path / "other").write_bytes(content)
        with pytest.raises(UnusableIndexError):
            read_index(tmp_path / "other")
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE baseline")
    with pytest.raises(UnusableIndexError):
        read_index(path)
    with pytest.raises(UnusableIndexError):
        update_index(path, (), (), b"")


def test_foreign_values(path: Path) -> None:
    for column, value in (("record", "'{'"), ("size", "'many'"), ("damage", "x'ff'"), ("retired", "'x'")):
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute(f"UPDATE snapshot SET {column} = {value} WHERE id = 1")  # noqa: S608
            connection.commit()
        with contextlib.suppress(UnusableIndexError):
            assert read_index(path).entries[1:] == ENTRIES[1:]
        write_index(path, Contents(ENTRIES))


def test_damage_never_raises_anything_else(path: Path) -> None:
    random = Random(2)  # noqa: S311
    content = path.read_bytes()
    for _ in range(150):
        damaged = bytearray(content)
        for _ in range(random.choice((1, 4, 200))):
            damaged[random.randrange(len(damaged))] = random.randrange(256)
        path.write_bytes(bytes(damaged[: random.choice((len(damaged), random.randrange(len(damaged))))]))
        with contextlib.suppress(UnusableIndexError, DiagError):
            read_index(path)


def test_a_journal_of_the_old_file_is_not_rolled_back_into_the_new_one(path: Path) -> None:
    journal = Path(f"{path}-journal")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("DELETE FROM snapshot")
        kept = journal.read_bytes()
        connection.execute("ROLLBACK")
    journal.write_bytes(kept)
    write_index(path, Contents(ENTRIES[:1]))
    assert not journal.exists()
    assert read_index(path, mend=True).entries == ENTRIES[:1]
