"""The state folder: snapshots of earlier runs, safe from whatever ends a run.

::

    DIR/                      0700
      lock                    held by the run that writes
      index.sqlite            what lists and trends need; made again from the snapshots when it is lost
      baseline                which snapshot the baseline is, and the findings accepted with it
      snapshots/
        00000001.tar.zst      stands alone
        00000002.diff.zst     the differences to 1

The snapshot files are the truth. Each is written under another name, on the disk before it gets its own, and never
changed after that; one that holds differences needs a single older one that stands alone, so that no snapshot is lost
with a newer one. A file that the index does not know is taken up by the next run, an entry without its file dropped.
Only the run that holds the lock writes, and it removes what others left that died.
"""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout
from msgspec.structs import replace

from diag.bundle.archive import Limits
from diag.errors import DiagError, UsageError
from diag.history import snapshot_file
from diag.history.baseline_file import decode_baseline, encode_baseline
from diag.history.durable import remove_temporary, sync_folder, write_file
from diag.history.index import Contents, UnusableIndexError, read_index, update_index, write_index
from diag.history.retention import needed_by, retired
from diag.history.snapshot_file import DamagedSnapshotError, NewerSnapshotError, Opened, Standing
from diag.model.bundle import Bundle
from diag.model.history import Baseline, Kept, Record, Retention

FAMILY = 24
"""Snapshots that one that stands alone serves, itself included: what a damaged file can cost at most."""
_NAME = re.compile(r"(\d{8,})\.(?:tar|diff)\.zst")
_UNKNOWN = Record(host="", captured_at="")
_PERCENT_WORTH = 50
"""A difference that is larger than this part of its base is not worth its dependence."""


