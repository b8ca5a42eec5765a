"""What every parser returns: a value, and what it could not read."""

from __future__ import annotations

from typing import Generic, TypeVar

from msgspec import Struct

from diag.model.provenance import Gap

T = TypeVar("T")


class Parsed(Struct, Generic[T], frozen=True):
    """`value` holds all that could be read; each of `gaps` names a line that could not."""

    value: T
    gaps: tuple[Gap, ...] = ()
