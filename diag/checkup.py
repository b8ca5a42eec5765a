"""One check of a host: findings, expectations, and what is different from the runs before, which a state folder remembers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from msgspec import Struct
from msgspec.structs import replace

from diag.errors import DiagError
from diag.history.record import record_of
from diag.history.store import Store
from diag.model.analysis import Analysis
from diag.model.bundle import Bundle
from diag.model.difference import Difference
from diag.model.finding import Severity
from diag.model.health import Health
from diag.model.history import Retention
from diag.pipeline import analyse_snapshot, compare_with, parse_bundle
from diag.policy.judge import judge
from diag.policy.model import Policy

_OBJECTS = ("docker/containers.json", "docker/networks.json")
_HINT = "See whether the engine answers: docker info"


class Checkup(Struct, frozen=True):
    """What a host is held against."""

    fail_on: Severity
    policy: Policy | None = None
    store: Store | None = None
    """Opened for writing."""
    retention: Retention = Retention()

    @contextmanager
    def alone(self, wait: float) -> Iterator[None]:
        """No other run writes to the state folder meanwhile; waits for one `wait` seconds. Raises DiagError."""
        with self.store.lock(wait) if self.store is not None else nullcontext():
            yield

    def of(self, bundle: Bundle, started: float) -> Health:
        """The outcome for a captured host; `started` is a time of :func:`time.monotonic`.

        Raises DiagError where nothing of Docker's was captured.
        """
        _must_show_docker(bundle)
        analysis = analyse_snapshot(parse_bundle(bundle))
        expectations = judge(self.policy, analysis) if self.policy is not None else ()
        health = Health(analysis, self.fail_on, expectations)
        if self.store is not None:
            health = self._remembered(health, self.store)
        return replace(health, seconds=time.monotonic() - started)

    def remember(self, bundle: Bundle, health: Health) -> None:
        """Store the outcome, where there is a state folder. Raises DiagError when it does not take it."""
        if self.store is not None:
            self.store.add(bundle, record_of(health), self.retention)

    def _remembered(self, health: Health, store: Store) -> Health:
        """With what is different from the baseline, where there is no policy, and from the last run."""
        baseline, last = store.baseline(), store.latest()
        since_baseline = since_last = None
        if baseline is not None and self.policy is None:
            since_baseline = _since(store, baseline.id, health.analysis)
        if last is not None:
            same = since_baseline is not None and baseline is not None and last.id == baseline.id
            since_last = since_baseline if same else _since(store, last.id, health.analysis)
        return replace(
            health,
            since_baseline=since_baseline,
            since_last=since_last,
            accepted=baseline.accepted if baseline is not None else frozenset(),
        )


def _must_show_docker(bundle: Bundle) -> None:
    """A host of which the engine says nothing, because it hangs or is down, is not a healthy one."""
    if any(path in bundle.files for path in _OBJECTS):
        return
    why = next((record.error for path, record in bundle.records.items() if path in _OBJECTS and record.error), "")
    raise DiagError(
        "cannot check the host", why=why or "neither its containers nor its networks were captured", hint=_HINT
    )


def _since(store: Store, number: int, now: Analysis) -> Difference | None:
    """None where the snapshot turns out to be damaged: a check goes on without it."""
    try:
        then = store.get(number)
    except DiagError as error:
        store.notices.append(str(error))
        return None
    return compare_with(then, now)
