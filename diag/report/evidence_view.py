"""The lines of captured files that a report cites, and the appendix that shows them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec import Struct

from diag.model.analysis import Analysis
from diag.model.provenance import Evidence
from diag.report.host_view import container_ids
from diag.report.language import Language
from diag.report.shown import shown

CONTEXT = 3
"""Lines shown around a cited line."""


class Cited(Struct, frozen=True):
    """A line of evidence and where the appendix shows it."""

    file: str
    line: int
    text: str
    anchor: str
    """Empty when the file is not in the appendix."""
    goal: str
    """Where a step leads: to the line, or to the container whose folder has the file; empty for nowhere."""
    label: str
    """What a step says of it: a file of a container without its folder, which the container's row has."""


class PlacesView(Struct, frozen=True):
    """The groups of pairs that something is used for."""

    ids: tuple[str, ...] = ()
    """The first of them."""
    more: int = 0


NOWHERE = PlacesView()


class EvidenceLine(Struct, frozen=True):
    """A line of a captured file; `number` 0 stands for lines left out."""

    number: int
    text: str
    anchor: str
    cited: bool
    places: PlacesView
    """Where it is cited."""


class EvidenceFile(Struct, frozen=True):
    """The cited parts of one captured file."""

    path: str
    lines: tuple[EvidenceLine, ...]


class Appendix:
    """Gives each cited line of a text file an id, once."""

    def __init__(self, analysis: Analysis, language: Language) -> None:
        self._language = language
        self._files = analysis.snapshot.files
        self._anchors: dict[tuple[str, int], str] = {}
        self._cited: dict[Evidence, Cited] = {}
        self._rows = container_ids(analysis.snapshot)
        for evidence in _cited_evidence(analysis):
            key = (evidence.file, evidence.line)
            shows = evidence.line and key not in self._anchors and not evidence.file.endswith(".json")
            if shows and evidence.file in self._files:
                self._anchors[key] = f"e{len(self._anchors) + 1}"

    def cite(self, evidence: Evidence | None) -> Cited | None:
        if evidence is None:
            return None
        found = self._cited.get(evidence)
        if found is None:
            anchor = self._anchors.get((evidence.file, evidence.line), "")
            text = shown(self._language.of(evidence.text))
            found = Cited(shown(evidence.file), evidence.line, text, anchor, *self._step(evidence, anchor))
            self._cited[evidence] = found
        return found

    def _step(self, evidence: Evidence, anchor: str) -> tuple[str, str]:
        """Goal and label."""
        if anchor:
            return anchor, f"{shown(evidence.file)}:{evidence.line}"
        folder, _, name = evidence.file.rpartition("/")
        row = self._rows.get(folder, "")
        return row, shown(name if row else evidence.file)

    def files(self, places: Mapping[str, PlacesView]) -> Iterator[EvidenceFile]:
        """`places` by anchor."""
        cited: dict[str, dict[int, str]] = {}
        for (file, line), anchor in self._anchors.items():
            cited.setdefault(file, {})[line] = anchor
        for file in sorted(cited):
            yield EvidenceFile(shown(file), tuple(_lines(self._files[file].splitlines(), cited[file], places)))


def _cited_evidence(analysis: Analysis) -> Iterator[Evidence]:
    for finding in analysis.findings:
        yield from finding.evidence
    for group in analysis.groups:
        for path in group.paths:
            if path.decided_by is not None:
                yield path.decided_by
            for hop in (*path.hops, *path.hops_back):
                if hop.evidence is not None:
                    yield hop.evidence


def _lines(lines: list[str], anchors: dict[int, str], places: Mapping[str, PlacesView]) -> Iterator[EvidenceLine]:
    """The cited lines with those around them; each run of others is one line that says so."""
    near = {n for c in anchors for n in range(c - CONTEXT, c + CONTEXT + 1)}
    last = 0
    for number in sorted(n for n in near if 1 <= n <= len(lines)):
        if number != last + 1:
            yield EvidenceLine(0, "…", "", False, NOWHERE)
        anchor = anchors.get(number, "")
        yield EvidenceLine(number, shown(lines[number - 1]), anchor, bool(anchor), places.get(anchor, NOWHERE))
        last = number
    if last != len(lines):
        yield EvidenceLine(0, "…", "", False, NOWHERE)
