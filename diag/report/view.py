"""The view model: everything a report shows, as plain text and numbers. Templates loop over it and decide nothing.

Every text that came from the host has been through :func:`diag.report.shown.shown`; escaping for the output's own syntax
is the renderer's part.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from diag import __version__
from diag.model.analysis import Analysis, Fix, Group, NameAnswer, NameScope, Path
from diag.model.docker import Container, DockerNetwork
from diag.model.flow import Hop
from diag.model.provenance import Evidence
from diag.model.reasons import Reachability
from diag.report.shown import shown

MATRIX_LIMIT = 60
"""Containers up to which the matrix has a cell per pair; above, the groups are the matrix."""
EVIDENCE_CONTEXT = 3
"""Lines shown around a cited line."""

MARKS = {
    Reachability.REACHABLE: "✓",
    Reachability.PARTIAL: "◐",
    Reachability.UNREACHABLE: "✕",
    Reachability.UNKNOWN: "?",
}
"""A shape for each result, so that colour alone never carries it."""

WORDS = {
    Reachability.REACHABLE: "reachable",
    Reachability.PARTIAL: "partly reachable",
    Reachability.UNREACHABLE: "not reachable",
    Reachability.UNKNOWN: "cannot tell",
}


@dataclass(frozen=True, slots=True)
class Count:
    """How many ordered pairs have one result."""

    key: str
    mark: str
    word: str
    pairs: int


@dataclass(frozen=True, slots=True)
class Cited:
    """A line of evidence and where the appendix shows it."""

    file: str
    line: int
    text: str
    anchor: str
    """Empty when the file is not in the appendix."""


@dataclass(frozen=True, slots=True)
class HopView:
    """One step of a trace."""

    text: str
    kind: str
    cited: Cited | None


@dataclass(frozen=True, slots=True)
class FixView:
    """A command and what it does."""

    command: str
    effect: str
    note: str


@dataclass(frozen=True, slots=True)
class PathView:
    """One destination address, or class of them."""

    title: str
    key: str
    mark: str
    allowed: str
    reason: str
    explanation: str
    cited: Cited | None
    partial: tuple[str, ...]
    hops: tuple[HopView, ...]
    hops_back: tuple[HopView, ...]
    fixes: tuple[FixView, ...]


@dataclass(frozen=True, slots=True)
class GroupView:
    """Pairs that behave alike."""

    id: str
    key: str
    mark: str
    word: str
    sources: tuple[str, ...]
    destinations: tuple[str, ...]
    pairs: int
    reason: str
    headline: str
    paths: tuple[PathView, ...]


@dataclass(frozen=True, slots=True)
class CellView:
    """One cell of the matrix; `group` is empty on the diagonal."""

    id: str
    key: str
    mark: str
    title: str
    group: str


@dataclass(frozen=True, slots=True)
class RowView:
    """One source of the matrix."""

    source: str
    cells: tuple[CellView, ...]


@dataclass(frozen=True, slots=True)
class MemberView:
    """A container on a network."""

    name: str
    address: str
    note: str


@dataclass(frozen=True, slots=True)
class NetworkView:
    """A Docker network."""

    name: str
    driver: str
    bridge: str
    subnets: str
    gateways: str
    traits: str
    members: tuple[MemberView, ...]


@dataclass(frozen=True, slots=True)
class ContainerView:
    """A container."""

    name: str
    status: str
    role: str
    addresses: str
    ports: str


@dataclass(frozen=True, slots=True)
class NameRow:
    """A name and what it gives."""

    name: str
    addresses: str
    via: str
    explanation: str


@dataclass(frozen=True, slots=True)
class ScopeView:
    """What one container can call others."""

    container: str
    resolver: str
    names: tuple[NameRow, ...]
    missing: tuple[NameRow, ...]


@dataclass(frozen=True, slots=True)
class InterfaceView:
    """A host interface."""

    name: str
    role: str
    addresses: str
    state: str


@dataclass(frozen=True, slots=True)
class GapView:
    """Something that is not known."""

    where: str
    detail: str
    affects: str


@dataclass(frozen=True, slots=True)
class EvidenceLine:
    """A line of a captured file; `number` 0 stands for lines left out."""

    number: int
    text: str
    anchor: str
    cited: bool


@dataclass(frozen=True, slots=True)
class EvidenceFile:
    """The cited parts of one captured file."""

    path: str
    lines: tuple[EvidenceLine, ...]


@dataclass(frozen=True, slots=True)
class EndpointView:
    """What containers, the host and the world can do with each other: one group of pairs."""

    key: str
    """Reachability, for the style sheet."""
    mark: str
    word: str
    sources: str
    destinations: str
    allowed: str
    explanations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReportView:
    """A whole report."""

    title: str
    version: str
    facts: tuple[tuple[str, str], ...]
    headline: str
    counts: tuple[Count, ...]
    notes: tuple[str, ...]
    networks: tuple[NetworkView, ...]
    containers: tuple[ContainerView, ...]
    matrix: tuple[RowView, ...]
    """Empty above MATRIX_LIMIT containers."""
    columns: tuple[str, ...]
    groups: tuple[GroupView, ...]
    """What does not work first."""
    endpoints: tuple[EndpointView, ...]
    """Pairs with the host itself and the world beyond its uplink."""
    scopes: tuple[ScopeView, ...]
    interfaces: tuple[InterfaceView, ...]
    gaps: tuple[GapView, ...]
    evidence: tuple[EvidenceFile, ...]


_TROUBLE_FIRST = (Reachability.UNKNOWN, Reachability.PARTIAL, Reachability.UNREACHABLE, Reachability.REACHABLE)


def build_view(analysis: Analysis) -> ReportView:
    """Everything a report shows of an analysis."""
    ordered = sorted(analysis.groups, key=lambda g: (_TROUBLE_FIRST.index(g.reachability), -g.pairs))
    anchors = _anchors(analysis)
    groups = tuple(_group(number, group, anchors) for number, group in enumerate(ordered, 1))
    snapshot = analysis.snapshot
    small = len(snapshot.containers) <= MATRIX_LIMIT
    return ReportView(
        title=f"Docker networking on {shown(snapshot.host) or 'a host without a name'}",
        version=__version__,
        facts=tuple(_facts(analysis)),
        headline=_headline(analysis),
        counts=tuple(Count(r.value, MARKS[r], WORDS[r], n) for r, n in analysis.counts.items()),
        notes=tuple(shown(note, 2000) for note in analysis.notes),
        networks=tuple(_network(n, analysis) for n in snapshot.networks),
        containers=tuple(_container(c, analysis) for c in snapshot.containers),
        matrix=_matrix(analysis, ordered) if small else (),
        columns=tuple(shown(c.name) for c in snapshot.containers) if small else (),
        groups=groups,
        endpoints=tuple(_endpoint(group) for group in analysis.endpoints),
        scopes=tuple(_scope(s) for s in analysis.names),
        interfaces=tuple(
            InterfaceView(shown(i.name), shown(i.role), shown(", ".join(i.addresses)), i.state)
            for i in analysis.interfaces
        ),
        gaps=tuple(GapView(shown(_where(g.file, g.line)), shown(g.detail), shown(g.affects)) for g in analysis.gaps),
        evidence=tuple(_evidence_files(analysis, anchors)),
    )


def _where(file: str, line: int) -> str:
    return f"{file}:{line}" if line else file


def _facts(analysis: Analysis) -> Iterator[tuple[str, str]]:
    snapshot, engine = analysis.snapshot, analysis.snapshot.engine
    for label, value in (
        ("Docker", engine.version),
        ("Firewall backend", engine.firewall_backend),
        ("Kernel", engine.kernel),
        ("System", engine.os),
        ("Captured", snapshot.captured_at),
    ):
        if value:
            yield label, shown(value)
    running = sum(c.running for c in snapshot.containers)
    yield "Containers", f"{len(snapshot.containers)}, {running} running"
    yield "Networks", str(len(snapshot.networks))


def _headline(analysis: Analysis) -> str:
    counts = analysis.counts
    total = sum(counts.values())
    if not analysis.snapshot.containers:
        return "The capture shows no containers."
    if total == 0:
        return "One container: there is no pair to judge."
    blocked, unknown = counts[Reachability.UNREACHABLE], counts[Reachability.UNKNOWN]
    partial = counts[Reachability.PARTIAL]
    works = counts[Reachability.REACHABLE]
    if works == total:
        return f"All {total} ordered pairs of containers reach each other."
    parts = [f"{works} of {total} ordered pairs of containers reach each other"]
    if partial:
        parts.append(f"{partial} do so on some ports only")
    if blocked:
        parts.append(f"{blocked} do not")
    if unknown:
        parts.append(f"{unknown} cannot be told")
    return ", ".join(parts) + "."


def _cited_evidence(analysis: Analysis) -> Iterator[Evidence]:
    for group in analysis.groups:
        for path in group.paths:
            if path.decided_by is not None:
                yield path.decided_by
            for hop in (*path.hops, *path.hops_back):
                if hop.evidence is not None:
                    yield hop.evidence


def _anchors(analysis: Analysis) -> dict[tuple[str, int], str]:
    """An id per cited line of the text files that the appendix shows."""
    found: dict[tuple[str, int], str] = {}
    for evidence in _cited_evidence(analysis):
        key = (evidence.file, evidence.line)
        if evidence.line and evidence.file in analysis.snapshot.files and not evidence.file.endswith(".json"):
            found.setdefault(key, f"e{len(found) + 1}")
    return found


def _cite(evidence: Evidence | None, anchors: dict[tuple[str, int], str]) -> Cited | None:
    if evidence is None:
        return None
    anchor = anchors.get((evidence.file, evidence.line), "")
    return Cited(shown(evidence.file), evidence.line, shown(evidence.text), anchor)


def _hop(hop: Hop, anchors: dict[tuple[str, int], str]) -> HopView:
    return HopView(shown(hop.text), hop.kind.value, _cite(hop.evidence, anchors))


def _fix(fix: Fix) -> FixView:
    opened = len(fix.opens)
    note = fix.note
    if opened > 1:
        note = f"It opens {opened} ordered pairs in all. {note}".strip()
    return FixView(shown(fix.command, 2000), WORDS[fix.effect], shown(note))


def _path(path: Path, anchors: dict[tuple[str, int], str]) -> PathView:
    where = path.network or path.address or "no address"
    title = f"{where} ({path.address})" if path.network and path.address else where
    return PathView(
        shown(f"{title}, {path.family}" if path.family else title),
        path.reachability.value,
        MARKS[path.reachability],
        shown(str(path.allowed), 2000),
        path.reason.value,
        shown(path.explanation, 4000),
        _cite(path.decided_by, anchors),
        tuple(shown(p, 2000) for p in path.partial),
        tuple(_hop(h, anchors) for h in path.hops),
        tuple(_hop(h, anchors) for h in path.hops_back),
        tuple(_fix(f) for f in path.fixes),
    )


def _endpoint(group: Group) -> EndpointView:
    return EndpointView(
        group.reachability.value,
        MARKS[group.reachability],
        WORDS[group.reachability],
        shown(", ".join(group.sources), 2000),
        shown(", ".join(group.destinations), 2000),
        shown(" / ".join(dict.fromkeys(str(path.allowed) for path in group.paths)), 400),
        tuple(dict.fromkeys(shown(path.explanation, 2000) for path in group.paths)),
    )


def _group(number: int, group: Group, anchors: dict[tuple[str, int], str]) -> GroupView:
    best = group.paths[0]
    return GroupView(
        f"group-{number}",
        group.reachability.value,
        MARKS[group.reachability],
        WORDS[group.reachability],
        tuple(shown(s) for s in group.sources),
        tuple(shown(d) for d in group.destinations),
        group.pairs,
        best.reason.value,
        shown(best.explanation, 4000),
        tuple(_path(p, anchors) for p in group.paths),
    )


def _matrix(analysis: Analysis, ordered: list[Group]) -> tuple[RowView, ...]:
    group_of = {
        (source, destination): (number, group)
        for number, group in enumerate(ordered, 1)
        for source in group.sources
        for destination in group.destinations
        if source != destination
    }
    containers = analysis.snapshot.containers
    rows = []
    for i, source in enumerate(containers):
        cells = []
        for j, destination in enumerate(containers):
            found = group_of.get((source.name, destination.name))
            if found is None:
                cells.append(CellView("", "self", "", "", ""))
                continue
            number, group = found
            title = shown(f"{source.name} → {destination.name}: {WORDS[group.reachability]}", 600)
            cells.append(
                CellView(
                    f"pair-{i + 1}-{j + 1}",
                    group.reachability.value,
                    MARKS[group.reachability],
                    title,
                    f"group-{number}",
                )
            )
        rows.append(RowView(shown(source.name), tuple(cells)))
    return tuple(rows)


def _network(network: DockerNetwork, analysis: Analysis) -> NetworkView:
    members = []
    for container in analysis.snapshot.containers:
        for endpoint in container.endpoints:
            if endpoint.network == network.name:
                addresses = ", ".join(str(ip) for ip in (endpoint.ip, endpoint.ip6) if ip is not None)
                note = "fixed" if endpoint.fixed_ip else ""
                members.append(MemberView(shown(container.name), addresses or "no address", note))
    return NetworkView(
        shown(network.name),
        shown(network.driver),
        shown(network.bridge_name) if network.driver == "bridge" else "",
        ", ".join(str(c.subnet) for c in network.ipam),
        ", ".join(str(c.gateway) for c in network.ipam if c.gateway),
        shown(", ".join(_traits(network))),
        tuple(members),
    )


def _traits(network: DockerNetwork) -> Iterator[str]:
    """What `docker network inspect` says that changes how the network behaves."""
    if network.internal:
        yield "internal"
    if network.ingress:
        yield "swarm's routing mesh: takes published ports of services"
    if network.name == "docker_gwbridge":
        yield "the way out of containers on overlay networks"
    if network.encrypted:
        yield "encrypted between hosts: they must let ESP (IP protocol 50) pass"
    if network.driver == "bridge":
        yield "ICC on" if network.icc else "ICC off"
        masquerade = network.options.get("com.docker.network.bridge.enable_ip_masquerade", "true")
        yield "masquerade" if masquerade.lower() != "false" else "no masquerade"
    for key, label in (
        ("com.docker.network.bridge.host_binding_ipv4", "binds"),
        ("com.docker.network.driver.mtu", "MTU"),
        ("com.docker.network.bridge.gateway_mode_ipv4", "gateway mode"),
        ("parent", "parent"),
        ("macvlan_mode", "mode"),
        ("ipvlan_mode", "mode"),
    ):
        if network.options.get(key):
            yield f"{label} {network.options[key]}"


def _container(container: Container, analysis: Analysis) -> ContainerView:
    addresses = [str(ip) for e in container.endpoints for ip in (e.ip, e.ip6) if ip is not None]
    ports = [
        f"{p.host_ip or '*'}:{p.host_port} → {p.container_port}/{p.protocol}".replace("0.0.0.0:", "*:")
        for p in container.ports
    ]
    return ContainerView(
        shown(container.name),
        shown(container.status),
        shown(analysis.roles.get(container.name, "")),
        ", ".join(addresses),
        shown(", ".join(dict.fromkeys(ports))),
    )


def _scope(scope: NameScope) -> ScopeView:
    return ScopeView(
        shown(scope.container),
        shown(scope.resolver),
        tuple(_name(n) for n in scope.names),
        tuple(_missing(scope)),
    )


def _missing(scope: NameScope) -> Iterator[NameRow]:
    """Names that are not found for the same reason share a row."""
    for missing in scope.missing:
        more = missing.count - len(missing.names)
        names = ", ".join(missing.names) + (f" and {more} more" if more else "")
        reason = missing.reason.value if missing.reason else ""
        yield NameRow(shown(names, 2000), "", reason, shown(missing.explanation))


def _name(answer: NameAnswer) -> NameRow:
    via = answer.via.value if answer.via else answer.reason.value if answer.reason else ""
    return NameRow(shown(answer.name), ", ".join(answer.addresses), via, shown(answer.explanation))


def _evidence_files(analysis: Analysis, anchors: dict[tuple[str, int], str]) -> Iterator[EvidenceFile]:
    cited: dict[str, dict[int, str]] = {}
    for (file, line), anchor in anchors.items():
        cited.setdefault(file, {})[line] = anchor
    for file in sorted(cited):
        lines = analysis.snapshot.files[file].splitlines()
        wanted = {n for c in cited[file] for n in range(c - EVIDENCE_CONTEXT, c + EVIDENCE_CONTEXT + 1)}
        rows: list[EvidenceLine] = []
        for number, text in enumerate(lines, 1):
            if number in wanted:
                anchor = cited[file].get(number, "")
                rows.append(EvidenceLine(number, shown(text), anchor, bool(anchor)))
            elif not rows or rows[-1].number:
                rows.append(EvidenceLine(0, "…", "", False))
        yield EvidenceFile(shown(file), tuple(rows))
