"""`analysis.json`: the stable, machine-readable form; its schema is `schema/analysis.schema.json`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from diag import __version__
from diag.model.analysis import Analysis, Group, MissingNames, NameAnswer, NameScope
from diag.model.docker import Container, DockerNetwork
from diag.model.finding import Finding
from diag.model.provenance import Gap
from diag.reach.flows import evidence_json
from diag.report.distinct_answers import distinct_answers
from diag.report.explanation import fix_json, name_json, verdict_json
from diag.report.json_text import array_of, lines_of, members_of, object_of, on_lines, on_one_line

SCHEMA_VERSION = 1
MOST_NAMES = 100_000
"""Of all containers together that are written out for each of them. With more of them, what they share stands once."""


def json_parts(analysis: Analysis) -> Iterator[bytes]:
    """UTF-8, two spaces, keys in a fixed order, a line per name: the same analysis gives the same bytes, part by part."""
    yield from object_of(_members(analysis), 0)
    yield b"\n"


def _members(analysis: Analysis) -> Iterator[tuple[str, Iterable[bytes]]]:
    snapshot = analysis.snapshot
    for key, value in _about(analysis).items():
        yield key, [on_lines(value, 1)]
    yield "networks", _array(_network(n) for n in snapshot.networks)
    yield "containers", _array(_container(c, analysis) for c in snapshot.containers)
    yield "groups", _array(_group(g) for g in analysis.groups)
    yield "endpoints", _array(_group(g) for g in analysis.endpoints)
    if sum(len(scope.names) for scope in analysis.names) <= MOST_NAMES:
        yield "names", array_of(_scopes(analysis.names), 1)
    else:
        tables = {id(table): table for scope in analysis.names for table in scope.shared}
        yield "names", array_of(_scopes_beside(analysis.names, list(tables)), 1)
        yield "shared_names", array_of(map(_table, tables.values()), 1)
    yield "findings", _array(finding_json(f) for f in analysis.findings)
    yield "gaps", _array(_gap(g) for g in analysis.gaps)


def _array(items: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    return array_of(([on_lines(item, 2)] for item in items), 1)


def finding_json(finding: Finding) -> dict[str, Any]:
    """One finding with its evidence."""
    return {
        "code": finding.code,
        "severity": finding.severity.value,
        "title": finding.title,
        "subject": finding.subject,
        "text": finding.text,
        "evidence": [evidence_json(e) for e in finding.evidence],
        "advice": finding.advice,
        "command": finding.command,
    }


def _about(analysis: Analysis) -> dict[str, Any]:
    snapshot = analysis.snapshot
    engine = snapshot.engine
    return {
        "schema_version": SCHEMA_VERSION,
        "tool": {"name": "docker-diag", "version": __version__},
        "host": {
            "name": snapshot.host,
            "docker": engine.version,
            "kernel": engine.kernel,
            "os": engine.os,
            "firewall_backend": engine.firewall_backend,
            "interfaces": [
                {"name": i.name, "role": i.role, "addresses": list(i.addresses), "state": i.state, "bridge": i.bridge}
                for i in analysis.interfaces
            ],
        },
        "captured_at": snapshot.captured_at,
    }


def _network(network: DockerNetwork) -> dict[str, Any]:
    return {
        "name": network.name,
        "id": network.id,
        "driver": network.driver,
        "bridge": network.bridge_name if network.driver == "bridge" else None,
        "subnets": [str(c.subnet) for c in network.ipam],
        "gateways": [str(c.gateway) for c in network.ipam if c.gateway],
        "internal": network.internal,
        "icc": network.icc,
        "ingress": network.ingress,
        "encrypted": network.encrypted,
    }


def _container(container: Container, analysis: Analysis) -> dict[str, Any]:
    return {
        "name": container.name,
        "id": container.id,
        "status": container.status,
        "network_mode": container.network_mode,
        "role": analysis.roles.get(container.name, ""),
        "netns": analysis.snapshot.netns_of.get(container.name),
        "endpoints": [
            {
                "network": e.network,
                "addresses": [str(ip) for ip in (e.ip, e.ip6) if ip is not None],
                "fixed": e.fixed_ip,
            }
            for e in container.endpoints
        ],
        "ports": [
            {
                "container_port": p.container_port,
                "protocol": p.protocol,
                "host_port": p.host_port,
                "host_ip": str(p.host_ip) if p.host_ip else None,
            }
            for p in container.ports
        ],
    }


def _group(group: Group) -> dict[str, Any]:
    return {
        "sources": list(group.sources),
        "destinations": list(group.destinations),
        "reachability": group.reachability.value,
        "example": list(group.example),
        "paths": [{**verdict_json(path), "fixes": [fix_json(fix) for fix in path.fixes]} for path in group.paths],
    }


def _scopes(scopes: tuple[NameScope, ...]) -> Iterator[list[bytes]]:
    """Containers on one network share their answers, so that each answer is written once and copied."""
    written = {key: on_one_line(_name(answer)) for key, answer in distinct_answers(scopes).items()}
    for scope in scopes:
        yield [members_of(_scope(scope, map(written.__getitem__, map(id, scope.names))), 2)]


def _scopes_beside(scopes: tuple[NameScope, ...], tables: list[int]) -> Iterator[list[bytes]]:
    """Without the answers that containers share, which stand in `tables`."""
    places = {key: place for place, key in enumerate(tables)}
    known: dict[tuple[int, ...], dict[int, str]] = {}
    for scope in scopes:
        here = tuple(places[id(table)] for table in scope.shared)
        if here not in known:
            first = {answer.name: answer for table in reversed(scope.shared) for answer in table}
            known[here] = {id(answer): answer.name for answer in first.values()}
        shared, mine = known[here], set(map(id, scope.names))
        own = [answer for answer in scope.names if id(answer) not in shared]
        without = {shared[key] for key in shared.keys() - mine} - {answer.name for answer in own}
        members = _scope(scope, (on_one_line(_name(answer)) for answer in own))
        members["shared"] = on_one_line(here)
        members["without"] = on_one_line(sorted(without))
        yield [members_of(members, 2)]


def _table(answers: tuple[NameAnswer, ...]) -> list[bytes]:
    return [members_of({"names": lines_of((on_one_line(_name(answer)) for answer in answers), 3)}, 2)]


def _scope(scope: NameScope, names: Iterable[bytes]) -> dict[str, bytes]:
    return {
        "container": on_one_line(scope.container),
        "resolver": on_one_line(scope.resolver),
        "names": lines_of(names, 3),
        "missing": lines_of((on_one_line(_missing(m)) for m in scope.missing), 3),
    }


def _name(answer: NameAnswer) -> dict[str, Any]:
    return {**name_json(answer), "target": answer.target or None, "decided_by": evidence_json(answer.evidence)}


def _missing(missing: MissingNames) -> dict[str, Any]:
    return {
        "names": list(missing.names),
        "count": missing.count,
        "reason": missing.reason.value if missing.reason else None,
        "explanation": missing.explanation,
    }


def _gap(gap: Gap) -> dict[str, Any]:
    return {
        "kind": gap.kind.value,
        "file": gap.file,
        "line": gap.line,
        "detail": gap.detail,
        "affects": gap.affects,
    }
