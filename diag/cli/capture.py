"""`diag capture`: this host's network state into a bundle."""

from __future__ import annotations

import io
import re
import sys

import click

from diag.cli.source import capture_progress
from diag.errors import DiagError, UsageError
from diag.model.bundle import Bundle


@click.command("capture")
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="An archive (.tar.gz, .tar.zst, .zip), a folder, or - for a tar.gz on standard output.  "
    "[default: diag-HOST-TIME.tar.gz]",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=120.0,
    show_default=True,
    metavar="SECONDS",
    help="For the whole capture; what is not there by then is left out, and the bundle says so.",
)
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="KEY",
    help="Keep the containers' labels with this key, for a policy that selects by it. May be given several times.",
)
def command(output: str | None, timeout: float, labels: tuple[str, ...]) -> None:
    """Write a bundle of this host's network state.

    Reads addresses, routes, netfilter rules and Docker's objects, of the host and of every container; changes nothing.
    Passwords, environment variables, command lines, established connections and labels but Compose's are not in it.
    """
    from diag.bundle.writer import check_target
    from diag.capture.live import CaptureOptions, capture_live

    if output != "-":
        check_target(output or "diag-host.tar.gz")
    elif sys.stdout.isatty():
        raise UsageError("standard output is a terminal", hint="Redirect it: `diag capture -o - > bundle.tar.gz`")
    with capture_progress() as progress:
        bundle = capture_live(CaptureOptions(timeout=timeout, labels=frozenset(labels)), progress)
    target = output or default_name(bundle)
    if target == "-":
        _write_stdout(bundle)
    else:
        _write(bundle, target)
    _summarize(bundle, target)


def default_name(bundle: Bundle) -> str:
    """`diag-<host>-<UTC time>.tar.gz`, without characters that mean something to a shell."""
    host = re.sub(r"[^A-Za-z0-9_.-]+", "_", bundle.host).strip(".") or "host"
    time = re.sub(r"[^0-9TZ]", "", bundle.captured_at)
    return f"diag-{host}-{time}.tar.gz"


def _write_stdout(bundle: Bundle) -> None:
    from diag.bundle.writer import write_tar_gz

    archive = io.BytesIO()
    write_tar_gz(bundle, archive)
    sys.stdout.buffer.write(archive.getvalue())
    sys.stdout.buffer.flush()


def _write(bundle: Bundle, target: str) -> None:
    from diag.bundle.writer import write_bundle

    try:
        write_bundle(bundle, target)
    except OSError as error:
        raise DiagError(f"cannot write {target}", why=error.strerror or str(error)) from None


def _summarize(bundle: Bundle, target: str) -> None:
    """What was written, and what is missing and why, on standard error."""
    containers = {path.split("/")[1] for path in bundle.files if path.startswith("containers/")}
    where = "standard output" if target == "-" else target
    print(f"{where}: {len(bundle.files)} files, {len(containers)} containers", file=sys.stderr)
    by_reason: dict[str, list[str]] = {}
    for path, record in bundle.records.items():
        if record.error:
            by_reason.setdefault(record.error, []).append(path)
    for why, paths in sorted(by_reason.items()):
        print(f"not complete: {_affected(paths)}: {why}", file=sys.stderr)


def _affected(paths: list[str]) -> str:
    """The most important of these files, what its absence means, and how many others there are."""
    from diag.bundle.layout import FACTS, fact_of

    facts = {path: fact for path in paths if (fact := fact_of(path)) is not None}
    first = min(facts, key=lambda path: (FACTS.index(facts[path]), path))
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return f"{first}{more}" + (f" ({facts[first].missing})" if facts[first].missing else "")
