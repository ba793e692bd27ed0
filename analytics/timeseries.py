"""One metric over time: pages of readings or buckets with moving averages, and outlines for charts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from analytics.scope import Question, snapshot
from domain.lttb import largest_triangles
from domain.metric import MetricKind
from domain.step import rate_per_min
from storage import series
from storage import timeseries as sql
from storage.pool import AppDatabase, Cursor
from storage.series import Edges, Scope, Series

MAX_WINDOW: Final = 1000
# Up to so many readings an outline is drawn from the readings; of more, from the extremes of slices.
_DRAWN_FROM_ALL = 10_000
_SLICES_PER_POINT = 4
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Frame:
    """Over what a moving average is taken: the last `window` points, or the last `window_s` seconds."""

    window: int = 5
    window_s: float | None = None


@dataclass(frozen=True, slots=True)
class Paged:
    """Points, and from when on the next page continues; None where this was the last."""

    points: list[dict[str, Any]]
    continues_at: datetime | None


def readings_page(
    database: AppDatabase,
    tenant_id: int,
    metric: Series,
    question: Question,
    frame: Frame,
    *,
    since: datetime | None,
    limit: int,
) -> Paged:
    """A page of readings from `since` on, each with its moving average and its rate of change.

    Frames reach back over the page's edge, never before the start of the range.
    """
    scope = question.scope(metric.metric_id)
    begin = max(scope.start, since or scope.start)
    with snapshot(database, tenant_id) as cursor:
        if frame.window_s is None:
            rows = sql.moving_by_points(cursor, scope, since=begin, window=frame.window, limit=limit + 1)
        else:
            rows = sql.moving_by_time(cursor, scope, since=begin, window_s=frame.window_s, limit=limit + 1)
    points = [_point(row, metric) for row in rows[:limit]]
    return Paged(points, rows[limit].observed_at if len(rows) > limit else None)


def buckets_page(
    database: AppDatabase,
    tenant_id: int,
    metric: Series,
    question: Question,
    frame: Frame,
    *,
    bucket_s: int,
    since: datetime | None,
    limit: int,
) -> Paged:
    """A page of buckets from `since` on, aligned to 1970 UTC; buckets without a reading are null rows."""
    scope = question.scope(metric.metric_id)
    with snapshot(database, tenant_id) as cursor:
        ends = series.edges(cursor, scope, enough=1)
        if ends is None:
            return Paged([], None)
        first = _bucket(max(ends.first_at, since or ends.first_at), bucket_s)
        last = _bucket(ends.last_at, bucket_s)
        width = timedelta(seconds=bucket_s)
        page_last = min(last, first + (limit - 1) * width)
        window = frame.window if frame.window_s is None else max(1, round(frame.window_s / bucket_s))
        window = min(MAX_WINDOW, window)
        frame_first = max(_bucket(ends.first_at, bucket_s), first - max(1, window - 1) * width)
        rows = sql.buckets(
            cursor,
            replace(scope, start=max(ends.first_at, frame_first), stop=min(scope.stop, page_last + width)),
            sql.BucketFrame(first=frame_first, last=page_last, bucket_s=bucket_s, window=window),
            base=ends.first_value,
            is_counter=metric.kind is MetricKind.COUNTER,
        )
    beginning = _bucket(ends.first_at, bucket_s)
    points = [_bucket_point(row, metric, bucket_s, beginning) for row in rows if row.start >= first]
    return Paged(points, page_last + width if page_last < last else None)


def outline(
    database: AppDatabase, tenant_id: int, metric: Series, question: Question, *, points: int
) -> dict[str, Any]:
    """At most so many readings that look like all of them on a chart, and where there are gaps."""
    scope = question.scope(metric.metric_id)
    with snapshot(database, tenant_id) as cursor:
        ends = series.edges(cursor, scope, enough=_DRAWN_FROM_ALL + 1)
        if ends is None:
            return {"points": [], "gaps": []}
        near = replace(scope, start=ends.first_at, stop=ends.last_at + _TICK)
        rows = _candidates(cursor, near, ends, points)
        gaps = [] if metric.max_gap_s is None else sql.gaps(cursor, near, max_gap_s=metric.max_gap_s)
    places = largest_triangles([((at - ends.first_at).total_seconds(), value) for at, value in rows], points)
    return {
        "points": [_bare_point(*rows[place]) for place in places],
        "gaps": [{"start": start, "stop": stop} for start, stop in gaps],
    }


def _candidates(cursor: Cursor, near: Scope, ends: Edges, points: int) -> list[tuple[datetime, float]]:
    """What the outline is drawn from; extremes of slices keep every peak (Van Der Donckt 2023)."""
    if ends.counted <= _DRAWN_FROM_ALL:
        return sql.all_points(cursor, near)
    extremes = sql.extreme_points(cursor, near, slices=points * _SLICES_PER_POINT // 2)
    first, last = (ends.first_at, ends.first_value), (ends.last_at, ends.last_value)
    return sorted({first, *extremes, last})


def _bucket(moment: datetime, bucket_s: int) -> datetime:
    """The start of the bucket that holds a moment."""
    width = timedelta(seconds=bucket_s)
    return _EPOCH + (moment - _EPOCH) // width * width


def _point(row: sql.Moved, metric: Series) -> dict[str, Any]:
    rate = rate_per_min(
        metric.kind,
        row.before,
        row.value,
        gap_s=row.gap_s,
        max_gap_s=metric.max_gap_s,
        modulus=metric.modulus,
    )
    return {
        "ts": row.observed_at,
        "value": row.value,
        "moving_average": row.moving_average,
        "rate_of_change_per_min": rate,
        "gap_before": metric.max_gap_s is not None and row.gap_s is not None and row.gap_s > metric.max_gap_s,
    }


def _bare_point(observed_at: datetime, value: float) -> dict[str, Any]:
    return {
        "ts": observed_at,
        "value": value,
        "moving_average": None,
        "rate_of_change_per_min": None,
        "gap_before": False,
    }


def _bucket_point(row: sql.Bucket, metric: Series, bucket_s: int, beginning: datetime) -> dict[str, Any]:
    rate = rate_per_min(
        metric.kind, row.before, row.value, gap_s=bucket_s, max_gap_s=None, modulus=metric.modulus
    )
    return {
        "ts": row.start,
        "value": row.value,
        "moving_average": row.moving_average,
        "rate_of_change_per_min": rate,
        "gap_before": row.n > 0 and row.before is None and row.start > beginning,
        "n": row.n,
        "min": row.low,
        "max": row.high,
    }