class Store:
    """A state folder; opened for reading, and within :meth:`lock` for writing."""

    family = FAMILY

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self.folder = folder
        self.notices: list[str] = []
        """What was found broken and mended, one sentence each."""
        self._clock = clock
        self._locked = False
        self._contents: Contents | None = None

    @classmethod
    def open(cls, path: str, *, create: bool = False, clock: Callable[[], float] = time.time) -> Store:
        """A state folder; with `create` made if it is not there. Raises DiagError."""
        store = cls(Path(path), clock)
        if create:
            try:
                store.folder.mkdir(mode=0o700, exist_ok=True)
                store._snapshots.mkdir(mode=0o700, exist_ok=True)
            except OSError as error:
                raise _trouble(f"cannot make the state folder {path}", error) from None
        elif not store._snapshots.is_dir():
            hint = f"`diag check --state {path}` makes it"
            raise UsageError(f"{path} is no state folder", why="it has no snapshots", hint=hint)
        return store

    @property
    def _snapshots(self) -> Path:
        return self.folder / "snapshots"

    @property
    def _index(self) -> Path:
        return self.folder / "index.sqlite"

    @property
    def _baseline(self) -> Path:
        return self.folder / "baseline"

    # Reading

    def records(self) -> tuple[Kept, ...]:
        """The snapshots, the oldest first. Raises DiagError."""
        return tuple(entry for entry in self._known().entries if not entry.retired)

    def find(self, name: str) -> Kept:
        """A snapshot by its number, or `latest` or `baseline`. Raises UsageError."""
        entries = self.records()
        wanted = name
        if name == "baseline":
            baseline = self.baseline()
            wanted = str(baseline.id) if baseline else ""
        for entry in reversed(entries):
            if name == "latest" or str(entry.id) == wanted.lstrip("0"):
                return entry
        hint = f"`diag history --state {self.folder}` lists them"
        raise UsageError(f"there is no snapshot {name}", hint=hint)

    def latest(self) -> Kept | None:
        """The newest snapshot that can be read; None when there is none."""
        return next((entry for entry in reversed(self.records()) if not self._damage(entry.id)), None)

    def get(self, number: int) -> Bundle:
        """A snapshot as it was captured. Raises DiagError."""
        entry = self.find(str(number))
        try:
            opened = self._open(entry.id)
            tar = snapshot_file.unpack(opened, self._standing_of(opened))
            return snapshot_file.bundle_of(opened, tar, f"snapshot {number} of {self.folder}")
        except DamagedSnapshotError as error:
            hint = f"`diag history --state {self.folder}` lists the others"
            raise DiagError(f"cannot read snapshot {number} of {self.folder}", why=str(error), hint=hint) from None

    def baseline(self) -> Baseline | None:
        """The baseline, whose snapshot can be read; None while there is no such snapshot."""
        baseline = self._stored_baseline()
        entries = {entry.id: entry for entry in self.records()}
        if baseline is not None and baseline.id in entries and not self._damage(baseline.id):
            return baseline
        oldest = next((entry.id for entry in entries.values() if not self._damage(entry.id)), None)
        if oldest is None:
            return None
        accepted = baseline.accepted if baseline else frozenset()
        return Baseline(oldest, accepted, set_at=entries[oldest].record.written_at)

    def _stored_baseline(self) -> Baseline | None:
        """What its file says, or the index where that cannot be read."""
        return decode_baseline(self._baseline_file()) or decode_baseline(self._known().baseline)

    def _baseline_file(self) -> bytes:
        try:
            return self._baseline.read_bytes()
        except OSError:
            return b""

    def _known(self) -> Contents:
        """What the index says; what the files say where it cannot be read."""
        if self._contents is None:
            files = self._files()
            try:
                found = read_index(self._index)
            except UnusableIndexError:
                found = Contents(())
            self._contents = replace(found, entries=self._together(found, files))
        return self._contents

    def _together(self, known: Contents, files: dict[int, Path]) -> tuple[Kept, ...]:
        """The entries of an index that have a file, and those of files that it does not know."""
        listed = {entry.id: entry for entry in known.entries if entry.id in files}
        fresh = self._scan({number: path for number, path in files.items() if number not in listed})
        return tuple(sorted((*listed.values(), *fresh), key=lambda entry: entry.id))

    def _files(self) -> dict[int, Path]:
        """Snapshot files by number. Raises DiagError."""
        try:
            names = os.listdir(self._snapshots)  # noqa: PTH208
        except OSError as error:
            raise _trouble(f"cannot read the state folder {self.folder}", error) from None
        found = {int(match[1]): self._snapshots / name for name in sorted(names) if (match := _NAME.fullmatch(name))}
        return dict(sorted(found.items()))

    def _scan(self, files: dict[int, Path]) -> tuple[Kept, ...]:
        """Entries of files by what they say of themselves."""
        entries = []
        for number, path in files.items():
            with contextlib.suppress(FileNotFoundError):  # another run has removed it since
                entries.append(self._entry(number, path))
        return tuple(entries)

    def _entry(self, number: int, path: Path) -> Kept:
        try:
            return _entry_of(self._open(number))
        except DamagedSnapshotError as error:
            return Kept(number, path.stat().st_size, _UNKNOWN, damage=str(error))

    def _open(self, number: int) -> Opened:
        """A snapshot's file, checked. Raises DamagedSnapshotError, and DiagError for one of a newer release."""
        for name in _names(number):
            try:
                content = (self._snapshots / name).read_bytes()
                opened = snapshot_file.open_file(content)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise DamagedSnapshotError(f"its file cannot be read ({error.strerror or error})") from None
            except NewerSnapshotError:
                why = "a newer release wrote it"
                hint = "Update docker-diag, or name another folder"
                raise DiagError(f"cannot read {self._snapshots / name}", why=why, hint=hint) from None
            if opened.header.id != number:
                raise DamagedSnapshotError("its file is another one's")
            return opened
        raise DamagedSnapshotError("its file is gone")

    def _standing_of(self, opened: Opened) -> Standing | None:
        base = self._open_base(opened)
        return snapshot_file.standing(base) if base else None

    def _open_base(self, opened: Opened) -> Opened | None:
        """The file of the snapshot that another is the differences to. Raises DamagedSnapshotError."""
        base = opened.header.base
        if base is None:
            return None
        try:
            found = self._open(base.id)
        except DamagedSnapshotError as error:
            raise DamagedSnapshotError(f"it is the differences to snapshot {base.id}: {error}") from None
        if found.digest != base.digest or found.header.base is not None:
            raise DamagedSnapshotError(f"snapshot {base.id}, which it is the differences to, is another one now")
        return found

    def _damage(self, number: int) -> str:
        """What the checksums say is wrong with a snapshot; empty for nothing."""
        try:
            self._open_base(self._open(number))
        except DamagedSnapshotError as error:
            return str(error)
        return ""

    # Writing

    @contextlib.contextmanager
    def lock(self, wait: float = 30.0) -> Iterator[None]:
        """Be the only one that writes; at first, what runs that died left is mended and cleaned away.

        Waits for another run `wait` seconds. A run that was killed holds no lock. Raises DiagError.
        """
        lock = FileLock(self.folder / "lock", timeout=wait, mode=0o600, fallback_to_soft=False)
        try:
            lock.acquire()
        except Timeout:
            why = f"it has been writing there for {wait:g} s"
            hint = "Wait for it, or give each its own folder"
            raise DiagError(f"another run uses the state folder {self.folder}", why=why, hint=hint) from None
        except (OSError, NotImplementedError) as error:
            raise _trouble(f"cannot lock the state folder {self.folder}", error) from None
        try:
            self._locked = True
            with self._writing("mend"):
                self._recover()
            yield
        finally:
            self._locked = False
            lock.release()

    def add(self, bundle: Bundle, record: Record, retention: Retention = Retention()) -> int:  # noqa: B008  frozen
        """Store a snapshot, and remove what is not to be kept any longer; within :meth:`lock`. Returns its number.

        The first one becomes the baseline. Raises DiagError when the disk does not take it: older ones are not touched.
        """
        self._must_be_locked()
        tar = snapshot_file.tar_of(bundle)
        limit = Limits().total
        if len(tar) > limit:
            raise DiagError("the snapshot is not stored", why=f"it is larger than {limit >> 20} MiB")
        number = max((entry.id for entry in self._known().entries), default=0) + 1
        stamped = replace(record, written_at=self._clock())
        content = self._packed(number, stamped, tar, bundle)
        entry = _entry_of(snapshot_file.open_file(content))
        with self._writing("store the snapshot in"):
            self._retire(retention)  # limits may be lower now, because the disk is full
            write_file(self._snapshots / _names(number)[1 if entry.base else 0], content)
            self._set((*self._known().entries, entry), [entry])
            self._settle_baseline()
            self._retire(retention)
        return number

    def set_baseline(self, number: int, accepted: Iterable[tuple[str, str]]) -> Baseline:
        """Make a snapshot the baseline, with findings that are accepted from now on; within :meth:`lock`.

        Raises DiagError, also for a snapshot that cannot be read.
        """
        self._must_be_locked()
        entry = self.find(str(number))
        if damage := self._damage(entry.id):
            raise DiagError(f"snapshot {number} cannot be the baseline", why=damage, hint="Name another one")
        baseline = Baseline(number, frozenset(accepted), self._clock(), by_hand=True)
        with self._writing("move the baseline of"):
            self._put_baseline(baseline)
        return baseline

    def _must_be_locked(self) -> None:
        if not self._locked:
            raise RuntimeError("the state folder is written within Store.lock only")

    @contextlib.contextmanager
    def _writing(self, doing: str) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error, UnusableIndexError) as error:
            self._contents = None
            raise _trouble(f"cannot {doing} the state folder {self.folder}", error) from None

    def _packed(self, number: int, record: Record, tar: bytes, bundle: Bundle) -> bytes:
        """The file of a new snapshot: differences if that is worth while."""
        base = self._base(number)
        if base is not None and snapshot_file.fits(base, tar):
            content = snapshot_file.pack(number, record, tar, bundle.gaps, base)
            if len(content) * 100 <= self._size_of(base.base.id) * _PERCENT_WORTH:
                return content
        return snapshot_file.pack(number, record, tar, bundle.gaps)

    def _size_of(self, number: int) -> int:
        return next(entry.size for entry in self._known().entries if entry.id == number)

    def _base(self, number: int) -> Standing | None:
        """For a new snapshot the newest that stands alone, unless it has served enough others or is damaged."""
        alone = next((entry for entry in reversed(self._known().entries) if not entry.base), None)
        if alone is None or number - alone.id >= self.family:
            return None
        try:
            return snapshot_file.standing(self._open(alone.id))
        except DamagedSnapshotError:
            return None

    def _set(self, entries: Iterable[Kept], changed: Iterable[Kept], gone: Iterable[int] = ()) -> None:
        """Commit entries to the index. Raises OSError, sqlite3.Error."""
        contents = Contents(tuple(entries), self._known().baseline)
        try:
            update_index(self._index, changed, gone, contents.baseline)
        except UnusableIndexError:
            write_index(self._index, contents)
        self._contents = contents

    def _put_baseline(self, baseline: Baseline) -> None:
        content = encode_baseline(baseline)
        write_file(self._baseline, content)
        self._contents = replace(self._known(), baseline=content)
        self._set(self._known().entries, ())

    def _settle_baseline(self) -> None:
        """Store the baseline where there is none that can be read."""
        stored, baseline = self._stored_baseline(), self.baseline()
        if baseline is None or self._baseline_file() == encode_baseline(baseline) == self._known().baseline:
            return
        if stored is not None and stored.id != baseline.id:
            self.notices.append(f"snapshot {stored.id}, the baseline, cannot be read: {baseline.id} takes its place")
        self._put_baseline(baseline)

    def _retire(self, retention: Retention) -> None:
        """Remove what is not to be kept: first the files, for on a full disk the index needs their room."""
        known = self._known().entries
        baseline = self._stored_baseline()
        gone = retired(known, retention, {baseline.id} if baseline else set())
        marked = [replace(entry, retired=entry.retired or entry.id in gone) for entry in known]
        needed = needed_by(entry for entry in marked if not entry.retired)
        staying = [entry for entry in marked if entry.id in needed]
        removed = [entry.id for entry in marked if entry.id not in needed]
        for number in removed:
            for name in _names(number):
                (self._snapshots / name).unlink(missing_ok=True)
        if gone or removed:
            sync_folder(self._snapshots)
            self._set(staying, [entry for entry in staying if entry.id in gone], removed)

    def _recover(self) -> None:
        """Bring index and files together after whatever happened to the last run."""
        remove_temporary(self.folder)
        remove_temporary(self._snapshots)
        files = self._files()
        try:
            known = read_index(self._index, mend=True)
        except UnusableIndexError as error:
            if self._index.exists():
                self.notices.append(f"the index could not be read ({error}): it was made again")
            known = Contents(self._scan(files))
            write_index(self._index, known)
        self._contents = known
        listed = {entry.id: entry for entry in known.entries}
        checked = [self._checked(entry, files) for entry in self._together(known, files)]
        changed = [entry for entry in checked if listed.get(entry.id) != entry]
        gone = listed.keys() - files.keys()
        if changed or gone:
            self._set(checked, changed, gone)
        self.notices += [f"snapshot {e.id} is damaged: {e.damage}" for e in changed if e.damage and e.id in listed]
        self._settle_baseline()

    def _checked(self, entry: Kept, files: dict[int, Path]) -> Kept:
        """An entry with what is wrong with it, if it is the newest, its file has another size, or its base is gone."""
        with contextlib.suppress(OSError):
            doubtful = entry.id == max(files) or entry.base not in (0, *files)
            if not entry.damage and (doubtful or files[entry.id].stat().st_size != entry.size):
                return replace(entry, damage=self._damage(entry.id))
        return entry


def _entry_of(opened: Opened) -> Kept:
    header = opened.header
    return Kept(header.id, opened.size, header.record, header.base.id if header.base else 0)


def _names(number: int) -> tuple[str, str]:
    """The file of a snapshot that stands alone, or of one that does not."""
    return f"{number:08}.tar.zst", f"{number:08}.diff.zst"


def _trouble(what: str, error: Exception) -> DiagError:
    full = getattr(error, "errno", 0) in (28, 122) or getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_FULL
    hint = "Free some space, or keep fewer snapshots" if full else ""
    why = getattr(error, "strerror", None) or str(error)
    return DiagError(what, why=why, hint=hint)
