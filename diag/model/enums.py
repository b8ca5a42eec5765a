"""Enums for keys: their members hash in C, as their values do. `enum.Enum` hashes a member's name in Python each time."""

from __future__ import annotations

from enum import IntEnum, StrEnum


class Word(StrEnum):
    """An enum of texts."""

    __hash__ = str.__hash__


class Number(IntEnum):
    """An enum of numbers."""

    __hash__ = int.__hash__
