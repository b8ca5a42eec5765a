"""The `diag` command: one module per subcommand, imported only when it runs."""

from __future__ import annotations

import atexit
import gc
import importlib
import os
import sys
from typing import Any

import click

from diag import __version__
from diag.errors import DiagError

COMMANDS = {
    "baseline": "what a host is held against: show it, or move it",
    "capture": "write a bundle of this host's network state",
    "check": "is the host as it should be: findings, for cron",
    "codes": "what a reason or finding code means, how it is detected and fixed",
    "diff": "what changed between two captures, and which fact flipped each verdict",
    "explain": "why one container can or cannot reach another, hop by hop",
    "history": "snapshots of earlier checks, and how findings and verdicts went",
    "pairs": "every ordered pair of containers, one row each",
    "policy": "write or check a file of expectations: who must reach whom",
    "report": "analyse a host and write HTML, PDF, Markdown, JSON or text",
    "schema": "print the JSON Schema of an output",
    "trace": "the fate of many flows and look-ups, JSON Lines in and out",
}
"""Name of each subcommand (a module of this package) to its line in `diag --help`."""

DONE, BAD_NEWS, FAILED, CANNOT_TELL = 0, 1, 2, 3
"""Exit statuses."""
_OBJECTS = 500_000
"""New objects before the collector looks for cycles: there are hardly any, and a large host has millions of objects."""


class LazyGroup(click.Group):
    """Lists the subcommands without importing them, which keeps `diag --help` fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"diag.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="diag")
@click.option("--debug", is_flag=True, help="Show a traceback when something fails.")
@click.pass_context
def cli(ctx: click.Context, debug: bool) -> None:
    """Can container A reach container B, by which path, name and port? If not, why, and what fixes it?"""
    ctx.obj = {"debug": debug}


def main(argv: list[str] | None = None) -> None:
    """Run the command line and exit with its status; errors are one line on standard error."""
    gc.set_threshold(_OBJECTS)
    atexit.register(gc.freeze)  # what is left goes with the process, without a last search for cycles
    arguments = sys.argv[1:] if argv is None else argv
    debug = "--debug" in arguments
    try:
        result: Any = cli.main(arguments, prog_name="diag", standalone_mode=False)
    except click.exceptions.Exit as done:
        raise SystemExit(done.exit_code) from None
    except click.Abort:
        _fail("interrupted", 130)
    except click.ClickException as error:
        usage = f" (see `{error.ctx.command_path} --help`)" if isinstance(error, click.UsageError) and error.ctx else ""
        _fail(" ".join(error.format_message().split()) + usage, FAILED)
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123  the reader has gone: nothing more to say
        raise SystemExit(DONE) from None
    except DiagError as error:
        if debug:
            raise
        _fail(str(error), FAILED)
    except Exception as error:
        if debug:
            raise
        _fail(f"internal error: {type(error).__name__}: {error}. Run again with --debug and report it", FAILED)
    else:
        raise SystemExit(result if isinstance(result, int) else DONE)


def _fail(message: str, status: int) -> None:
    print(f"diag: {message}", file=sys.stderr)
    raise SystemExit(status)
