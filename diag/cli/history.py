"""`diag history`: the snapshots in a state folder, and how findings and verdicts went."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from diag.cli import DONE
from diag.errors import DiagError, UsageError

if TYPE_CHECKING:
    from diag.history.store import Store

F = TypeVar("F", bound=Callable[..., Any])


def state_option(function: F) -> F:
    """Add `--state DIR` to a command or its group, as the parameter `state`."""
    return click.option("--state", metavar="DIR", help="The state folder, as it was given to `diag check`.")(function)


def lang_option(function: F) -> F:
    """Add `--lang` to a command."""
    return click.option(
        "--lang", type=click.Choice(["en", "zh"]), help="Language of the text.  [default: the locale's]"
    )(function)


def format_option(function: F) -> F:
    """Add `--format` to a command, as the parameter `form`."""
    return click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)(
        function
    )


def open_state(ctx: click.Context, state: str | None) -> Store:
    """The state folder that a command or its group names. Raises UsageError."""
    from diag.history.store import Store

    folder = state or (ctx.parent.params.get("state") if ctx.parent else None)
    if not folder:
        raise UsageError("no state folder", hint="Name it with --state DIR")
    return Store.open(folder)


@click.group("history", invoke_without_command=True)
@state_option
@format_option
@lang_option
@click.pass_context
def command(ctx: click.Context, state: str | None, form: str, lang: str | None) -> int:
    """List the snapshots in a state folder, or look at them; ID is a number, latest or baseline."""
    if ctx.invoked_subcommand:
        return DONE
    from diag.report.history_json import list_json
    from diag.report.history_text import list_text
    from diag.report.language import Language, language_of

    store = open_state(ctx, state)
    entries, baseline = store.records(), store.baseline()
    if form == "json":
        print(list_json(entries, baseline).decode())
    else:
        print(list_text(entries, baseline, Language(lang or language_of())))
    return DONE


@command.command("show")
@click.argument("name", metavar="ID")
@state_option
@format_option
@lang_option
@click.pass_context
def show(ctx: click.Context, name: str, state: str | None, form: str, lang: str | None) -> int:
    """Findings and counts of snapshot ID."""
    from diag.report.history_json import show_json
    from diag.report.history_text import show_text
    from diag.report.language import Language, language_of

    store = open_state(ctx, state)
    entry, baseline = store.find(name), store.baseline()
    if form == "json":
        print(show_json(entry, baseline).decode())
    else:
        print(show_text(entry, baseline, Language(lang or language_of())))
    return DONE


@command.command("export")
@click.argument("name", metavar="ID")
@click.option(
    "-o", "--output", required=True, metavar="FILE", help="An archive (.tar.gz, .tar.zst, .zip), or a new folder."
)
@state_option
@click.pass_context
def export(ctx: click.Context, name: str, output: str, state: str | None) -> int:
    """Write snapshot ID as a bundle, for every command that takes --from."""
    from diag.bundle.writer import write_bundle

    store = open_state(ctx, state)
    entry = store.find(name)
    try:
        write_bundle(store.get(entry.id), output)
    except OSError as error:
        raise DiagError(f"cannot write {output}", why=error.strerror or str(error)) from None
    print(f"{output}: snapshot {entry.id}", file=sys.stderr)
    return DONE


@command.command("trend")
@state_option
@format_option
@lang_option
@click.pass_context
def trend(ctx: click.Context, state: str | None, form: str, lang: str | None) -> int:
    """Verdicts and findings over time, and the findings that came and went."""
    from diag.report.history_json import trend_json
    from diag.report.history_text import trend_text
    from diag.report.language import Language, language_of

    entries = open_state(ctx, state).records()
    if form == "json":
        print(trend_json(entries).decode())
    else:
        print(trend_text(entries, Language(lang or language_of())))
    return DONE
