"""Work in several processes: the order of what they make, and what becomes of their failures."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest

from diag.cli.forked import by_parts
from diag.errors import DiagError


def test_parts_come_in_order_and_from_processes_of_their_own() -> None:
    found = list(by_parts(lambda part: (os.getpid(), [n * n for n in part]), range(10), 3))
    assert [square for _, squares in found for square in squares] == [n * n for n in range(10)]
    assert found[0][0] == os.getpid()
    assert len({process for process, _ in found}) == 3


@pytest.mark.parametrize(("items", "parts", "sizes"), [(2, 8, [1, 1]), (5, 2, [3, 2]), (4, 1, [4])])
def test_no_part_is_empty(items: int, parts: int, sizes: list[int]) -> None:
    assert list(by_parts(len, range(items), parts)) == sizes


def test_a_failure_elsewhere_is_an_error_that_says_why() -> None:
    def work(part: Sequence[int]) -> float:
        return 1 / (2 - part[0])

    with pytest.raises(DiagError, match="ZeroDivisionError"):
        list(by_parts(work, range(4), 2))


def test_so_is_a_process_that_was_ended() -> None:
    def work(part: Sequence[int]) -> None:
        if part[0]:
            os._exit(1)

    with pytest.raises(DiagError, match="ended"):
        list(by_parts(work, range(4), 2))


def test_without_a_process_to_be_had_the_work_is_done_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> int:
        raise BlockingIOError("no more processes")

    monkeypatch.setattr(os, "fork", none)
    assert set(by_parts(lambda part: (os.getpid(), part[0])[0], range(4), 2)) == {os.getpid()}


def test_what_cannot_be_handed_over_is_an_error_that_says_why() -> None:
    with pytest.raises(DiagError, match="pickle"):
        list(by_parts(lambda part: lambda: part, range(4), 2))
