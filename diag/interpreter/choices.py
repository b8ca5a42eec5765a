"""Three-valued evaluation by replay: where a fact is unknown, the walk runs once for each answer.

The walk itself stays plain and deterministic. It asks; the answers are a list that the caller extends, so that all
combinations are run. A verdict stands only if every run agrees.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Protocol, TypeVar

MAX_RUNS = 64
"""Runs per flow before the verdict is called unknown."""


class TooManyUnknownsError(Exception):
    """More open questions than the walk can try."""


class Choices:
    """The answers of one run. A key that was answered gets the same answer again."""

    def __init__(self, answers: tuple[bool, ...] = ()) -> None:
        self._answers = answers
        self._given: dict[Hashable, bool] = {}
        self.asked: list[tuple[str, bool]] = []
        """Causes in the order they were asked, with the answer given."""

    def ask(self, key: Hashable, cause: str) -> bool:
        """Whether something unknown holds in this run; `cause` says what would have to be known."""
        if key not in self._given:
            position = len(self.asked)
            self._given[key] = self._answers[position] if position < len(self._answers) else False
            self.asked.append((cause, self._given[key]))
        return self._given[key]


class HasChoices(Protocol):
    """A finished run."""

    choices: Choices


R = TypeVar("R", bound=HasChoices)


def every_run(run: Callable[[Choices], R]) -> list[R]:
    """Run with every combination of answers, the all-false one first. Raises TooManyUnknownsError."""
    results: list[R] = []
    pending: list[tuple[bool, ...]] = [()]
    while pending:
        if len(results) >= MAX_RUNS:
            raise TooManyUnknownsError
        prefix = pending.pop()
        result = run(Choices(prefix))
        results.append(result)
        given = tuple(answer for _, answer in result.choices.asked)
        pending.extend((*given[:i], True) for i in range(len(prefix), len(given)))
    return results
