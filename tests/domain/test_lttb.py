"""The outline of many points."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from domain.lttb import largest_triangles


def test_few_points_stay_as_they_are() -> None:
    assert largest_triangles([(0, 1), (1, 2)], 3) == [0, 1]


def test_a_peak_survives() -> None:
    points = [(float(x), 100.0 if x == 437 else math.sin(x / 50)) for x in range(1000)]
    places = largest_triangles(points, 20)
    assert 437 in places
    assert len(places) == 20


def test_the_published_rule_by_hand() -> None:
    """Five points to four: in the middle two buckets of 1 and 2 points; the larger triangle stays."""
    points = [(0.0, 0.0), (1.0, 1.0), (2.0, 0.0), (3.0, 9.0), (4.0, 0.0)]
    assert largest_triangles(points, 4) == [0, 1, 3, 4]


@given(st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=300), st.integers(3, 50))
def test_ends_stay_and_order_holds(values: list[float], wanted: int) -> None:
    places = largest_triangles([(float(x), y) for x, y in enumerate(values)], wanted)
    assert len(places) == min(wanted, len(values))
    assert places[0] == 0
    assert places[-1] == len(values) - 1
    assert places == sorted(set(places))
