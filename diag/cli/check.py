"""`diag check`: is the host as it should be? Made for cron."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from diag.cli import BAD_NEWS, DONE, FAILED
from diag.cli.source import LIVE, load_bundle, source_option, working
from diag.errors import DiagError
from diag.model.finding import Severity
from diag.model.history import Retention

if TYPE_CHECKING:
    from diag.checkup import Checkup
    from diag.model.bundle import Bundle
    from diag.model.health import Health

F = TypeVar("F", bound=Callable[..., Any])

MOST = 100
"""Items of each list that a webhook is sent."""
_NICE = 10
"""How much a check of this host stands back for what the host is there for."""
_MIB = 1 << 20


def _memory_options(function: F) -> F:
    """Add the state folder and what is kept in it."""
    kept = Retention()
    options = (
        click.option("--state", metavar="DIR", help="Remember this run there, and compare it with those before."),
        click.option(
            "--keep",
            type=click.IntRange(1),
            default=kept.count,
            show_default=True,
            metavar="N",
            help="Snapshots that stay.",
        ),
        click.option(
            "--keep-days",
            type=click.FloatRange(0, min_open=True),
            default=kept.days,
            show_default=True,
            metavar="DAYS",
            help="Older snapshots go.",
        ),
        click.option(
            "--keep-size",
            type=click.IntRange(1),
            default=kept.size // _MIB,
            show_default=True,
            metavar="MIB",
            help="For all of them together.",
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


def _output_options(function: F) -> F:
    """Add what the outcome is written to besides standard output."""
    options = (
        click.option(
            "--prometheus", metavar="FILE", help="Write metrics for node_exporter's textfile collector (.prom)."
        ),
        click.option("--junit", metavar="FILE", help="Write JUnit XML."),
        click.option("--sarif", metavar="FILE", help="Write SARIF 2.1.0."),
        click.option(
            "--webhook",
            metavar="URL",
            envvar="DIAG_WEBHOOK",
            help="Send the outcome there as JSON when the host is not as it should be, or something changed.",
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


@click.command("check")
@source_option
@click.option("--policy", metavar="FILE", help="Expectations, .yaml or .toml (docs/policy.md).")
@_memory_options
@_output_options
@click.option(
    "--fail-on",
    type=click.Choice([s.value for s in Severity]),
    default=Severity.WARNING.value,
    show_default=True,
    help="The mildest finding that makes the exit status 1.",
)
@click.option("-q", "--quiet", is_flag=True, help="Say nothing while all is well and nothing changed.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--lang", type=click.Choice(["en", "zh"]), help="Language of the text.  [default: the locale's]")
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    default=240.0,
    show_default=True,
    metavar="SECONDS",
    help="For everything, waiting for another run included.",
)
@click.option(
    "--wait",
    type=click.FloatRange(0),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="For another run that uses the state folder.",
)
def command(source: str, prometheus: str | None, timeout: float, **options: Any) -> int:
    """Is this host as it should be?

    Looks for faults, holds the host against a policy, or without one against the baseline of the state folder, and tells
    what changed since the last run. Exit status: 0 it is as it should be, 1 it is not, 2 could not look.
    """
    from diag.cli.time_limit import time_limit

    with _metrics_of_failure(prometheus), time_limit(timeout, "the check"):
        health, forgotten = _look(source, **{key: options[key] for key in _LOOK})
        if prometheus is not None:
            _write_metrics(prometheus, health)
        status = _tell(health, **{key: value for key, value in options.items() if key not in _LOOK})
    if forgotten is not None:
        raise forgotten
    return status


_LOOK = ("policy", "state", "keep", "keep_days", "keep_size", "fail_on", "wait")


@contextmanager
def _metrics_of_failure(prometheus: str | None) -> Iterator[None]:
    """A check that could not look says so in its metrics, too."""
    try:
        yield
    except Exception:
        if prometheus is not None:
            with contextlib.suppress(Exception):  # what went wrong first is told
                _write_metrics(prometheus, None)
        raise


def _write_metrics(path: str, health: Health | None) -> None:
    from diag.cli.output import write_file
    from diag.report.metrics import metrics_text

    write_file(path, [metrics_text(health, time.time())], 0o644)


def _look(source: str, *, wait: float, **options: Any) -> tuple[Health, DiagError | None]:
    """The outcome, and why it was not stored: a full disk keeps nobody from being told what is wrong."""
    started = time.monotonic()
    checkup = _checkup(**options)
    if source == LIVE and hasattr(os, "nice"):
        os.nice(_NICE)
    with checkup.alone(wait):
        bundle = load_bundle(source, checkup.policy.labels if checkup.policy is not None else frozenset())
        with working("analysing"):
            health = checkup.of(bundle, started)
            forgotten = _forgotten(checkup, bundle, health)
    for notice in checkup.store.notices if checkup.store is not None else ():
        print(f"diag: {notice}", file=sys.stderr)
    return health, forgotten


def _forgotten(checkup: Checkup, bundle: Bundle, health: Health) -> DiagError | None:
    try:
        checkup.remember(bundle, health)
    except DiagError as error:
        return error
    return None


def _checkup(
    *, policy: str | None, state: str | None, keep: int, keep_days: float, keep_size: int, fail_on: str
) -> Checkup:
    from diag.checkup import Checkup
    from diag.cli.policy_file import read_policy
    from diag.history.store import Store

    return Checkup(
        Severity(fail_on),
        read_policy(policy) if policy is not None else None,
        Store.open(state, create=True) if state is not None else None,
        Retention(keep, keep_days, keep_size * _MIB),
    )


def _tell(
    health: Health,
    *,
    junit: str | None,
    sarif: str | None,
    webhook: str | None,
    quiet: bool,
    form: str,
    lang: str | None,
) -> int:
    from diag.cli.output import write_file

    if junit is not None:
        from diag.report.junit import junit_xml

        write_file(junit, [junit_xml(health)])
    if sarif is not None:
        from diag.report.sarif import sarif_json

        write_file(sarif, [sarif_json(health)])
    if health.worth_telling or not quiet:
        _print(health, form, lang)
    status = DONE if health.healthy else BAD_NEWS
    if webhook and health.worth_telling and not _told(webhook, health):
        return status or FAILED
    return status


def _print(health: Health, form: str, lang: str | None) -> None:
    if form == "json":
        from diag.report.health_json import health_json

        sys.stdout.buffer.write(health_json(health))
    else:
        from diag.report.check_text import check_text
        from diag.report.language import Language, language_of

        print(check_text(health, Language(lang or language_of())))


def _told(url: str, health: Health) -> bool:
    """Whether the webhook took it; if not, one line says why. Raises UsageError for an address that cannot be used."""
    from diag.errors import NotifyError
    from diag.notify.webhook import notify
    from diag.report.health_json import health_json

    try:
        notify(url, health_json(health, MOST), os.environ)
    except NotifyError as error:
        print(f"diag: {error}", file=sys.stderr)
        return False
    return True
