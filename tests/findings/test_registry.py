"""What holds of every check."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from diag.bundle.reader import read_bundle
from diag.findings.check import Check
from diag.findings.registry import CHECKS, FAMILIES, find_all
from tests.findings.cases import CASES, findings_of
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
    files = read_bundle(str(bundle_path(name))).files
    for finding in find_all(analysis_of(name)):
        assert finding.evidence, finding.code
        for evidence in finding.evidence:
            lines = files[evidence.file].decode().splitlines()
            assert 0 <= evidence.line <= len(lines)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__.rpartition(".")[2])
def test_every_check_has_its_cases(family: ModuleType) -> None:
    """In the table, or in a test of its family; all of them are silent on the seed."""
    own = (Path(__file__).parent / f"test_{family.__name__.rpartition('.')[2]}.py").read_text()
    assert not [check.code for check in family.CHECKS if check.code not in CASES and f'"{check.code}"' not in own]


def test_no_case_is_of_a_check_that_is_gone() -> None:
    assert set(CASES) <= {check.code for check in CHECKS}


@pytest.mark.parametrize("code", CASES)
def test_a_check_fires_where_it_should(code: str) -> None:
    case, _ = CASES[code]
    found = findings_of(code, case)
    assert sorted(finding.subject for finding in found) == sorted(case.subjects)
    assert case.subjects
    assert all(finding.evidence for finding in found)


@pytest.mark.parametrize("code", CASES)
def test_a_check_is_silent_where_it_should(code: str) -> None:
    _, case = CASES[code]
    assert findings_of(code, case) == []
