"""`diag report`: one analysis, one or more outputs."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from diag.cli import DONE
from diag.cli.output import write_file
from diag.cli.source import load_bundle, source_option, working


@click.command("report")
@source_option
@click.option("-o", "--output", "outputs", multiple=True, metavar="FILE", help="Where to; the suffix picks the format.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["html", "pdf", "md", "json", "txt"]),
    help="Format of `-o -` (standard output).",
)
@click.option(
    "--lang",
    type=click.Choice(["en", "zh"]),
    help="Language of HTML, PDF, Markdown and text.  [default: the locale's]",
)
@click.option("--paper", type=click.Choice(["a4", "letter"]), help="Paper of PDF.  [default: the locale's]")
def command(source: str, outputs: tuple[str, ...], form: str | None, lang: str | None, paper: str | None) -> int:
    """Analyse a host and write .html, .pdf, .md, .json or .txt; without -o, a summary on the terminal."""
    from diag.pipeline import analyse_snapshot, parse_bundle
    from diag.report.language import Language, language_of
    from diag.report.paper import Paper, paper_of
    from diag.report.render import ReportFormat, format_of, render_parts

    if "-" in outputs and form is None:
        raise click.UsageError("-o - needs --format")
    wanted = [(name, ReportFormat(str(form)) if name == "-" else format_of(name)) for name in outputs]
    language, sheet = Language(lang or language_of()), Paper(paper or paper_of())
    bundle = load_bundle(source)
    with working("analysing"):
        snapshot = parse_bundle(bundle)
        del bundle  # all that is needed of it is in the snapshot, and a large one has room for the analysis
        analysis = analyse_snapshot(snapshot)
    if not wanted:
        from diag.report.text import render_summary

        print(render_summary(analysis, language))
        return DONE
    for name, report_format in wanted:
        with working(f"writing {report_format.value}"):
            parts = render_parts(analysis, report_format, language, sheet)
            if name == "-":
                sys.stdout.buffer.writelines(parts)
            else:
                write_file(name, parts)
        if name != "-":
            print(Path(name).resolve(), file=sys.stderr)
    return DONE
