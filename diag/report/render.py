"""Formats by name and by suffix."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from pathlib import PurePath
from typing import assert_never

from diag.errors import UsageError
from diag.model.analysis import Analysis
from diag.report.language import Language
from diag.report.paper import Paper


class ReportFormat(StrEnum):
    """What `diag report` can write."""

    HTML = "html"
    PDF = "pdf"
    MARKDOWN = "md"
    JSON = "json"
    TEXT = "txt"


def format_of(name: str) -> ReportFormat:
    """The format that a file's suffix asks for. Raises UsageError."""
    suffix = PurePath(name).suffix.lower().removeprefix(".")
    try:
        return ReportFormat(suffix)
    except ValueError:
        known = ", ".join(f".{f.value}" for f in ReportFormat)
        raise UsageError(f"no format for {name}", why=f"the suffix must be one of {known}") from None


def render(analysis: Analysis, report_format: ReportFormat, language: Language | None = None) -> bytes:
    """The report in one format, in English unless another language is given; JSON always is.

    Raises DiagError where a format needs libraries that are missing.
    """
    return b"".join(render_parts(analysis, report_format, language or Language()))


def render_parts(
    analysis: Analysis, report_format: ReportFormat, language: Language, paper: Paper = Paper.A4
) -> Iterator[bytes]:
    """The same one part after the other: the JSON of a large host is much larger than what is kept of the host."""
    match report_format:
        case ReportFormat.HTML:
            from diag.report.html import render_html

            yield render_html(analysis, language)
        case ReportFormat.PDF:
            from diag.report.pdf import render_pdf

            yield render_pdf(analysis, language, paper)
        case ReportFormat.MARKDOWN:
            from diag.report.markdown import render_markdown

            yield render_markdown(analysis, language)
        case ReportFormat.JSON:
            from diag.report.analysis_json import json_parts

            yield from json_parts(analysis)
        case ReportFormat.TEXT:
            from diag.report.text import render_text

            yield render_text(analysis, language)
        case _:
            assert_never(report_format)
