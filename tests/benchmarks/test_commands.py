"""Commands that are measured, and how their hosts are made."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.commands import TOO_LONG, Command, failed, make_host
from benchmarks.hosts import HostSpec, write_host
from benchmarks.measure import Usage
from diag.bundle.reader import read_bundle


def test_why_a_run_gives_no_figures(tmp_path: Path) -> None:
    command, stderr = Command("x", ("x",), frozenset({0, 3})), tmp_path / "stderr"
    stderr.write_text("warning\ndiag: it is broken\n")

    def problem(status: int, *, in_time: bool = True) -> str:
        return command.problem(Usage(1, 1, 1, status, in_time), 30, stderr)

    assert problem(0) == problem(3) == ""
    assert problem(2) == "failed with 2: diag: it is broken"
    assert problem(-9, in_time=False) == f"{TOO_LONG} 30 s"
    assert [failed(text) for text in ("", problem(2), problem(-9, in_time=False))] == [False, True, False]


@pytest.mark.parametrize(
    "spec",
    [
        HostSpec(4, 2, admin_rules=3, distinct=True, ipv6=True),
        HostSpec(4, 2, published=0, multihomed=0, admin_rules=0, seed=7),
    ],
)
def test_a_host_of_another_process_is_the_same_host(tmp_path: Path, spec: HostSpec) -> None:
    said = make_host(spec, tmp_path / "one")
    written = write_host(tmp_path / "other", spec)
    assert said.startswith(f"{written.rules} rules, {written.files} files, ")
    assert read_bundle(str(tmp_path / "one")).files == read_bundle(str(tmp_path / "other")).files
