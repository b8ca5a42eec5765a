"""What every parser returns: a value, and what it could not read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from diag.model.provenance import Gap

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Parsed(Generic[T]):
    """`value` holds all that could be read; each of `gaps` names a line that could not."""

    value: T
    gaps: tuple[Gap, ...] = ()
