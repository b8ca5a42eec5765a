"""The index in SQLite: what lists and trends are made from. It can always be made again from the snapshot files.

A rollback journal and not a write-ahead log: that works on network file systems, and a reader of it needs no right to
write. `synchronous=EXTRA`: what was committed outlives a power cut (sqlite.org/pragma.html, "synchronous").
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote

import msgspec

from diag.errors import DiagError
from diag.history.durable import TEMPORARY, put_in_place
from diag.model.history import Kept, Record

VERSION = 1
"""`user_version` of the file."""
_APPLICATION = 0x64696167
"""`application_id`: "diag"."""
_WAIT = 5.0
"""Seconds that a reader waits for a commit."""
_SCHEMA = """
CREATE TABLE snapshot (
  id INTEGER PRIMARY KEY,
  size INTEGER NOT NULL,
  base INTEGER NOT NULL,
  retired INTEGER NOT NULL,
  damage TEXT NOT NULL,
  host TEXT NOT NULL,
  captured_at TEXT NOT NULL,
  written_at REAL NOT NULL,
  healthy INTEGER NOT NULL,
  record BLOB NOT NULL
);
CREATE TABLE finding (
  snapshot INTEGER NOT NULL REFERENCES snapshot ON DELETE CASCADE,
  code TEXT NOT NULL,
  severity TEXT NOT NULL,
  subject TEXT NOT NULL
);
CREATE INDEX finding_of ON finding (snapshot);
CREATE TABLE baseline (content BLOB NOT NULL);
"""
_PERMANENT = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
    }
)
"""Primary result codes of troubles that making the index again would not end."""


class UnusableIndexError(Exception):
    """There is no index, or it cannot be read: it is to be made again from the snapshots."""


class Contents(msgspec.Struct, frozen=True):
    """Everything that an index holds."""

    entries: tuple[Kept, ...]
    """In order."""
    baseline: bytes = b""
    """A copy of the file of that name; empty for none."""


def read_index(path: Path, *, mend: bool = False) -> Contents:
    """Read an index; with `mend` and the right to write, also undo what a writer that died has left half done.

    Raises UnusableIndexError, and DiagError for one that is too new.
    """
    if not path.is_file():
        raise UnusableIndexError("there is none")
    try:
        with contextlib.closing(_connect(path, "rw" if mend else "ro")) as connection:
            _check(connection, path)
            connection.execute("BEGIN")
            rows = connection.execute("SELECT id, size, base, retired, damage, record FROM snapshot ORDER BY id")
            entries = tuple(_entry(*row) for row in rows)
            baseline = connection.execute("SELECT content FROM baseline").fetchone()
            return Contents(entries, bytes(baseline[0]) if baseline else b"")
    except (sqlite3.Error, msgspec.MsgspecError, TypeError, ValueError) as error:
        raise UnusableIndexError(str(error)) from None


def _check(connection: sqlite3.Connection, path: Path) -> None:
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if application != _APPLICATION:
        raise UnusableIndexError("it is another database")
    if version > VERSION:
        raise DiagError(
            f"cannot read {path}",
            why=f"it has version {version}, this release knows {VERSION}",
            hint="Update docker-diag, or name another folder",
        )
    problem = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if problem != "ok":
        raise UnusableIndexError(problem)


def _entry(number: int, size: int, base: int, retired: int, damage: str, record: bytes) -> Kept:
    return msgspec.convert(
        {
            "id": number,
            "size": size,
            "base": base,
            "retired": bool(retired),
            "damage": damage,
            "record": msgspec.json.decode(record, type=Record),
        },
        Kept,
    )


def write_index(path: Path, contents: Contents) -> None:
    """Make a new index in place of what is there. Raises OSError, sqlite3.Error."""
    descriptor, temporary = tempfile.mkstemp(prefix=TEMPORARY, dir=path.parent)
    os.close(descriptor)
    try:
        with contextlib.closing(_connect(Path(temporary))) as connection:
            connection.executescript(_SCHEMA)
            with _transaction(connection):
                connection.execute(f"PRAGMA application_id = {_APPLICATION}")
                connection.execute(f"PRAGMA user_version = {VERSION}")
                _put(connection, contents.entries)
                _put_baseline(connection, contents.baseline)
        # The journal of a writer that died belongs to the old file, and would be rolled back into the new one.
        Path(f"{path}-journal").unlink(missing_ok=True)
        put_in_place(Path(temporary), path)
    except BaseException:
        for leftover in (temporary, f"{temporary}-journal"):
            with contextlib.suppress(OSError):
                os.unlink(leftover)  # noqa: PTH108
        raise


def update_index(path: Path, changed: Iterable[Kept], gone: Iterable[int], baseline: bytes) -> None:
    """Put entries in, or in place of the same ones, and take others out, all or nothing.

    Raises UnusableIndexError, OSError, and sqlite3.Error where making the index again would not help.
    """
    try:
        with contextlib.closing(_connect(path)) as connection, _transaction(connection):
            connection.executemany("DELETE FROM snapshot WHERE id = ?", [(number,) for number in gone])
            _put(connection, changed)
            _put_baseline(connection, baseline)
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _PERMANENT:
            raise
        raise UnusableIndexError(str(error)) from None


def _connect(path: Path, mode: str = "rw") -> sqlite3.Connection:
    uri = f"file:{quote(str(path.absolute()))}?mode={mode}"
    connection = sqlite3.connect(uri, uri=True, timeout=_WAIT, isolation_level=None)
    try:
        connection.execute("PRAGMA trusted_schema = OFF")
        if mode == "rw":
            for pragma in ("journal_mode = DELETE", "synchronous = EXTRA", "foreign_keys = ON"):
                connection.execute(f"PRAGMA {pragma}")
    except BaseException:
        connection.close()
        raise
    return connection


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def _put(connection: sqlite3.Connection, entries: Iterable[Kept]) -> None:
    for entry in entries:
        record = entry.record
        connection.execute("DELETE FROM snapshot WHERE id = ?", (entry.id,))
        connection.execute(
            "INSERT INTO snapshot VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                entry.id,
                entry.size,
                entry.base,
                entry.retired,
                entry.damage,
                record.host,
                record.captured_at,
                record.written_at,
                record.healthy,
                msgspec.json.encode(record),
            ),
        )
        connection.executemany(
            "INSERT INTO finding VALUES (?, ?, ?, ?)",
            [(entry.id, note.code, note.severity.value, note.subject) for note in record.findings],
        )


def _put_baseline(connection: sqlite3.Connection, baseline: bytes) -> None:
    connection.execute("DELETE FROM baseline")
    if baseline:
        connection.execute("INSERT INTO baseline VALUES (?)", (baseline,))
