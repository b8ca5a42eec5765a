"""`diag check`: is the host as it should be? Made for cron."""

from __future__ import annotations

import click

from diag.cli import BAD_NEWS, DONE
from diag.cli.source import load_bundle, source_option, working
from diag.model.finding import Severity


@click.command("check")
@source_option
@click.option(
    "--fail-on",
    type=click.Choice([s.value for s in Severity]),
    default=Severity.WARNING.value,
    show_default=True,
    help="The mildest finding that makes the exit status 1.",
)
@click.option("-q", "--quiet", is_flag=True, help="Say nothing when all is well.")
@click.option("--lang", type=click.Choice(["en", "zh"]), help="Language of the text.  [default: the locale's]")
def command(source: str, fail_on: str, quiet: bool, lang: str | None) -> int:
    """Is this host as it should be? Exit status: 0 it is, 1 it is not, 2 could not look."""
    from diag.pipeline import analyse_snapshot, parse_bundle
    from diag.report.check_text import check_text
    from diag.report.language import Language, language_of

    bundle = load_bundle(source)
    with working("analysing"):
        analysis = analyse_snapshot(parse_bundle(bundle))
    bad = any(f.severity.rank >= Severity(fail_on).rank for f in analysis.findings)
    if bad or not quiet:
        print(check_text(analysis, Language(lang or language_of())))
    return BAD_NEWS if bad else DONE
