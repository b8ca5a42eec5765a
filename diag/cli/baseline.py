"""`diag baseline`: what `diag check --state` holds a host against when there is no policy."""

from __future__ import annotations

import sys

import click

from diag.cli import DONE
from diag.cli.history import format_option, lang_option, open_state, state_option
from diag.errors import UsageError


@click.group("baseline", invoke_without_command=True)
@state_option
@click.pass_context
def command(ctx: click.Context, state: str | None) -> int:
    """Show the baseline, or move it. The first snapshot in a state folder is the baseline until then."""
    if not ctx.invoked_subcommand:
        ctx.invoke(show, state=state, form="text", lang=None)
    return DONE


@command.command("show")
@state_option
@format_option
@lang_option
@click.pass_context
def show(ctx: click.Context, state: str | None, form: str, lang: str | None) -> int:
    """Which snapshot it is, and which findings were accepted with it."""
    from diag.report.history_json import baseline_json
    from diag.report.history_text import baseline_text
    from diag.report.language import Language, language_of

    store = open_state(ctx, state)
    baseline = store.baseline()
    if baseline is None:
        raise UsageError("there is no baseline", why="there is no snapshot that can be read", hint="Run diag check")
    if form == "json":
        print(baseline_json(baseline).decode())
    else:
        print(baseline_text(baseline, store.find(str(baseline.id)), Language(lang or language_of())))
    return DONE


@command.command("accept")
@click.argument("name", metavar="[ID]", default="latest")
@state_option
@click.pass_context
def accept(ctx: click.Context, name: str, state: str | None) -> int:
    """Make snapshot ID (a number; the latest one by default) the baseline, and accept the findings that it has."""
    store = open_state(ctx, state)
    with store.lock():
        entry = store.find(name)
        baseline = store.set_baseline(entry.id, (note.key for note in entry.record.findings))
    count = len(baseline.accepted)
    found = f"{count} finding{'' if count == 1 else 's'} accepted"
    print(f"snapshot {entry.id} is the baseline now, {found}", file=sys.stderr)
    return DONE
