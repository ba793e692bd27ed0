"""Correlation of moments against scipy, and what to call it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from domain.correlation import fisher_interval, pearson, strength
from domain.moments import Moments


@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.99])
@pytest.mark.parametrize("n", [4, 12, 5000])
def test_the_interval_is_that_of_scipy(n: int, confidence: float) -> None:
    random = np.random.default_rng(n)
    x = random.normal(size=n)
    found = stats.pearsonr(x, x + random.normal(size=n))
    wanted = found.confidence_interval(confidence)
    assert fisher_interval(float(found.statistic), n, confidence) == pytest.approx(
        (wanted.low, wanted.high), rel=1e-12
    )


def test_three_pairs_have_no_interval_and_a_perfect_line_has_no_width() -> None:
    assert fisher_interval(0.5, 3, 0.95) is None
    assert fisher_interval(-1.0, 10, 0.95) == (-1.0, -1.0)


def test_a_side_that_never_changes_has_no_correlation() -> None:
    assert pearson(Moments(5, 0, 0, 0.0, 3.0, 0.0)) is None
    assert pearson(Moments(5, 0, 0, 3.0, 0.0, 0.0)) is None


def test_rounding_never_carries_a_correlation_beyond_one() -> None:
    assert pearson(Moments(3, 0, 0, 1e200, 1e200, -1.0000000000000002e200)) == -1


@pytest.mark.parametrize(
    ("r", "word"),
    [
        (0.0, "negligible"),
        (-0.0999, "negligible"),
        (0.1, "weak"),
        (-0.3, "moderate"),
        (0.4999, "moderate"),
        (0.5, "strong"),
        (-1.0, "strong"),
    ],
)
def test_words_are_those_of_cohen(r: float, word: str) -> None:
    assert strength(r) == word
