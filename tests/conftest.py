"""For every test."""

from __future__ import annotations

import tests.storage  # noqa: F401  sets where Hypothesis keeps its files
