"""Archives for tests, the well-made and the malicious."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from collections.abc import Iterable, Mapping

import zstandard

FILES = {"host/ip-addr.json": b"[]\n", "host/sysctl.txt": b"net.ipv4.ip_forward = 1\n", "docker/info.json": b"{}\n"}


def entry(name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, len(content), link
    return info


def tar(members: Iterable[tuple[tarfile.TarInfo, bytes]], form: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def tar_of(files: Mapping[str, bytes] | Iterable[tuple[str, bytes]], form: int = tarfile.PAX_FORMAT) -> bytes:
    pairs = files.items() if isinstance(files, Mapping) else files
    return tar(((entry(name, content), content) for name, content in pairs), form)


def zip_of(files: Mapping[str, bytes] | Iterable[tuple[str, bytes]]) -> bytes:
    pairs = files.items() if isinstance(files, Mapping) else files
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in pairs:
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


PACK = {
    "tar": tar_of,
    "tar.gz": lambda files: gzip.compress(tar_of(files), mtime=0),
    "tar.zst": lambda files: zstandard.compress(tar_of(files)),
    "zip": zip_of,
}
"""Every form of archive, from its files."""
