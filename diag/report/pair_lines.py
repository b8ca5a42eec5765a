"""Rows of `diag pairs` as lines of CSV or JSON. A large host has a million: what rows share is written out once."""

from __future__ import annotations

import csv
import io
import json
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


class CsvLines:
    """RFC 4180 with plain line feeds."""

    def __init__(self) -> None:
        self._tails: dict[PathText, str] = {}

    def block(self, rows: SourceRows) -> str:
        """All lines of one source."""
        head, tails = _csv((rows.source,)), self._tails
        lines = []
        for destination, text in rows.paths:
            tail = tails.get(text)
            if tail is None:
                tail = tails[text] = f",{_csv((destination, *text.columns))},\n"
            lines.append(head + tail)
        for position, names in rows.names.items():
            lines[position] = f"{lines[position][:-1]}{_csv((' '.join(names),))}\n"
        return "".join(lines)

    def line(self, row: PairRow) -> str:
        """One row by itself."""
        return _csv(row.as_text()) + "\n"


class JsonLines:
    """One object a line."""

    def __init__(self) -> None:
        self._tails: dict[PathText, str] = {}

    def block(self, rows: SourceRows) -> str:
        """All lines of one source."""
        head, tails = f'{{"source": {_json(rows.source)}, ', self._tails
        lines = []
        for destination, text in rows.paths:
            tail = tails.get(text)
            if tail is None:
                tail = tails[text] = f"{_json({'destination': destination, **_path(text), 'names': []})[1:]}\n"
            lines.append(head + tail)
        for position, names in rows.names.items():
            lines[position] = f"{lines[position][: -len(_NO_NAMES)]}{_json(list(names))}}}\n"
        return "".join(lines)

    def line(self, row: PairRow) -> str:
        """One row by itself."""
        return _json(row.as_json()) + "\n"


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
