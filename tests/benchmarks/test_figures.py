"""What is made of figures."""

from __future__ import annotations

import pytest

from benchmarks.figures import Spread, exponent, per_doubling


def test_spread() -> None:
    assert Spread.of([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0)


def test_a_doubling_is_its_own_ratio_and_other_steps_are_brought_to_one() -> None:
    assert per_doubling(2, 2.3) == pytest.approx(2.3)
    assert per_doubling(2.5, 2.5) == pytest.approx(2.0)
    assert per_doubling(10, 1.0) == pytest.approx(1.0)


def test_exponent() -> None:
    assert exponent([(100, 1.0), (200, 2.0), (500, 5.0)]) == pytest.approx(1.0)
    assert exponent([(100, 1.0), (200, 4.1), (400, 15.9)]) == pytest.approx(2.0, abs=0.01)
    assert exponent([(100, 1.0)]) is None
    assert exponent([]) is None
