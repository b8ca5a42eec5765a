"""`diag explain` as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from diag.model.analysis import Fix, NameAnswer, Path
from diag.model.flow import Hop
from diag.model.message import SEMICOLON, listed, say, sentences
from diag.model.netns import Socket
from diag.model.reasons import Reachability
from diag.reach.explanation import Explanation
from diag.reach.flows import evidence_json, hop_json
from diag.reach.rows import allowed_json
from diag.report.language import ENGLISH, Language


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
        **verdict_json(path),
        "hops": [hop_json(h) for h in path.hops],
        "hops_back": [hop_json(h) for h in path.hops_back],
        "fixes": [fix_json(fix) for fix in path.fixes],
    }


def verdict_json(path: Path) -> dict[str, Any]:
    """What becomes of a path, and why."""
    return {
        "family": path.family,
        "address": path.address,
        "network": path.network,
        "reachability": path.reachability.value,
        "allowed": allowed_json(path.allowed),
        "reason": path.reason.value,
        "decided_by": evidence_json(path.decided_by),
        "explanation": path.explanation,
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
    Reachability.REACHABLE: say("YES"),
    Reachability.PARTIAL: say("PARTLY"),
    Reachability.UNREACHABLE: say("NO"),
    Reachability.UNKNOWN: say("CANNOT TELL"),
}
_EFFECTS = {
    Reachability.REACHABLE: say("reachable"),
    Reachability.PARTIAL: say("partial"),
    Reachability.UNREACHABLE: say("unreachable"),
    Reachability.UNKNOWN: say("unknown"),
}


def explanation_text(result: Explanation, language: Language = ENGLISH) -> str:
    """For a terminal: the answer, the evidence, the hops of each path, the fixes."""
    mark = language.of(_MARKS[result.reachability])
    lines = [f"{result.source} → {result.destination}: {mark} ({result.reason.value})", ""]
    lines.append(language.of(result.text))
    for path in result.paths:
        lines += ["", *_path_lines(path, language)]
    if result.listeners_known:
        lines += ["", language.of(_listeners_line(result))]
    if result.fixes:
        lines += ["", language.say("Fix (applied to the model first):")]
        for fix in result.fixes:
            lines += (f"  {fix.command}", f"    {language.of(_fix_text(fix, (result.source, result.destination)))}")
    return "\n".join(lines)


def _path_lines(path: Path, language: Language) -> Iterator[str]:
    where = path.address or say("no address")
    if path.network:
        where = say("{address} ({network})", address=where, network=path.network)
    yield language.say("At {where}: {allowed}", where=where, allowed=path.allowed.words)
    if path.decided_by is not None:
        yield "  " + language.say("decided by {evidence}", evidence=path.decided_by)
    for title, hops in ((say("there:"), path.hops), (say("back:"), path.hops_back)):
        if hops:
            yield f"  {language.of(title)}"
            yield from (_hop_line(hop, language) for hop in hops)


def _hop_line(hop: Hop, language: Language) -> str:
    evidence = f"   [{hop.evidence.file}:{hop.evidence.line}]" if hop.evidence else ""
    return f"    {language.of(hop.text)}{evidence}"


def _listeners_line(result: Explanation) -> str:
    name = result.destination
    if not result.listeners:
        return say("Nothing listens in {name} in this capture.", name=name)
    return say("{name} listens on {ports}.", name=name, ports=listed(dict.fromkeys(map(_socket, result.listeners))))


def _socket(socket: Socket) -> str:
    protocol, port = socket.protocol, socket.port
    if socket.ip.value == 0:
        return say("{protocol} {port}", protocol=protocol, port=port)
    return say("{protocol} {port} ({ip} only)", protocol=protocol, port=port, ip=socket.ip)


def _fix_text(fix: Fix, asked: tuple[str, str]) -> str:
    """What follows from it."""
    then: str = say("then {effect}", effect=_EFFECTS[fix.effect])
    others = [f"{a} → {b}" for a, b in fix.opens if (a, b) != asked]
    if others:
        pairs, more = listed(others[:6]), len(others) - 6
        if more > 0:
            opened = say("it also opens {pairs} and {n} more", pairs=pairs, n=more)
        else:
            opened = say("it also opens {pairs}", pairs=pairs)
        then = listed((then, opened), SEMICOLON)
    return sentences((say("{parts}.", parts=then), fix.note))
