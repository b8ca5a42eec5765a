"""Hypothesis keeps what it learns outside the checkout: its files name the machine's paths."""

from __future__ import annotations

import tempfile

from hypothesis.configuration import set_hypothesis_home_dir

set_hypothesis_home_dir(f"{tempfile.gettempdir()}/docker-diag-hypothesis")
