"""What the checks say of a snapshot, and names that a capture gives to its links."""

from __future__ import annotations

from diag.findings.registry import find_all
from diag.model.analysis import Analysis
from diag.model.finding import Finding
from diag.model.snapshot import Snapshot
from tests.loading import snapshot_of


def found(snapshot: Snapshot, code: str) -> list[Finding]:
    """What a check says of a snapshot whose pairs nobody has analysed: most checks do not ask for them."""
    return [f for f in every_finding(snapshot) if f.code == code]


def every_finding(snapshot: Snapshot) -> tuple[Finding, ...]:
    """What all checks say of it."""
    return find_all(Analysis(snapshot, (), (), (), (), ()))


def only(findings: list[Finding]) -> Finding:
    """The one that there is."""
    assert len(findings) == 1, [(f.code, f.subject) for f in findings]
    return findings[0]


def bridge_of(capture: str, name: str) -> str:
    """The bridge of a network."""
    there = snapshot_of(capture).network(name)
    assert there is not None
    return there.bridge_name


def veth_of(capture: str, name: str, inner: str = "eth0") -> str:
    """The host's end of a container's link."""
    snapshot = snapshot_of(capture)
    index = next(x.peer_index for x in snapshot.netns[snapshot.netns_of[name]].links or () if x.name == inner)
    return next(x.name for x in snapshot.netns["host"].links or () if x.index == index)
