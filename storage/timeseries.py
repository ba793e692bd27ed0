"""Pages, buckets and outlines of one metric over time, on a cursor of `AppDatabase.snapshot`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from analytics_sql import HERE, statement
from storage.pool import Cursor
from storage.series import Scope

_SQL = HERE / "timeseries.sql"


@dataclass(frozen=True, slots=True)
class Moved:
    """A reading with the average of its frame, and the reading before it and how long ago that was."""

    observed_at: datetime
    value: float
    moving_average: float
    before: float | None
    gap_s: float | None


@dataclass(frozen=True, slots=True)
class Bucket:
    """A stretch of time: its number of readings, and figures that are None where it holds none."""

    start: datetime
    n: int
    value: float | None
    low: float | None
    high: float | None
    moving_average: float | None
    before: float | None


@dataclass(frozen=True, slots=True)
class BucketFrame:
    """Which buckets are wanted, those before them included that their averages reach back to."""

    first: datetime
    last: datetime
    bucket_s: float
    window: int


def moving_by_points(
    cursor: Cursor, scope: Scope, *, since: datetime, window: int, limit: int
) -> list[Moved]:
    """Readings from `since` on, each with the average of the last `window` of the scope."""
    params = scope.params() | {"since": since, "points_before": window - 1, "limit": limit}
    cursor.execute(statement(_SQL, "moving_by_points"), params)
    return [Moved(*row) for row in cursor.fetchall()]


def moving_by_time(
    cursor: Cursor, scope: Scope, *, since: datetime, window_s: float, limit: int
) -> list[Moved]:
    """Readings from `since` on, each with the average of the scope over (its time - window_s, its time]."""
    reach = timedelta(seconds=window_s)
    lead_start = max(scope.start, since - reach) if since - scope.start > reach else scope.start
    params = scope.params() | {"since": since, "window_s": window_s, "limit": limit, "lead_start": lead_start}
    cursor.execute(statement(_SQL, "moving_by_time"), params)
    return [Moved(*row) for row in cursor.fetchall()]


def buckets(
    cursor: Cursor, scope: Scope, frame: BucketFrame, *, base: float, is_counter: bool
) -> list[Bucket]:
    """Buckets of a scope, oldest first, empty ones too."""
    params = scope.params() | {
        "since": scope.start,
        "first_bucket": frame.first,
        "last_bucket": frame.last,
        "bucket_s": frame.bucket_s,
        "points_before": frame.window - 1,
        "base": base,
        "is_counter": is_counter,
    }
    cursor.execute(statement(_SQL, "buckets"), params)
    return [Bucket(*row) for row in cursor.fetchall()]


def all_points(cursor: Cursor, scope: Scope) -> list[tuple[datetime, float]]:
    """Every reading of a scope that is known to be small."""
    cursor.execute(statement(_SQL, "all_points"), scope.params())
    return cursor.fetchall()


def extreme_points(cursor: Cursor, scope: Scope, *, slices: int) -> list[tuple[datetime, float]]:
    """The lowest and the highest reading of each of equal slices of time."""
    cursor.execute(statement(_SQL, "extreme_points"), scope.params() | {"slices": slices})
    return cursor.fetchall()


def gaps(cursor: Cursor, scope: Scope, *, max_gap_s: float) -> list[tuple[datetime, datetime]]:
    """Stretches longer than `max_gap_s` without a reading, the first 1000."""
    cursor.execute(statement(_SQL, "gaps"), scope.params() | {"max_gap_s": max_gap_s})
    return cursor.fetchall()
