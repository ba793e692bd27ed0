"""From one reading to the next."""

from __future__ import annotations

import pytest

from domain.metric import MetricKind
from domain.step import counter_step, rate_per_min


@pytest.mark.parametrize(
    ("before", "value", "modulus", "wanted"),
    [
        (10, 15, None, 5),
        (100, 3, None, 3),
        (9998, 4, 10_000, 6),
        (100.5, 100.4, None, pytest.approx(-0.1)),
        (5000, 20, 10_000, 20),
    ],
    ids=["growth", "reset", "rollover", "jitter", "reset of a counter that rolls over"],
)
def test_a_counter_goes_so_far(before: float, value: float, modulus: float | None, wanted: float) -> None:
    assert counter_step(before, value, modulus) == wanted


@pytest.mark.parametrize(
    ("kind", "before", "gap_s", "max_gap_s", "wanted"),
    [
        (MetricKind.GAUGE, 5, 30, None, -6),
        (MetricKind.COUNTER, 100, 30, None, 4),
        (MetricKind.STATE, 5, 30, None, None),
        (MetricKind.GAUGE, 5, 30, 20, None),
        (MetricKind.GAUGE, None, None, None, None),
        (MetricKind.GAUGE, 5, 0, None, None),
    ],
)
def test_a_rate_is_told_only_where_there_is_one(
    kind: MetricKind, before: float | None, gap_s: float | None, max_gap_s: float | None, wanted: float | None
) -> None:
    assert rate_per_min(kind, before, 2, gap_s=gap_s, max_gap_s=max_gap_s, modulus=None) == wanted
