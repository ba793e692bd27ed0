"""Moments of a series of (x, y) pairs, kept centred, so that they can be combined without cancellation.

Sums of squares lose every digit where the spread is small beside the values; centred moments do not.
Slices are combined by the formula of Chan, Golub and LeVeque (1983, The American Statistician 37), with
exactly rounded sums, which for slices of one pair each is the two-pass algorithm.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Moments:
    """Count, means, and centred second moments of pairs.

    Attributes:
        n: Number of pairs.
        x_mean: Mean of x.
        y_mean: Mean of y.
        xx: Sum of (x - x_mean)^2.
        yy: Sum of (y - y_mean)^2.
        xy: Sum of (x - x_mean) * (y - y_mean).
    """

    n: int
    x_mean: float
    y_mean: float
    xx: float
    yy: float
    xy: float


def combine(slices: Sequence[Moments]) -> Moments | None:
    """The moments of everything in the slices together; None where there is nothing."""
    n = sum(part.n for part in slices)
    if n == 0:
        return None
    x_mean = math.fsum(part.n * part.x_mean for part in slices) / n
    y_mean = math.fsum(part.n * part.y_mean for part in slices) / n
    # What rounding left of the means: taken out again below.
    x_rest = math.fsum(part.n * (part.x_mean - x_mean) for part in slices) / n
    y_rest = math.fsum(part.n * (part.y_mean - y_mean) for part in slices) / n
    return Moments(
        n=n,
        x_mean=x_mean + x_rest,
        y_mean=y_mean + y_rest,
        xx=math.fsum(part.xx + part.n * (part.x_mean - x_mean) ** 2 for part in slices) - n * x_rest**2,
        yy=math.fsum(part.yy + part.n * (part.y_mean - y_mean) ** 2 for part in slices) - n * y_rest**2,
        xy=math.fsum(part.xy + part.n * (part.x_mean - x_mean) * (part.y_mean - y_mean) for part in slices)
        - n * x_rest * y_rest,
    )


def sample_variance(n: int, squares: float) -> float | None:
    """The variance of a sample of n, from its centred sum of squares; one value has none."""
    return squares / (n - 1) if n > 1 else None


def sample_stddev(n: int, squares: float) -> float | None:
    """The standard deviation of a sample of n, from its centred sum of squares; one value has none."""
    variance = sample_variance(n, squares)
    return None if variance is None else math.sqrt(variance)
