"""Reference data whose definition is published, and numbers certified for it.

NumAcc1-4: NIST Statistical Reference Datasets, univariate summary statistics; constructed, exact by
construction (Simon and Lesage 1989). Measured sets are read by `./run bench accuracy` from a folder.
Anscombe: F. J. Anscombe 1973, Graphs in Statistical Analysis, The American Statistician 27.
Norris: NIST StRD, linear regression, calibration of ozone monitors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Univariate:
    """Values with their certified mean, sample standard deviation and lag-1 autocorrelation."""

    name: str
    values: list[float]
    mean: float
    stddev: float
    lag1: float
    stddev_digits: float = 12.0


def alternating(base: str, low: str, high: str, repeats: int) -> list[float]:
    return [float(base)] + [float(low), float(high)] * repeats


UNIVARIATE = [
    Univariate("NumAcc1", [10000001.0, 10000003.0, 10000002.0], 10000002.0, 1.0, -0.5),
    Univariate("NumAcc2", alternating("1.2", "1.1", "1.3", 500), 1.2, 0.1, -0.999),
    Univariate(
        "NumAcc3", alternating("1000000.2", "1000000.1", "1000000.3", 500), 1000000.2, 0.1, -0.999, 9.0
    ),
    Univariate(
        "NumAcc4", alternating("10000000.2", "10000000.1", "10000000.3", 500), 10000000.2, 0.1, -0.999, 8.0
    ),
]

NORRIS_X = [
    0.2, 337.4, 118.2, 884.6, 10.1, 226.5, 666.3, 996.3, 448.6, 777.0, 558.2, 0.4, 0.6, 775.5, 666.9, 338.0,
    447.5, 11.6, 556.0, 228.1, 995.8, 887.6, 120.2, 0.3, 0.3, 556.8, 339.1, 887.2, 999.0, 779.0, 11.1, 118.3,
    229.2, 669.1, 448.9, 0.5,
]  # fmt: skip
NORRIS_Y = [
    0.1, 338.8, 118.1, 888.0, 9.2, 228.1, 668.5, 998.5, 449.1, 778.9, 559.2, 0.3, 0.1, 778.1, 668.8, 339.3,
    448.9, 10.8, 557.7, 228.3, 998.0, 888.8, 119.6, 0.3, 0.6, 557.6, 339.3, 888.0, 998.5, 778.9, 10.2, 117.6,
    228.9, 668.4, 449.2, 0.2,
]  # fmt: skip
NORRIS_SLOPE = 1.00211681802045
NORRIS_INTERCEPT = -0.262323073774029
NORRIS_R_SQUARED = 0.999993745883712

ANSCOMBE_X = [10, 8, 13, 9, 11, 14, 6, 4, 12, 7, 5]
ANSCOMBE_Y = [8.04, 6.95, 7.58, 8.81, 8.33, 9.96, 7.24, 4.26, 10.84, 4.82, 5.68]


def digits(value: float, wanted: float) -> float:
    """Correct digits: minus the logarithm of the relative error, 17 where nothing differs."""
    if value == wanted:
        return 17.0
    return -math.log10(abs(value - wanted) / abs(wanted) if wanted else abs(value))
