"""Moments and lines against exact arithmetic, numpy and scipy."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from domain.moments import Moments, combine, sample_stddev, sample_variance
from domain.regression import fit, slope_p_value
from domain.trend import Direction, autocorrelation, direction, mann_kendall, sen_ranks

Pairs = list[tuple[float, float]]
VALUES = st.floats(-1e6, 1e6).map(lambda value: round(value, 6))
PAIRS = st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=30)


def alone(pairs: Pairs) -> list[Moments]:
    return [Moments(1, float(x), float(y), 0.0, 0.0, 0.0) for x, y in pairs]


def exact(pairs: Pairs) -> tuple[Fraction, Fraction, Fraction]:
    """Centred xx, yy and xy without rounding."""
    xs, ys = [Fraction(x) for x, _ in pairs], [Fraction(y) for _, y in pairs]
    x_mean, y_mean = sum(xs, Fraction()) / len(xs), sum(ys, Fraction()) / len(ys)
    return (
        sum(((x - x_mean) ** 2 for x in xs), Fraction()),
        sum(((y - y_mean) ** 2 for y in ys), Fraction()),
        sum(((x - x_mean) * (y - y_mean) for x, y in zip(xs, ys, strict=True)), Fraction()),
    )


@given(PAIRS, st.integers(1, 5))
def test_slices_of_any_cut_combine_to_the_whole(pairs: Pairs, size: int) -> None:
    parts = [combine(alone(pairs[place : place + size])) for place in range(0, len(pairs), size)]
    whole = combine([part for part in parts if part is not None])
    assert whole is not None
    xx, yy, xy = exact(pairs)
    assert whole.n == len(pairs)
    scale = 1e-11 * max(1e-12, float(xx), float(yy))
    assert whole.xx == pytest.approx(float(xx), rel=1e-11, abs=scale)
    assert whole.yy == pytest.approx(float(yy), rel=1e-11, abs=scale)
    assert whole.xy == pytest.approx(float(xy), rel=1e-11, abs=scale)


def test_a_large_mean_costs_no_digits() -> None:
    whole = combine(alone([(number, 1e9 + number % 3) for number in range(999)]))
    assert whole is not None
    assert sample_variance(whole.n, whole.yy) == pytest.approx(666 / 998, rel=1e-13)


def test_nothing_has_no_moments_and_one_value_no_spread() -> None:
    assert combine([]) is None
    assert sample_stddev(1, 0.0) is None
    assert fit([]) is None
    assert fit(alone([(1, 2)])) is None
    assert fit(alone([(1, 2), (1, 3)])) is None


def test_a_line_is_the_one_of_scipy_in_every_figure() -> None:
    random = np.random.default_rng(7)
    x = np.arange(200.0)
    y = 5 + 0.03 * x + random.normal(0, 1, 200)
    line = fit(alone(list(zip(x, y, strict=True))))
    wanted = stats.linregress(x, y)
    assert line is not None
    assert line.slope == pytest.approx(wanted.slope, rel=1e-12)
    assert line.intercept == pytest.approx(wanted.intercept, rel=1e-12)
    assert line.r_squared == pytest.approx(wanted.rvalue**2, rel=1e-12)
    assert line.slope_stderr == pytest.approx(wanted.stderr, rel=1e-12)
    assert line.p_value == pytest.approx(wanted.pvalue, rel=1e-10)
    assert line.rmse == pytest.approx(np.sqrt(np.mean((y - line.intercept - line.slope * x) ** 2)), rel=1e-12)


def test_residuals_of_a_nearly_perfect_line_do_not_cancel() -> None:
    pairs = [(float(number), 1e6 * number + (1e-3 if number % 2 else -1e-3)) for number in range(100)]
    line = fit(alone(pairs))
    assert line is not None
    assert line.rmse == pytest.approx(1e-3, rel=1e-3)


def test_two_points_have_a_line_and_no_certainty() -> None:
    line = fit(alone([(0, 1), (60, 4)]))
    assert line is not None
    assert (line.slope, line.intercept) == (0.05, 1)
    assert line.slope_stderr is None
    assert line.p_value is None
    assert line.prediction_margin(120, 0.95) is None


def test_a_constant_has_slope_zero_and_nothing_to_explain() -> None:
    line = fit(alone([(number, 0.1) for number in range(10)]))
    assert line is not None
    assert (line.slope, line.r_squared, line.p_value) == (0, None, None)
    assert slope_p_value(1.0, 0.0, 5) == 0.0


@pytest.mark.parametrize(
    ("slope", "p_value", "threshold", "wanted"),
    [
        (0.0052, 1e-9, 0.0, Direction.INCREASING),
        (-0.0052, 1e-9, 0.0, Direction.DECREASING),
        (0.0052, 0.2, 0.0, Direction.STABLE),
        (0.0052, 1e-9, 0.01, Direction.STABLE),
        (0.0052, None, 0.0, Direction.STABLE),
    ],
)
def test_stable_means_not_significant_or_not_steep(
    slope: float, p_value: float | None, threshold: float, wanted: Direction
) -> None:
    assert direction(slope, p_value, threshold) is wanted


def test_a_wandering_level_is_not_taken_for_a_trend() -> None:
    """Stationary first-order noise: the plain p-value cries wolf, the adjusted one keeps near its 5 %."""
    random = np.random.default_rng(3)
    plain = adjusted = 0
    for _ in range(400):
        noise = random.normal(0, 1, 600)
        y = np.zeros(600)
        for place in range(1, 600):
            y[place] = 0.9 * y[place - 1] + noise[place]
        slices = alone(list(zip(range(400), y[200:], strict=True)))
        line = fit(slices)
        assert line is not None
        likeness = autocorrelation(slices, line)
        assert likeness is not None
        assert likeness.is_strong
        plain += (line.p_value or 0) < 0.05
        adjusted += likeness.p_value is not None and likeness.p_value < 0.05
    assert plain / 400 > 0.4
    assert adjusted / 400 < 0.12


def test_mann_kendall_and_sen_follow_the_books() -> None:
    # Without ties: variance n(n-1)(2n+5)/18; p from the normal tail, checked against scipy's normal.
    found = mann_kendall(10, 27, [])
    assert found.variance == 125.0
    assert found.p_value == pytest.approx(2 * stats.norm.sf(26 / np.sqrt(125)), rel=1e-13)
    assert mann_kendall(4, 0, [4]).p_value is None
    assert mann_kendall(10, 0, []).p_value == 1.0
    low, high = sen_ranks(45, 125.0, 1.96)
    assert 1 <= low < 23 < high <= 45
