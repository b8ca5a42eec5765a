"""What the model says against what real packets did, and the smallest ruleset that still shows a difference."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

from diag.model.address import Ip
from diag.model.flow import Protocol
from diag.parse.snapshot import build_snapshot
from diag.reach.flows import FlowAnswerer
from diag.symbolic.behaviours import Decisions
from diag.symbolic.engine import solve
from tests.kernel.lab import Kernel
from tests.kernel.layout import DOCKER_HOST, Layout
from tests.live.lab import CLOSED_PORT, TCP_PORTS, UDP_PORTS, Flow, inside, listening, send

WAIT = 0.35
"""Seconds until no answer is a timeout."""
PATIENCE = 0.9
"""The same for flows of which an answer was expected: a busy machine is late. TCP sends again after a second."""
BOTH = "# nft\n"
"""Stands between the two texts where a host has iptables and native tables."""
BAD = frozenset({"wrong", "engines"})
"""Kinds of difference that nothing excuses."""
LATE = frozenset({"timeout", "EHOSTUNREACH"})
"""What a caller without an answer sees: which of the two depends on how long it waits for ARP."""


@dataclass(frozen=True)
class Case:
    """A host's rules and switches."""

    kind: str
    """`iptables`, `ip6tables`, `nft`, `nft6`, `legacy`, `iptables+nft` or `legacy+nft`: what the text is for."""
    text: str
    switches: dict[str, str]
    layout: Layout | None = None
    """None: the layout of every day."""

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> Case:
        layout = body.get("layout")
        return cls(body["kind"], body["text"], body["switches"], Layout.from_json(layout) if layout else None)

    def to_json(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if value is not None}

    @property
    def family(self) -> int:
        return 6 if "6" in self.kind else 4

    def load(self, kernel: Kernel) -> None:
        kernel.sysctl(self.switches)
        match self.kind:
            case "iptables":
                kernel.load(iptables=self.text)
            case "ip6tables":
                kernel.load(ip6tables=self.text)
            case "legacy":
                kernel.load(legacy=self.text)
            case "iptables+nft":
                iptables, _, nft = self.text.partition(BOTH)
                kernel.load(iptables=iptables, nft=nft)
            case "legacy+nft":
                legacy, _, nft = self.text.partition(BOTH)
                kernel.load(legacy=legacy, nft=nft)
            case _:
                kernel.load(nft=self.text)


@dataclass(frozen=True)
class Difference:
    """A flow of which the model says something else than the kernel did."""

    kind: str
    """`wrong`, `unknown`, `symptom`, or `engines` where the symbolic engine says otherwise than the interpreter."""
    flow: Flow
    real: str
    answer: dict[str, Any]


@dataclass
class Score:
    """What was judged, in packets: every flow is sent twice."""

    packets: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    results: Counter[str] = field(default_factory=Counter)

    def add(self, other: Score) -> None:
        self.packets += other.packets
        self.kinds.update(other.kinds)
        self.results.update(other.results)

    def __str__(self) -> str:
        off = ", ".join(f"{self.kinds[kind]} {kind}" for kind in ("wrong", "engines", "unknown", "symptom"))
        return f"{self.packets} packets judged: {off}; {dict(self.results.most_common())}"


def flows_of(kernel: Kernel, family: int = 4) -> list[Flow]:
    """Every protocol and port from everywhere to every address of a family."""
    return [
        flow
        for space in kernel.spaces()
        for address in kernel.targets()
        if (":" in address) == (family == 6)
        for flow in (
            Flow(space.name, address, "icmp"),
            *(Flow(space.name, address, "tcp", p) for p in (*TCP_PORTS, CLOSED_PORT)),
            *(Flow(space.name, address, "udp", p) for p in UDP_PORTS),
        )
    ]


def real(kernel: Kernel, flows: Iterable[Flow], wait: float = WAIT) -> dict[Flow, str]:
    """Each flow twice; what does not agree was the machine."""
    by_source: dict[str, list[Flow]] = {}
    for flow in flows:
        by_source.setdefault(flow.source, []).append(flow)

    def probe(source: str) -> dict[Flow, str]:
        asked = by_source[source]
        where = kernel.space(source).netns
        first, second = (inside(where, lambda: send(asked, wait)) for _ in range(2))
        return {f: second[f] for f in asked if first[f] == second[f] or {first[f], second[f]} <= LATE}

    with ThreadPoolExecutor(max(1, len(by_source))) as pool:
        return {flow: result for found in pool.map(probe, by_source) for flow, result in found.items()}


def observe(kernel: Kernel, flows: Iterable[Flow]) -> tuple[dict[Flow, str], list[Difference]]:
    """What the packets did, and where the model differs. No answer counts when it was waited for with patience."""
    truth = real(kernel, flows)
    found = compare(kernel, truth)
    late = [d.flow for d in found if d.kind in ("wrong", "symptom") and d.real in LATE]
    if late:
        # A port of NAT that another flow's connection has is not free, and the next flows of its source get the same one
        # (find_appropriate_src() of nf_nat_core.c): what is judged is a flow on a host without other connections.
        kernel.run("host", "conntrack", "-F", check=False)
        truth = {flow: result for flow, result in truth.items() if flow not in late} | real(kernel, late, PATIENCE)
        found = compare(kernel, truth)
    return truth, found


