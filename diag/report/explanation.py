"""`diag explain` as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from diag.model.analysis import Fix, NameAnswer, Path
from diag.model.flow import Hop
from diag.model.netns import Socket
from diag.model.reasons import Reachability
from diag.reach.explanation import Explanation
from diag.reach.flows import evidence_json, hop_json
from diag.reach.rows import allowed_json


def explanation_json(result: Explanation) -> dict[str, Any]:
    """The document of `diag explain --format json`."""
    document: dict[str, Any] = {
        "source": result.source,
        "destination": result.destination,
        "reachability": result.reachability.value,
        "reason": result.reason.value,
        "explanation": result.text,
        "paths": [path_json(path) for path in result.paths],
        "names": [name_json(name) for name in result.names],
        "listeners": [
            {"protocol": s.protocol, "address": str(s.ip), "port": s.port, "evidence": evidence_json(s.evidence)}
            for s in result.listeners
        ],
        "fixes": [fix_json(fix) for fix in result.fixes],
    }
    if result.flow is not None:
        document["disposition"] = result.flow.disposition.value
        document["symptom"] = result.flow.symptom.value
    return document


def path_json(path: Path) -> dict[str, Any]:
    """One path with its hops there and back."""
    return {
        "family": path.family,
        "address": path.address,
        "network": path.network,
        "reachability": path.reachability.value,
        "allowed": allowed_json(path.allowed),
        "reason": path.reason.value,
        "decided_by": evidence_json(path.decided_by),
        "explanation": path.explanation,
        "hops": [hop_json(h) for h in path.hops],
        "hops_back": [hop_json(h) for h in path.hops_back],
        "fixes": [fix_json(fix) for fix in path.fixes],
    }


def name_json(answer: NameAnswer) -> dict[str, Any]:
    """A name and what it resolves to."""
    return {
        "name": answer.name,
        "addresses": list(answer.addresses),
        "via": answer.via.value if answer.via else None,
        "reason": answer.reason.value if answer.reason else None,
        "explanation": answer.explanation,
    }


def fix_json(fix: Fix) -> dict[str, Any]:
    """A proved fix."""
    return {
        "command": fix.command,
        "effect": fix.effect.value,
        "opens": [list(pair) for pair in fix.opens],
        "note": fix.note,
    }


_MARKS = {
    Reachability.REACHABLE: "YES",
    Reachability.PARTIAL: "PARTLY",
    Reachability.UNREACHABLE: "NO",
    Reachability.UNKNOWN: "CANNOT TELL",
}


def explanation_text(result: Explanation) -> str:
    """For a terminal: the answer, the evidence, the hops of each path, the fixes."""
    lines = [f"{result.source} → {result.destination}: {_MARKS[result.reachability]} ({result.reason.value})", ""]
    lines.append(result.text)
    for path in result.paths:
        lines += ["", *_path_lines(path)]
    if result.listeners_known:
        lines += ["", _listeners_line(result)]
    if result.fixes:
        lines += ["", "Fix (applied to the model first):"]
        for fix in result.fixes:
            lines += _fix_lines(fix, (result.source, result.destination))
    return "\n".join(lines)


def _path_lines(path: Path) -> Iterator[str]:
    where = path.address or "no address"
    yield f"At {where}{f' ({path.network})' if path.network else ''}: {path.allowed}"
    if path.decided_by is not None:
        yield f"  decided by {path.decided_by}"
    for title, hops in (("there", path.hops), ("back", path.hops_back)):
        if hops:
            yield f"  {title}:"
            yield from (_hop_line(hop) for hop in hops)


def _hop_line(hop: Hop) -> str:
    evidence = f"   [{hop.evidence.file}:{hop.evidence.line}]" if hop.evidence else ""
    return f"    {hop.text}{evidence}"


def _listeners_line(result: Explanation) -> str:
    if not result.listeners:
        return f"Nothing listens in {result.destination} in this capture."
    return f"{result.destination} listens on {', '.join(_socket(s) for s in result.listeners)}."


def _socket(socket: Socket) -> str:
    where = "" if socket.ip.value == 0 else f" ({socket.ip} only)"
    return f"{socket.protocol} {socket.port}{where}"


def _fix_lines(fix: Fix, asked: tuple[str, str]) -> Iterator[str]:
    yield f"  {fix.command}"
    others = [pair for pair in fix.opens if pair != asked]
    more = f"; it also opens {', '.join(f'{a} → {b}' for a, b in others[:6])}" if others else ""
    more += f" and {len(others) - 6} more" if len(others) > 6 else ""
    yield f"    then {fix.effect.value}{more}. {fix.note}".rstrip()
