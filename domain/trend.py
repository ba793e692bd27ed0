"""Where a series is heading, and whether that can be told at all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from domain.moments import Moments
from domain.regression import Line, fit, slope_p_value

SIGNIFICANCE = 0.05


class Direction(StrEnum):
    """What people call a trend."""

    INCREASING = "increasing"
    DECREASING = "decreasing"
    STABLE = "stable"


@dataclass(frozen=True, slots=True)
class Autocorrelation:
    """How far neighbouring residuals resemble each other, and what is left of the evidence then.

    Attributes:
        lag1: Correlation of a residual with the next.
        effective_n: How many independent readings carry the same information.
        slope_stderr: Standard error of the slope with that many, in y per x.
        p_value: p-value of the slope with that many.
        is_strong: Whether lag1 lies beyond what independent residuals show by chance (5 %).
    """

    lag1: float
    effective_n: float
    slope_stderr: float | None
    p_value: float | None
    is_strong: bool


@dataclass(frozen=True, slots=True)
class MannKendall:
    """The test of Mann and Kendall for a monotonic trend: S, its variance under no trend, and the p-value."""

    s: int
    variance: float
    p_value: float | None


def direction(slope: float, p_value: float | None, threshold: float) -> Direction:
    """What to call a slope: stable where it is not significant or not steeper than the threshold."""
    if p_value is None or p_value >= SIGNIFICANCE or abs(slope) <= threshold:
        return Direction.STABLE
    return Direction.INCREASING if slope > 0 else Direction.DECREASING


def autocorrelation(slices: Sequence[Moments], line: Line) -> Autocorrelation | None:
    """How much the residuals of consecutive slices resemble each other; None for fewer than five slices.

    The effective number is n (1 - r) / (1 + r) for residuals of a first-order process (Bayley and Hammersley
    1946, Journal of the Royal Statistical Society B 8); the slope is judged anew with as many.
    """
    means = fit([Moments(1, part.x_mean, part.y_mean, 0.0, 0.0, 0.0) for part in slices])
    if means is None or len(slices) < 5:
        return None
    residuals = [part.y_mean - line.at(part.x_mean) for part in slices]
    squares = math.fsum(residual * residual for residual in residuals)
    if squares == 0:
        return None
    products = (first * second for first, second in pairwise(residuals))
    lag1 = math.fsum(products) / squares
    inflation = max(1.0, (1 + lag1) / (1 - lag1))
    effective = len(slices) / inflation
    stderr = means.slope_stderr
    inflated = None if stderr is None else stderr * math.sqrt(inflation)
    return Autocorrelation(
        lag1=lag1,
        effective_n=effective,
        slope_stderr=inflated,
        p_value=slope_p_value(line.slope, inflated, effective - 2),
        is_strong=lag1 > 1.96 / math.sqrt(len(slices)),
    )


def mann_kendall(n: int, s: int, tied: Sequence[int]) -> MannKendall:
    """Judge S of n values; `tied` holds the size of each group of equal values.

    Kendall 1975, Rank Correlation Methods: variance corrected for ties, z corrected for continuity.
    """
    ties = sum(size * (size - 1) * (2 * size + 5) for size in tied)
    variance = (n * (n - 1) * (2 * n + 5) - ties) / 18
    if variance <= 0:
        return MannKendall(s, 0.0, None)
    z = max(0, abs(s) - 1) / math.sqrt(variance)
    return MannKendall(s, variance, math.erfc(z / math.sqrt(2)))


def sen_ranks(slopes: int, variance: float, z: float) -> tuple[int, int]:
    """Ranks (from 1) of the ordered pairwise slopes that bound Sen's slope.

    Sen 1968, Journal of the American Statistical Association 63. `z` is the confidence's normal quantile.
    """
    margin = z * math.sqrt(variance)
    low = round((slopes - margin) / 2)
    high = round((slopes + margin) / 2) + 1
    return max(1, min(slopes, low)), max(1, min(slopes, high))
