"""What the layout promises."""

from __future__ import annotations

import re
from pathlib import Path

from diag.findings.registry import CHECKS, checks_markdown
from diag.model.reasons import Reason
from diag.reach.codes import CODES, codes_markdown

ROOT = Path(__file__).parent.parent


def test_every_reason_is_documented_once() -> None:
    assert [c.code for c in CODES] == sorted((c.code for c in CODES), key=list(Reason).index)
    assert {c.code for c in CODES} == set(Reason)


def test_the_page_of_codes_is_up_to_date() -> None:
    assert (ROOT / "docs/codes/reasons.md").read_text() == codes_markdown()


def test_the_page_of_findings_is_up_to_date() -> None:
    assert (ROOT / "docs/codes/findings.md").read_text() == checks_markdown()


def test_codes_of_reasons_and_findings_are_told_apart() -> None:
    checks = [check.code for check in CHECKS]
    assert len(set(checks)) == len(checks)
    assert not set(checks) & {reason.value for reason in Reason}
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", code) for code in checks)


def test_every_package_is_described() -> None:
    for init in (ROOT / "diag").glob("*/__init__.py"):
        assert init.read_text().startswith('"""'), init
        assert len(init.read_text()) > 20, init


def test_every_decision_has_a_number_of_its_own() -> None:
    numbers = [p.name[:4] for p in (ROOT / "docs/decisions").glob("*.md")]
    assert sorted(numbers) == [f"{n:04}" for n in range(1, len(numbers) + 1)]
