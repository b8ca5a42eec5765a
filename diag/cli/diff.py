"""`diag diff`: what changed between two captures of a host, and which fact flipped each verdict."""

from __future__ import annotations

import sys

import click

from diag.cli import BAD_NEWS, DONE
from diag.cli.source import LIVE, load_bundle, working
from diag.errors import UsageError


@click.command("diff")
@click.argument("old")
@click.argument("new")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("-q", "--quiet", is_flag=True, help="Say nothing when nothing changed.")
@click.option("--lang", type=click.Choice(["en", "zh"]), help="Language of the text.  [default: the locale's]")
def command(old: str, new: str, form: str, quiet: bool, lang: str | None) -> int:
    """What changed from OLD to NEW: facts, verdicts, names and findings, and the fact behind each flipped verdict.

    OLD and NEW are bundle folders or archives (.tar.gz, .tar.zst, .zip); NEW may be live, for this host. Containers are
    known again by their names, or their Compose services: a restart is no change. Exit status: 0 no verdict changed, 1
    some did, 2 could not look.
    """
    from diag.pipeline import compare_bundles
    from diag.report.diff_json import diff_json
    from diag.report.diff_text import diff_text
    from diag.report.language import Language, language_of

    if old == LIVE:
        raise UsageError("OLD cannot be live", hint="Capture the host first: `diag capture -o before.tar.gz`")
    if old == new == "-":
        raise UsageError("only one of OLD and NEW can be standard input")
    before, after = load_bundle(old), load_bundle(new)
    if before.host and after.host and before.host != after.host:
        print(f"diag: these are captures of two hosts, {before.host!a} and {after.host!a}", file=sys.stderr)
    with working("comparing"):
        difference = compare_bundles(before, after)
    if form == "json":
        sys.stdout.buffer.write(diff_json(difference))
    elif not (quiet and difference.nothing):
        print(diff_text(difference, Language(lang or language_of())))
    return BAD_NEWS if difference.flips else DONE
