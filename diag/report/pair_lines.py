"""Rows of `diag pairs` as lines of CSV or JSON. A large host has a million: what rows share is written out once."""

from __future__ import annotations

import csv
import io
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable

from diag.reach.rows import PairRow, PathText, SourceRows, allowed_json

COLUMNS = ("source", "destination", "family", "address", "reachability", "allowed", "reason", "names")


def _csv(cells: Iterable[str]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="").writerow(cells)
    return out.getvalue()


def csv_heading() -> str:
    """The first line of CSV."""
    return _csv(COLUMNS) + "\n"


class Lines(ABC):
    """A format: each line is its source's head, a tail that rows of one destination share, and the names of the few."""

    def __init__(self) -> None:
        self._tails: dict[PathText, str] = {}

    def block(self, rows: SourceRows) -> str:
        """All lines of one source."""
        head, tails = self._head(rows.source), self._tails
        lines = []
        for destination, text in rows.paths:
            tail = tails.get(text)
            if tail is None:
                tail = tails[text] = self._tail(destination, text)
            lines.append(head + tail)
        for position, names in rows.names.items():
            lines[position] = self._named(lines[position], names)
        return "".join(lines)

    @abstractmethod
    def line(self, row: PairRow) -> str:
        """One row by itself."""

    @abstractmethod
    def _head(self, source: str) -> str: ...

    @abstractmethod
    def _tail(self, destination: str, text: PathText) -> str:
        """Up to the end of the line, without names."""

    @abstractmethod
    def _named(self, line: str, names: tuple[str, ...]) -> str:
        """A line that had none, with names."""


class CsvLines(Lines):
    """RFC 4180 with plain line feeds."""

    def line(self, row: PairRow) -> str:
        return _csv(row.as_text()) + "\n"

    def _head(self, source: str) -> str:
        return _csv((source,))

    def _tail(self, destination: str, text: PathText) -> str:
        return f",{_csv((destination, *text.columns))},\n"

    def _named(self, line: str, names: tuple[str, ...]) -> str:
        return f"{line[:-1]}{_csv((' '.join(names),))}\n"


class JsonLines(Lines):
    """One object a line."""

    def line(self, row: PairRow) -> str:
        return _json(row.as_json()) + "\n"

    def _head(self, source: str) -> str:
        return f'{{"source": {_json(source)}, '

    def _tail(self, destination: str, text: PathText) -> str:
        return f"{_json({'destination': destination, **_path(text), 'names': []})[1:]}\n"

    def _named(self, line: str, names: tuple[str, ...]) -> str:
        return f"{line[: -len(_NO_NAMES)]}{_json(list(names))}}}\n"


_NO_NAMES = "[]}\n"


def _path(text: PathText) -> dict[str, object]:
    path = text.path
    return {
        "family": text.family,
        "address": text.address,
        "reachability": path.reachability.value,
        "allowed": allowed_json(path.allowed),
        "reason": path.reason.value,
    }


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
