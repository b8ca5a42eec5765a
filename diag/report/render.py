"""Formats by name and by suffix."""

from __future__ import annotations

from enum import StrEnum
from pathlib import PurePath
from typing import assert_never

from diag.errors import UsageError
from diag.model.analysis import Analysis


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


def render(analysis: Analysis, report_format: ReportFormat) -> bytes:
    """The report in one format. Raises DiagError where a format needs libraries that are missing."""
    match report_format:
        case ReportFormat.HTML:
            from diag.report.html import render_html

            return render_html(analysis)
        case ReportFormat.PDF:
            from diag.report.pdf import render_pdf

            return render_pdf(analysis)
        case ReportFormat.MARKDOWN:
            from diag.report.markdown import render_markdown

            return render_markdown(analysis)
        case ReportFormat.JSON:
            from diag.report.analysis_json import render_json

            return render_json(analysis)
        case ReportFormat.TEXT:
            from diag.report.text import render_text

            return render_text(analysis)
        case _:
            assert_never(report_format)