def compare(kernel: Kernel, truth: dict[Flow, str]) -> list[Difference]:
    """The model on the kernel's state as it is, against what the packets did."""
    snapshot = build_snapshot(kernel.bundle())
    answerer = FlowAnswerer(snapshot)
    decisions = Decisions(solve(snapshot, answerer.tracer.world.topology))
    host = kernel.space("@host").addresses
    found = []
    for flow, result in truth.items():
        request = {"source": flow.source, "address": flow.address, "protocol": flow.protocol, "port": flow.port}
        answer = answerer.answer(request)
        kind = _kind(result, answer["disposition"], answer["symptom"])
        if kind:
            found.append(Difference(kind, flow, result, answer))
        netns = answerer.netns_of(flow.source)
        behaviour = decisions.known(netns or "", Ip.parse(flow.address))
        known = behaviour.kind(Protocol(flow.protocol), flow.port) if behaviour is not None else None
        if known is not None and known.covered and answer["disposition"] != "unknown":
            delivers = known.delivered
            delivered = answer["disposition"] == "delivered"
            taken = answer["delivered_to"] == "host" or flow.address not in host
            fate = decisions.fate(netns or "", Ip.parse(flow.address), Protocol(flow.protocol), flow.port)
            if delivers != (delivered and taken) or (
                fate is not None and not fate.kind.unknown and fate.kind.delivered != delivered
            ):
                found.append(Difference("engines", flow, result, {**answer, "symbolic": delivers}))
    return found


def _kind(result: str, disposition: str, symptom: str) -> str:
    if disposition == "unknown" or (disposition == "delivered" and symptom == "unknown"):
        return "unknown"
    if result == symptom or {result, symptom} <= LATE:
        return ""
    delivered = disposition == "delivered" and symptom == "ok"
    return "wrong" if (result == "ok") != delivered else "symptom"


class Hosts:
    """The host of every day, kept, and one of its own for each case that has a layout."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.count = 0
        self._stack = ExitStack()
        self._everyday: Kernel | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @contextmanager
    def on(self, case: Case) -> Iterator[Kernel]:
        """A host with the case's layout, with listeners, without the case's rules."""
        if case.layout is None:
            if self._everyday is None:
                self._everyday = self._stack.enter_context(self._started(DOCKER_HOST))
            yield self._everyday
        else:
            with self._started(case.layout) as kernel:
                yield kernel

    @contextmanager
    def _started(self, layout: Layout) -> Iterator[Kernel]:
        self.count += 1
        kernel = Kernel(f"{self.prefix}{self.count}-", layout)
        try:
            kernel.start()
            with listening(kernel.spaces()):
                yield kernel
        finally:
            kernel.stop()


def judge(kernel: Kernel, case: Case, score: Score) -> list[Difference]:
    """Load, send, compare, count."""
    case.load(kernel)
    truth, found = observe(kernel, flows_of(kernel, case.family))
    score.packets += 2 * len(truth)
    score.results.update(truth.values())
    score.kinds.update({kind: 2 * sum(d.kind == kind for d in found) for kind in {d.kind for d in found}})
    return found


def report(case: Case, difference: Difference) -> str:
    """A difference for a person, and its case as JSON for `fixtures/kernel/`."""
    kept = {"case": case.to_json(), "flows": [[*asdict(difference.flow).values(), difference.real]]}
    return f"{difference.kind}: {difference.answer}\n{json.dumps(kept, indent=1)}"


def shrink(kernel: Kernel, case: Case, difference: Difference) -> tuple[Case, Difference]:
    """Leave out rules one by one while the same flow still shows the same kind of difference."""

    def still(candidate: Case) -> Difference | None:
        try:
            candidate.load(kernel)
        except RuntimeError:
            return None
        _, found = observe(kernel, [difference.flow])
        return next((d for d in found if d.kind == difference.kind), None)

    return _without_rules(case, difference, still)


def _without_rules(
    case: Case, difference: Difference, still: Callable[[Case], Difference | None]
) -> tuple[Case, Difference]:
    position = 0
    lines = case.text.splitlines()
    while position < len(lines):
        if _is_rule(lines[position]):
            shorter = [*lines[:position], *lines[position + 1 :]]
            candidate = replace(case, text="\n".join(shorter) + "\n")
            found = still(candidate)
            if found is not None:
                case, difference, lines = candidate, found, shorter
                continue
        position += 1
    return case, difference


def _is_rule(line: str) -> bool:
    structure = line.startswith(("*", ":", "COMMIT", "table ", "chain ", "set ", "map ", "}", "create "))
    return bool(line.strip()) and not structure
