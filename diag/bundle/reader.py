"""Bundles from untrusted hands into memory: nothing is written, followed or executed.

An archive whose names try to leave it (`..`, absolute, a drive) is refused as a whole; a link, a device, a duplicate or
an oversized file is left out and named in a gap; what is no file of :mod:`diag.bundle.layout` is passed over. A
truncated archive gives what it still holds.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO

from diag.bundle import archive
from diag.bundle.archive import DamagedArchiveError, Limits, Member, MemberKind
from diag.bundle.layout import MANIFEST, TOP_FOLDERS, is_layout_path, names_in
from diag.bundle.manifest import Manifest, check_files, decode_manifest, printable
from diag.errors import BundleError
from diag.model.bundle import Bundle
from diag.model.message import Message, said, say
from diag.model.provenance import Gap, GapKind

_HINT = "`diag capture` writes one; docs/bundle.md lists the files"
_FOREIGN = {b"\xfd7zXZ\0": "xz", b"BZh": "bzip2", b"7z\xbc\xaf'\x1c": "7-Zip", b"Rar!": "RAR"}
_HEAD = 512
_MAX_GAPS = 200
"""Gaps about members of one archive that are listed one by one."""
_DRIVE = re.compile(r"[A-Za-z]:")
_JUNK = re.compile(r"(^|/)(__MACOSX/|\._|\.DS_Store$|@PaxHeader$|pax_global_header$)")
"""What archivers of other systems add."""
_NO_FOLLOW: int = getattr(os, "O_NOFOLLOW", 0)
_OPEN = os.O_RDONLY | _NO_FOLLOW | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
"""O_NONBLOCK: opening a pipe must not wait for its writer. Windows has neither flag, nor pipes in folders."""
_CHUNK = 1 << 20


def read_bundle(source: str, stdin: BinaryIO | None = None, limits: Limits = Limits()) -> Bundle:  # noqa: B008  frozen
    """Read a folder, an archive (tar, tar.gz, tar.zst, zip, told by its content) or `-`, an archive on `stdin`.

    Raises BundleError when there is nothing to read or the archive is refused. Everything less is a gap of the bundle.
    """
    if source == "-":
        if stdin is None and sys.stdin.isatty():
            raise BundleError(
                "standard input is a terminal", hint="Pipe an archive into it: `diag … -f - < bundle.tar.gz`"
            )
        loaded = _read_archive("standard input", stdin or sys.stdin.buffer, limits)
    elif Path(source).is_dir():
        loaded = _read_folder(source, limits)
    else:
        with archive.open_stream(source) as stream:
            loaded = _read_archive(source, stream, limits)
    return _bundle(source, loaded)


def read_archive(name: str, stream: BinaryIO, limits: Limits = Limits()) -> Bundle:  # noqa: B008  frozen
    """Read an archive that is open already, as :func:`read_bundle` does; `name` is what it is called in errors."""
    return _bundle(name, _read_archive(name, stream, limits))


@dataclass
class _Loaded:
    """Files by their path in the bundle, as they come in."""

    name: str
    files: dict[str, bytes] = field(default_factory=dict)
    gaps: list[Gap] = field(default_factory=list)
    foreign: int = 0
    """Files that are no part of a bundle."""
    damage: str = ""

    def leave_out(self, path: str, why: str) -> None:
        self.gaps.append(
            Gap(GapKind.UNREADABLE, printable(path, 200), 0, say("left out of the reading: {why}", why=why))
        )


def _bundle(source: str, loaded: _Loaded) -> Bundle:
    manifest_text = loaded.files.pop(MANIFEST, None)
    if not loaded.files:
        if loaded.damage:
            raise BundleError(f"cannot read {loaded.name}", why=loaded.damage, hint="Copy or capture it again")
        what = "has no file of a bundle" if loaded.foreign or manifest_text is not None else "is empty"
        raise BundleError(f"{loaded.name} {what}", hint=_HINT)
    if loaded.damage:
        detail = say("{damage}; the {n} files before that were read", damage=loaded.damage, n=len(loaded.files))
        loaded.gaps.append(
            Gap(GapKind.UNREADABLE, "", 0, detail, say("everything that the missing part holds is unknown"))
        )
    if len(loaded.gaps) > _MAX_GAPS:
        rest = len(loaded.gaps) - _MAX_GAPS
        loaded.gaps[_MAX_GAPS:] = [Gap(GapKind.UNREADABLE, "", 0, say("and {n} more members were left out", n=rest))]
    manifest = Manifest() if manifest_text is None else decode_manifest(manifest_text, loaded.files.keys())
    return Bundle(
        source=source,
        files=MappingProxyType({path: loaded.files[path] for path in sorted(loaded.files)}),
        records=manifest.records,
        host=manifest.host,
        captured_at=manifest.captured_at,
        gaps=(*loaded.gaps, *manifest.gaps, *check_files(loaded.files, manifest.records)),
    )


# Archives


def _damage(text: str) -> str:
    """A message as it is, where it fits; library errors and long names made safe to show."""
    return text if isinstance(text, Message) and len(text) <= 300 and text.isprintable() else printable(text, 300)


def _read_archive(name: str, stream: BinaryIO, limits: Limits) -> _Loaded:
    loaded = _Loaded(name)
    collected: dict[str, Member] = {}
    try:
        for count, member in enumerate(_members(archive.Packed(stream, limits), limits), 1):
            if count > limits.members:
                raise BundleError(f"the archive has more than {limits.members} members", why="refused as unsafe")
            _collect(member, collected, loaded, limits)
    except DamagedArchiveError as damage:
        loaded.damage = _damage(said(damage))
    except BundleError as error:
        raise BundleError(f"cannot read {name}", why=error.what + (f", {error.why}" if error.why else "")) from None
    _place(collected, loaded)
    return loaded


def _members(packed: archive.Packed, limits: Limits) -> Iterator[Member]:
    """The members of whatever archive this is."""
    budget = archive.Budget(packed, limits)
    head = b""
    while len(head) < _HEAD and (data := packed.read(_HEAD - len(head))):
        head += data
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        from diag.bundle.zip_archive import read_zip  # most bundles are no zip, and `zipfile` takes its time to import

        return read_zip(archive.slurp(packed, head), budget, limits)
    if head.startswith(b"\x1f\x8b"):
        chunks = archive.gunzip(packed, head)
    elif head.startswith(b"\x28\xb5\x2f\xfd") or (head[1:4] == b"\x2a\x4d\x18" and 0x50 <= head[0] <= 0x5F):
        chunks = archive.unzstd(packed, head)
    elif archive.looks_like_tar(head) or (head and not any(head)):
        chunks = archive.plain(packed, head)
    else:
        raise BundleError(_not_an_archive(head))
    return archive.read_tar(archive.Unpacked(chunks, budget), limits)


def _not_an_archive(head: bytes) -> str:
    if not head:
        return "it is empty"
    for magic, kind in _FOREIGN.items():
        if head.startswith(magic):
            return f"{kind} is not a format that is read; pack it again as .tar.gz, .tar.zst or .zip"
    return "it is neither a folder nor a tar, tar.gz, tar.zst or zip archive"


def _collect(member: Member, collected: dict[str, Member], loaded: _Loaded, limits: Limits) -> None:
    if member.kind is MemberKind.FOLDER and member.name in (".", "./", "/"):
        return
    path = _safe_path(member.name)
    if member.kind is MemberKind.FOLDER or not path or _JUNK.search(path):
        return
    if len(path) > limits.name:
        loaded.leave_out(path, say("its name is longer than {limit} characters", limit=limits.name))
    elif path in collected:
        loaded.leave_out(path, say("the archive has it twice; the first one counts"))
    else:
        keep = member.kind is not MemberKind.FILE or _may_matter(path)
        collected[path] = member if keep else Member(member.name, member.kind)


def _may_matter(path: str) -> bool:
    """Whether a file could be part of a bundle, with or without a folder around it: others are not kept in memory."""
    return is_layout_path(path) or is_layout_path(path.partition("/")[2])


def _safe_path(name: str) -> str:
    """The name without `.` and empty parts. Raises BundleError for one that could lead out of a folder."""
    parts = name.split("/")
    unsafe = ""
    if "\0" in name:
        unsafe = "a NUL"
    elif name.startswith("/"):
        unsafe = "an absolute path"
    elif ".." in parts:
        unsafe = "a way out of its folder"
    elif "\\" in name or _DRIVE.match(name):
        unsafe = "a Windows path"
    if unsafe:
        shown = printable(name, 80).encode("utf-8", "backslashreplace").decode()
        raise BundleError(f"the member `{shown}` has {unsafe} in its name", why="the archive is refused as unsafe")
    return "/".join(part for part in parts if part not in ("", "."))


def _place(collected: dict[str, Member], loaded: _Loaded) -> None:
    """Take off the one folder around everything and keep the files of the layout."""
    tops = {path.partition("/")[0] for path in collected}
    nested = all("/" in path for path in collected)
    strip = len(tops) == 1 and nested and not tops & TOP_FOLDERS
    for path, member in collected.items():
        inner = path.partition("/")[2] if strip else path
        if not is_layout_path(inner):
            loaded.foreign += 1
        elif member.kind is MemberKind.FILE:
            loaded.files[inner] = member.content
        else:
            loaded.leave_out(inner, member.kind.value)


# Folders


def _read_folder(source: str, limits: Limits) -> _Loaded:
    loaded = _Loaded(source)
    top = str(_top_folder(Path(source), loaded)).rstrip("/") + "/"
    files, total, count = loaded.files, 0, 0
    for folder, names in _layout_files(top, loaded):
        for name in names:
            count += 1
            if count > limits.members:
                raise BundleError(f"{source} has more than {limits.members} files", why="refused as unsafe")
            path = folder + name
            content = _read_file(top + path, path, loaded, limits)
            if content is not None:
                files[path] = content
                total += len(content)
            if total > limits.total:
                raise BundleError(f"{source} holds more than {limits.total >> 20} MiB", why="refused as unsafe")
    return loaded


def _top_folder(folder: Path, loaded: _Loaded) -> Path:
    """The folder itself, or the only one in it when it has no part of a bundle."""
    entries = _entries(str(folder), loaded)
    loaded.foreign = len(entries)
    names = {entry.name for entry in entries}
    visible = [entry for entry in entries if not entry.name.startswith(".")]
    if not names & {*TOP_FOLDERS, MANIFEST} and len(visible) == 1 and visible[0].is_dir(follow_symlinks=False):
        return folder / visible[0].name
    return folder


def _layout_files(top: str, loaded: _Loaded) -> Iterator[tuple[str, list[str]]]:
    """The folders of the layout that are in a folder, and which of its files each has; looks nowhere else.

    The path of a folder ends with `/`, unless it is the top itself.
    """
    if os.path.lexists(top + MANIFEST):
        yield "", [MANIFEST]
    for entry in _entries(top, loaded):
        if entry.name not in TOP_FOLDERS or not _is_folder(entry, entry.name, loaded):
            continue
        if entry.name in ("host", "docker"):
            yield f"{entry.name}/", _known_names(top, entry.name, loaded)
            continue
        for owner in _entries(top + entry.name, loaded):
            folder = f"{entry.name}/{owner.name}"
            if _is_folder(owner, folder, loaded):
                yield f"{folder}/", _known_names(top, folder, loaded)


def _known_names(top: str, folder: str, loaded: _Loaded) -> list[str]:
    known = names_in(folder)
    try:
        return sorted(known.intersection(os.listdir(top + folder)))  # noqa: PTH208  a Path for each of 20,000 files
    except OSError as error:
        _cannot_list(top + folder, error, loaded)
        return []


def _is_folder(entry: os.DirEntry[str], path: str, loaded: _Loaded) -> bool:
    if entry.is_symlink():
        loaded.leave_out(path, say("it is a link"))
    return entry.is_dir(follow_symlinks=False)


def _entries(folder: str, loaded: _Loaded) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=attrgetter("name"))
    except OSError as error:
        _cannot_list(folder, error, loaded)
        return []


def _cannot_list(folder: str, error: OSError, loaded: _Loaded) -> None:
    path, why = Path(folder), error.strerror or str(error)
    loaded.leave_out(path.name, why)
    loaded.damage = loaded.damage or f"{printable(str(path), 200)}: {why}"


def _read_file(path: str, shown: str, loaded: _Loaded, limits: Limits) -> bytes | None:
    """The content of a regular file; None, and a gap, for anything else."""
    if not _NO_FOLLOW and Path(path).is_symlink():
        loaded.leave_out(shown, say("it is a link"))
        return None
    try:
        descriptor = os.open(path, _OPEN)
    except OSError as error:
        loaded.leave_out(shown, say("it is a link") if Path(path).is_symlink() else error.strerror or str(error))
        return None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            loaded.leave_out(shown, say("it is not a regular file"))
            return None
        size = status.st_size
        content = os.read(descriptor, min(size, limits.file) + 1)
        if len(content) != size:
            content = _whole(descriptor, content, limits.file + 1)
    except OSError as error:
        loaded.leave_out(shown, error.strerror or str(error))
        return None
    finally:
        os.close(descriptor)
    if len(content) > limits.file:
        loaded.leave_out(shown, say("it is larger than {limit} MiB", limit=limits.file >> 20))
        return None
    return content


def _whole(descriptor: int, begun: bytes, limit: int) -> bytes:
    """What was read of a file and what comes after it, `limit` bytes at most: its size is not always known (procfs)."""
    content, chunks, missing = begun, [begun], limit - len(begun)
    while content and missing:
        content = os.read(descriptor, min(missing, _CHUNK))
        chunks.append(content)
        missing -= len(content)
    return b"".join(chunks)
