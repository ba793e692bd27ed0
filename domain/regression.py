"""A straight line through pairs by least squares, how sure it is, and where the next values will lie.

Formulas: NIST/SEMATECH e-Handbook of Statistical Methods, 4.1.4.1 (least squares), 4.4.4 (residuals) and
4.5.1 (confidence and prediction intervals).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from domain.moments import Moments, combine
from domain.student import two_sided_p, two_sided_quantile


@dataclass(frozen=True, slots=True)
class Line:
    """A fitted line `y = intercept + slope * x`.

    Attributes:
        pairs: The moments that it was fitted to.
        squared_error: Sum of squared residuals.
    """

    pairs: Moments
    slope: float
    intercept: float
    squared_error: float

    @property
    def degrees_of_freedom(self) -> int:
        """Pairs less the two numbers that were fitted."""
        return self.pairs.n - 2

    @property
    def r_squared(self) -> float | None:
        """The share of the variance that the line explains; None where y never changes."""
        if self.pairs.yy == 0:
            return None
        return min(1.0, self.slope * self.pairs.xy / self.pairs.yy)

    @property
    def residual_stddev(self) -> float | None:
        """Standard deviation of the residuals; None for two pairs, through which every line goes."""
        if self.degrees_of_freedom < 1:
            return None
        return math.sqrt(self.squared_error / self.degrees_of_freedom)

    @property
    def rmse(self) -> float:
        """Root of the mean squared residual, over all pairs."""
        return math.sqrt(self.squared_error / self.pairs.n)

    @property
    def slope_stderr(self) -> float | None:
        """Standard error of the slope."""
        deviation = self.residual_stddev
        return None if deviation is None else deviation / math.sqrt(self.pairs.xx)

    @property
    def p_value(self) -> float | None:
        """Two-sided probability of such a slope where there is none; None where it cannot be judged."""
        return slope_p_value(self.slope, self.slope_stderr, self.degrees_of_freedom)

    def at(self, x: float) -> float:
        """The line's y at x."""
        return self.pairs.y_mean + self.slope * (x - self.pairs.x_mean)

    def prediction_margin(self, x: float, confidence: float) -> float | None:
        """Half the width of the interval that holds a new y at x with this confidence."""
        deviation = self.residual_stddev
        if deviation is None:
            return None
        spread = 1 + 1 / self.pairs.n + (x - self.pairs.x_mean) ** 2 / self.pairs.xx
        return two_sided_quantile(confidence, self.degrees_of_freedom) * deviation * math.sqrt(spread)


def fit(slices: Sequence[Moments]) -> Line | None:
    """The least-squares line through everything in the slices; None where x takes fewer than two values.

    Residuals are taken slice by slice against the line: exact where a slice holds one pair, and free of the
    cancellation of `yy - xy^2 / xx` where it holds many.
    """
    pairs = combine(slices)
    if pairs is None or pairs.xx <= 0:
        return None
    slope = pairs.xy / pairs.xx
    squared_error = math.fsum(
        max(0.0, part.yy - 2 * slope * part.xy + slope * slope * part.xx)
        + part.n * ((part.y_mean - pairs.y_mean) - slope * (part.x_mean - pairs.x_mean)) ** 2
        for part in slices
    )
    return Line(pairs, slope, pairs.y_mean - slope * pairs.x_mean, squared_error)


def slope_p_value(slope: float, stderr: float | None, degrees_of_freedom: float) -> float | None:
    """Two-sided p-value of a slope; None without degrees of freedom, or where nothing ever changes."""
    if stderr is None or degrees_of_freedom <= 0 or (stderr == 0 and slope == 0):
        return None
    if stderr == 0:
        return 0.0
    return two_sided_p(slope / stderr, degrees_of_freedom)
