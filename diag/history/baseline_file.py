"""The baseline's file: two lines, a SHA-256 of the second and the baseline as JSON."""

from __future__ import annotations

import hashlib

import msgspec

from diag.model.history import Baseline


def encode_baseline(baseline: Baseline) -> bytes:
    """The same for equal baselines.

    >>> encode_baseline(Baseline(3)).splitlines()[1]
    b'{"id":3,"accepted":[],"set_at":0.0,"by_hand":false}'
    """
    text = msgspec.json.encode(baseline, order="deterministic")
    return f"{hashlib.sha256(text).hexdigest()}\n".encode() + text + b"\n"


def decode_baseline(content: bytes) -> Baseline | None:
    """None for a file that is not what was written.

    >>> decode_baseline(encode_baseline(Baseline(3))).id
    3
    >>> decode_baseline(encode_baseline(Baseline(3)).replace(b"3", b"4"))
    """
    digest, _, text = content.removesuffix(b"\n").partition(b"\n")
    if digest != hashlib.sha256(text).hexdigest().encode():
        return None
    try:
        return msgspec.json.decode(text, type=Baseline)
    except (msgspec.MsgspecError, RecursionError):
        return None
