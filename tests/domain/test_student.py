"""Student's t against scipy."""

from __future__ import annotations

import math

import pytest
from scipy import stats

from domain.student import two_sided_p, two_sided_quantile, upper_tail

DEGREES = [1, 1.5, 2, 3, 4, 9, 34, 48, 99.5, 101, 500, 998, 5000, 1e5, 1e7]


@pytest.mark.parametrize("dof", DEGREES)
@pytest.mark.parametrize("confidence", [0.5, 0.8, 0.9, 0.95, 0.99, 0.999])
def test_a_quantile_has_twelve_digits(dof: float, confidence: float) -> None:
    wanted = stats.t.isf((1 - confidence) / 2, dof)
    assert two_sided_quantile(confidence, dof) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("dof", [1, 2, 3.7, 9, 34, 48, 500, 998, 1000, 5000])
@pytest.mark.parametrize("t", [0.001, 0.3, 1.0, 2.0, 5.0, 10.0, 100.0])
def test_a_tail_has_twelve_digits(dof: float, t: float) -> None:
    wanted = 2 * stats.t.sf(t, dof)
    if wanted > 1e-250:
        assert two_sided_p(t, dof) == pytest.approx(wanted, rel=1e-12)
    assert two_sided_p(-t, dof) == two_sided_p(t, dof)


def test_tails_end_where_they_must() -> None:
    assert upper_tail(0.0, 5) == 0.5
    assert upper_tail(1e200, 5) == 0.0
    assert two_sided_p(math.inf, 5) == 0.0


def test_a_table_of_a_textbook_agrees() -> None:
    """NIST/SEMATECH e-Handbook 1.3.6.7.2: critical values of Student's t."""
    assert round(two_sided_quantile(0.95, 10), 3) == 2.228
    assert round(two_sided_quantile(0.99, 30), 3) == 2.750
