"""What the browser is timed at."""

from __future__ import annotations

import pytest

from benchmarks.browser import WORDS, measure
from tests.loading import bundle_path


@pytest.mark.apart
def test_a_report_is_timed_beside_an_empty_page() -> None:
    found = list(measure(str(bundle_path("seed-d20"))))
    assert [one.name for one in found][:2] == ["empty page complete", "report complete"]
    assert len(found) == 2 + len(WORDS)
    assert all(0 <= one.middle <= one.worst for one in found)
