"""Rows of `diag pairs` as lines of CSV or JSON. A large host has a million: what rows share is written out once."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator

from diag.reach.rows import PairRow, PathText, allowed_json

COLUMNS = ("source", "destination", "family", "address", "reachability", "allowed", "reason", "names")


class _Known(dict[str, str]):
    """Texts as the format writes them, each worked out when it is first asked for."""

    def __init__(self, write: Callable[[str], str]) -> None:
        super().__init__()
        self._write = write

    def __missing__(self, text: str) -> str:
        written = self[text] = self._write(text)
        return written


def csv_lines(rows: Iterable[PairRow]) -> Iterator[str]:
    """RFC 4180 with plain line feeds, and a heading."""
    yield _csv(COLUMNS) + "\n"
    known = _Known(lambda text: _csv((text,)))
    names = _Known(lambda text: _csv(("", text))[1:])
    columns: dict[PathText, str] = {}
    for row in rows:
        text = row.text
        written = columns.get(text)
        if written is None:
            written = columns[text] = _csv(text.columns)
        called = names[" ".join(row.names)] if row.names else ""
        yield f"{known[row.source]},{known[row.destination]},{written},{called}\n"


def _csv(cells: Iterable[str]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="").writerow(cells)
    return out.getvalue()


def json_lines(rows: Iterable[PairRow]) -> Iterator[str]:
    """One object a line."""
    known = _Known(_json)
    columns: dict[PathText, str] = {}
    for row in rows:
        text = row.text
        written = columns.get(text)
        if written is None:
            written = columns[text] = _json(_path(text))[1:-1]
        names = f"[{', '.join([known[name] for name in row.names])}]"
        yield f'{{"source": {known[row.source]}, "destination": {known[row.destination]}, {written}, "names": {names}}}\n'


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
