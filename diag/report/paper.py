"""Sizes of paper, and which one a country prints on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from enum import StrEnum


class Paper(StrEnum):
    """As CSS calls it."""

    A4 = "a4"
    LETTER = "letter"


LETTER_COUNTRIES = frozenset({"BZ", "CA", "CL", "CO", "CR", "GT", "MX", "NI", "PA", "PH", "PR", "SV", "US", "VE"})
"""Unicode CLDR, supplemental/measurementData: where `paperSize` is US-Letter; A4 is everywhere else."""


def paper_of(environment: Mapping[str, str] = os.environ) -> Paper:
    """The paper of a locale: LC_ALL, LC_PAPER, LANG, as glibc has it.

    >>> paper_of({"LANG": "es_MX.UTF-8"}), paper_of({"LC_PAPER": "de_DE", "LANG": "en_US"}), paper_of({"LANG": "C"})
    (<Paper.LETTER: 'letter'>, <Paper.A4: 'a4'>, <Paper.A4: 'a4'>)
    """
    for variable in ("LC_ALL", "LC_PAPER", "LANG"):
        value = environment.get(variable)
        if value:
            country = value.partition(".")[0].partition("@")[0].partition("_")[2]
            return Paper.LETTER if country.upper() in LETTER_COUNTRIES else Paper.A4
    return Paper.A4
