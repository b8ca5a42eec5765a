"""What holds of every check."""

from __future__ import annotations

import pytest

from diag.bundle.reader import read_bundle
from diag.findings.check import Check
from diag.findings.registry import CHECKS, find_all
from tests.loading import EACH_CAPTURE, analysis_of, bundle_path

HEALTHY = [name for name in EACH_CAPTURE if "seed" in str(name)]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.code)
def test_a_check_is_told_in_whole_sentences(check: Check) -> None:
    for text in (check.meaning, check.detected, check.fix):
        assert text[0].isupper() or text.startswith("net."), text
        assert text.endswith("."), text


@pytest.mark.parametrize("name", HEALTHY)
def test_the_seed_has_no_findings(name: str) -> None:
    assert find_all(analysis_of(name)) == ()


@pytest.mark.parametrize("name", EACH_CAPTURE)
def test_findings_cite_lines_that_are_there(name: str) -> None:
    analysis = analysis_of(name)
    files = read_bundle(str(bundle_path(name))).files
    for finding in find_all(analysis):
        assert finding.evidence, finding.code
        for evidence in finding.evidence:
            lines = files[evidence.file].decode().splitlines()
            assert 0 <= evidence.line <= len(lines)
