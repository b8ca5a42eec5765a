"""READ FIRST: the way of the data, one short function per arrow.

::

    host ──capture──► bundle ──parse──► snapshot ──interpreter, names──► reach ──► findings ──► report

`live` is a capture into memory; from there on a live host and a bundle take the same road, so every live bug can be
replayed from a file.
"""

from __future__ import annotations

from msgspec.structs import replace

from diag.bundle.reader import read_bundle
from diag.findings.registry import find_all
from diag.model.analysis import Analysis
from diag.model.bundle import Bundle
from diag.model.difference import Difference
from diag.model.snapshot import Snapshot
from diag.parse.snapshot import build_snapshot
from diag.reach.analysis import Analyser, analyse


def load_bundle(source: str) -> Bundle:
    """A bundle from a folder, an archive, or `-`. Raises BundleError."""
    return read_bundle(source)


def parse_bundle(bundle: Bundle) -> Snapshot:
    """The facts of a bundle. What cannot be read is a gap."""
    return build_snapshot(bundle)


def load_snapshot(source: str) -> Snapshot:
    """The facts of a bundle on disk. Raises BundleError."""
    return parse_bundle(load_bundle(source))


def analyse_snapshot(snapshot: Snapshot) -> Analysis:
    """Everything there is to say about one host."""
    analyser = Analyser(snapshot)
    analysis = analyse(snapshot, analyser)
    return replace(analysis, findings=find_all(analysis, analyser.tracer))


def compare_bundles(old: Bundle, new: Bundle) -> Difference:
    """What changed from one capture of a host to a later one."""
    return compare_with(old, analyse_snapshot(parse_bundle(new)))


def compare_with(old: Bundle, new: Analysis) -> Difference:
    """The same of a later capture that is analysed already. Where no fact changed, the old one need not be."""
    from diag.diff.compare import unchanged  # a report needs none of it

    before = parse_bundle(old)
    return unchanged(before, new.snapshot) or compare_analyses(analyse_snapshot(before), new)


def compare_analyses(old: Analysis, new: Analysis) -> Difference:
    """The same of two that are analysed already, with their findings."""
    from diag.diff.compare import compare

    return compare(old, new)
