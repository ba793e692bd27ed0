"""Largest triangle three buckets: few points that look like many.

S. Steinarsson 2013, Downsampling Time Series for Visual Representation, University of Iceland, section 4.2.
"""

from __future__ import annotations

from collections.abc import Sequence

Point = tuple[float, float]


def largest_triangles(points: Sequence[Point], wanted: int) -> list[int]:
    """The places of `wanted` points (at least 3) that keep the shape; all where there are no more.

    The first and the last stay. The others are cut into buckets; of each the point stays that makes the
    largest triangle with the one kept before and the average of the next bucket.
    """
    count = len(points)
    if count <= wanted:
        return list(range(count))
    kept = [0]
    width = (count - 2) / (wanted - 2)
    for bucket in range(wanted - 2):
        begin, end = _bounds(bucket, width)
        next_begin, next_end = _bounds(bucket + 1, width)
        following = points[next_begin : min(next_end, count)]
        x_mean = sum(x for x, _ in following) / len(following)
        y_mean = sum(y for _, y in following) / len(following)
        x_kept, y_kept = points[kept[-1]]
        x_side, y_side = x_kept - x_mean, y_mean - y_kept
        areas = [abs(x_side * (y - y_kept) - (x_kept - x) * y_side) for x, y in points[begin:end]]
        kept.append(begin + areas.index(max(areas)))
    kept.append(count - 1)
    return kept


def _bounds(bucket: int, width: float) -> tuple[int, int]:
    return int(bucket * width) + 1, int((bucket + 1) * width) + 1
