"""Figures of several runs, and of sizes that grow."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """Of several figures."""

    median: float
    min: float
    max: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> Spread:
        return cls(*(round(f(figures), 4) for f in (statistics.median, min, max)))


def per_doubling(growth: float, ratio: float) -> float:
    """What a cost is multiplied by when its size doubles, from its ratio when the size grew by a factor.

    >>> per_doubling(4, 9)
    3.0
    """
    return float(ratio ** (1 / math.log2(growth)))


def exponent(points: Sequence[tuple[float, float]]) -> float | None:
    """The k of the curve size ** k that is nearest to the costs, each size with its cost; None for fewer than two sizes.

    >>> exponent([(10, 3), (20, 12), (40, 48)])
    2.0
    """
    if len({size for size, _ in points}) < 2:
        return None
    sizes, costs = ([math.log(figure) for figure in column] for column in zip(*points, strict=True))
    return round(statistics.linear_regression(sizes, costs).slope, 4)
