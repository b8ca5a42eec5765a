"""Metrics of one check in Prometheus' text format, for the textfile collector of node_exporter."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from msgspec import Struct
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from diag import __version__
from diag.model.difference import Difference
from diag.model.finding import Finding, Severity
from diag.model.health import Expectation, Health
from diag.model.provenance import GapKind
from diag.model.reasons import Reachability
from diag.report.shown import shown

MOST = 50
"""Series of single findings, and of single expectations, that one host may have."""
_LABEL = 120
"""Characters of a label's value."""

Samples = Iterable[tuple[tuple[str, ...], float]]
"""Values of the labels, and the number."""


class Metric(Struct, frozen=True):
    """One metric: a gauge, for each run writes all of them anew."""

    name: str
    """Without the prefix."""
    help: str
    labels: tuple[str, ...]
    read: Callable[[Health], Samples]

    @property
    def full_name(self) -> str:
        return f"docker_diag_{self.name}"


def metrics_text(health: Health | None, now: float) -> bytes:
    """The metrics of a run that ended at `now`, seconds since 1970; without `health` of one that could not look.

    The latter has `up`, the time and the version only, so that what it does not know is absent and not zero.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Run(health, now))
    return generate_latest(registry)


class _Run(Collector):
    """The metrics of one run as prometheus_client collects them."""

    def __init__(self, health: Health | None, now: float) -> None:
        self._health = health
        self._now = now

    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield _family(UP, [((), float(self._health is not None))])
        yield _family(LAST_RUN, [((), self._now)])
        yield _family(INFO, [((__version__,), 1)])
        if self._health is not None:
            for metric in METRICS:
                yield _family(metric, metric.read(self._health))


def _family(metric: Metric, samples: Samples) -> GaugeMetricFamily:
    """One metric without doubles, which the collector would refuse together with all the rest of the file."""
    family = GaugeMetricFamily(metric.full_name, metric.help, labels=metric.labels)
    for labels, value in dict(samples).items():
        family.add_metric(labels, value)
    return family


def _label(text: str) -> str:
    return shown(text, _LABEL)


def _open_findings(health: Health) -> Iterator[tuple[tuple[str, ...], Finding]]:
    """Findings that nobody accepted, with their labels, the worst first; those that look alike once."""
    found = (f for f in health.analysis.findings if f.key not in health.accepted)
    yield from {(f.code, _label(f.subject), f.severity.value): f for f in found}.items()


def _open_expectations(health: Health) -> Iterator[tuple[str, ...]]:
    yield from dict.fromkeys((_label(e.id), _result(e)) for e in health.failed_expectations)


def _result(expectation: Expectation) -> str:
    match expectation.held:
        case True:
            return "held"
        case False:
            return "failed"
        case None:
            return "unknown"


def _findings(health: Health) -> Samples:
    counts = {(s.value, a): 0 for s in Severity for a in ("false", "true")}
    for finding in health.analysis.findings:
        counts[finding.severity.value, "true" if finding.key in health.accepted else "false"] += 1
    return counts.items()


def _expectations(health: Health) -> Samples:
    counts = {(word,): 0 for word in ("held", "failed", "unknown")}
    for expectation in health.expectations:
        counts[(_result(expectation),)] += 1
    return counts.items()


def _containers(health: Health) -> Samples:
    containers = health.analysis.snapshot.containers
    running = sum(c.running for c in containers)
    return [(("true",), running), (("false",), len(containers) - running)]


def _gaps(health: Health) -> Samples:
    counts = {(kind.value,): 0 for kind in GapKind}
    for gap in health.analysis.gaps:
        counts[(gap.kind.value,)] += 1
    return counts.items()


def _since(count: Callable[[Difference], int]) -> Callable[[Health], Samples]:
    """A count of both comparisons, of which either may be missing."""

    def read(health: Health) -> Samples:
        for since, difference in (("baseline", health.since_baseline), ("last", health.since_last)):
            if difference is not None:
                yield (since,), count(difference)

    return read


def _number(read: Callable[[Health], float]) -> Callable[[Health], Samples]:
    return lambda health: [((), float(read(health)))]


UP = Metric("up", "Whether the last run could look at the host.", (), lambda _: ())
LAST_RUN = Metric("last_run_timestamp_seconds", "When the last run ended, seconds since 1970.", (), lambda _: ())
INFO = Metric("info", "Always 1; the version of docker-diag.", ("version",), lambda _: ())
METRICS = (
    Metric("healthy", "Whether the exit status was 0.", (), _number(lambda h: h.healthy)),
    Metric("run_seconds", "How long the last run took, capture included.", (), _number(lambda h: h.seconds)),
    Metric("networks", "Docker networks.", (), _number(lambda h: len(h.analysis.snapshot.networks))),
    Metric("containers", "Containers by whether they are running.", ("running",), _containers),
    Metric(
        "pairs",
        "Ordered pairs of containers by reachability: reachable, partial, unreachable, unknown.",
        ("reachability",),
        lambda h: [((r.value,), h.analysis.counts[r]) for r in Reachability],
    ),
    Metric(
        "findings",
        "Findings by severity (error, warning, info), and whether they were accepted with the baseline.",
        ("severity", "accepted"),
        _findings,
    ),
    Metric(
        "failing_findings",
        "Findings at or above --fail-on that nobody accepted.",
        (),
        _number(lambda h: len(h.failing_findings)),
    ),
    Metric(
        "finding",
        f"1 for each finding that nobody accepted, the worst first, at most {MOST} of them.",
        ("code", "subject", "severity"),
        lambda h: [(labels, 1) for labels, _ in islice(_open_findings(h), MOST)],
    ),
    Metric(
        "findings_left_out",
        "Findings that nobody accepted and that have no docker_diag_finding.",
        (),
        _number(lambda h: max(0, sum(1 for _ in _open_findings(h)) - MOST)),
    ),
    Metric(
        "expectations",
        "Expectations of the policy by result: held, failed, unknown.",
        ("result",),
        _expectations,
    ),
    Metric(
        "expectation",
        f"1 for each expectation that is failed or unknown, at most {MOST} of them.",
        ("id", "result"),
        lambda h: [(labels, 1) for labels in islice(_open_expectations(h), MOST)],
    ),
    Metric(
        "expectations_left_out",
        "Expectations that are failed or unknown and have no docker_diag_expectation.",
        (),
        _number(lambda h: max(0, sum(1 for _ in _open_expectations(h)) - MOST)),
    ),
    Metric(
        "flips",
        "Ordered pairs whose verdict is another than in the baseline, or in the last run; absent without it.",
        ("since",),
        _since(lambda difference: sum(flip.pairs for flip in difference.flips)),
    ),
    Metric(
        "changes",
        "Facts that are others than in the baseline, or in the last run; absent without it.",
        ("since",),
        _since(lambda difference: len(difference.changes)),
    ),
    Metric("gaps", "Facts that the analysis had to do without, by kind.", ("kind",), _gaps),
)
"""What a run that could look at the host says of it."""
ALL = (UP, LAST_RUN, INFO, *METRICS)


def metrics_markdown() -> str:
    """`docs/metrics.md`."""
    lines = ["# Metrics", "", "Made by `python -m diag.report.metrics > docs/metrics.md`.", ""]
    lines += [
        "`diag check --prometheus FILE` writes them for the textfile collector of node_exporter: a file that ends in"
    ]
    lines += [
        "`.prom` in the folder of its `--collector.textfile.directory`. All are gauges. A run that could not look at the"
    ]
    lines += ["host writes `docker_diag_up 0` with the time and the version, and nothing else.", ""]
    lines += ["| metric | labels | |", "|-|-|-|"]
    for metric in ALL:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        lines.append(f"| `{metric.full_name}` | {labels} | {metric.help} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    import sys

    sys.stdout.write(metrics_markdown())
