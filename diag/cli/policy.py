"""`diag policy`: expectations as code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from diag.cli import DONE
from diag.cli.policy_file import read_policy, read_text
from diag.cli.source import load_bundle, source_option, working
from diag.errors import DiagError, UsageError


@click.group("policy")
def command() -> None:
    """Expectations as code: who must reach whom on what, who must not, and which names must resolve.

    `diag check --policy FILE` tells whether they hold. docs/policy.md has the file's form.
    """


@command.command("init", short_help="write a first policy, of a host or a Compose file")
@source_option
@click.option("--compose", metavar="FILE", help="Make it from a Compose file instead of a host.")
@click.option("--project", metavar="NAME", help="The Compose project.  [default: the file's name, else its folder's]")
@click.option("-o", "--output", default="-", show_default=True, metavar="FILE", help="Where to; - is standard output.")
@click.option("--force", is_flag=True, help="Write over a file that is there.")
@click.pass_context
def init(
    context: click.Context, source: str, compose: str | None, project: str | None, output: str, force: bool
) -> int:
    """Write a first policy: what is so today, or what a Compose file is for.

    From a host: who reaches whom on what, that nothing else does, and names that resolve. From a Compose file: its
    networks, dependencies, aliases and published ports. Read it, and keep what is meant.
    """
    if compose is not None and context.get_parameter_source("source") is not click.core.ParameterSource.DEFAULT:
        raise UsageError("--from and --compose exclude each other", hint="Name one")
    if project is not None and compose is None:
        raise UsageError("--project is for --compose")
    if output != "-" and Path(output).suffix.lower() not in (".yaml", ".yml"):
        raise UsageError(f"cannot write {output}", why="a policy is written as YAML", hint="End it in .yaml")
    text = _of_compose(compose, project or "", output) if compose is not None else _of_host(source, output)
    _write(text, output, force)
    return DONE


@command.command("check", short_help="can these policies be read: every mistake, nothing judged")
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
def check(files: Sequence[str]) -> int:
    """Can these policies be read? Names every mistake in one that cannot; judges nothing."""
    for file in files:
        number = len(read_policy(file))
        print(f"{file}: {number} expectation{'' if number == 1 else 's'}")
    return DONE


def _of_host(source: str, output: str) -> str:
    from diag.parse.snapshot import build_snapshot
    from diag.policy.from_analysis import policy_of_today
    from diag.policy.writer import policy_yaml
    from diag.reach.analysis import analyse

    bundle = load_bundle(source)
    with working("analysing"):
        snapshot = build_snapshot(bundle)
        policy = policy_of_today(analyse(snapshot), output)
    if not len(policy):
        raise DiagError("there is nothing to expect", why="the source has no containers that anything is known of")
    when = f" at {snapshot.captured_at}" if snapshot.captured_at else ""
    return policy_yaml(policy, (f"What {snapshot.host or 'this host'} did{when}.", *_HEAD))


def _of_compose(file: str, project: str, output: str) -> str:
    from diag.policy.compose import read_compose
    from diag.policy.from_compose import policy_of_compose
    from diag.policy.writer import policy_yaml

    where = file if file == "-" else str(Path(file).absolute())
    compose = read_compose(read_text(file), where, project)
    policy, left_out = policy_of_compose(compose, output)
    if not len(policy):
        raise DiagError(f"{file} gives nothing to expect", why="; ".join(left_out) or "it has one service at most")
    return policy_yaml(policy, (f"What the Compose project {compose.project} is for.", *_HEAD), left_out)


_HEAD = (
    "Made by `diag policy init`: keep what is meant, drop the rest, and add what is missing.",
    "`diag check --policy` judges it, `diag policy check` only reads it, docs/policy.md explains it.",
)


def _write(text: str, output: str, force: bool) -> None:
    if output == "-":
        print(text, end="")
        return
    try:
        with Path(output).open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UsageError(f"{output} is there already", hint="Name another file, or add --force") from None
    except OSError as error:
        raise DiagError(f"cannot write {output}", why=error.strerror or str(error)) from None
