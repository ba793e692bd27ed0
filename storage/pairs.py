"""Readings of two metrics, paired, on a cursor of `AppDatabase.snapshot`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from analytics_sql import HERE, statement
from domain.moments import Moments
from storage.pool import Cursor
from storage.series import Scope

_SQL = HERE / "correlation.sql"
_STATEMENTS = {
    "exact": statement(_SQL, "pairs_exact"),
    "bucket": statement(_SQL, "pairs_by_bucket"),
    "as_of": statement(_SQL, "pairs_as_of"),
}

Alignment = Literal["exact", "bucket", "as_of"]


@dataclass(frozen=True, slots=True)
class Pairing:
    """How readings find each other; values count from the bases, slices and buckets from the origin.

    Attributes:
        first: The readings of the first metric.
        second: Those of the second, which is looked at `lag_s` later.
    """

    first: Scope
    second: Scope
    alignment: Alignment
    lag_s: float
    origin: datetime
    base_a: float
    base_b: float
    slice_s: float
    bucket_s: float | None = None
    max_age_s: float | None = None


@dataclass(frozen=True, slots=True)
class Pairs:
    """Moments of pairs slice by slice, and the correlation of the ranks of so many of them."""

    slices: list[Moments]
    spearman_rho: float | None
    spearman_n: int


def shared_moments(cursor: Cursor, first: Scope, second: Scope, *, lag_s: float) -> tuple[int, int]:
    """How many of the newest 1,000 readings of the first metric there are, and how many the second shares."""
    cursor.execute(statement(_SQL, "shared_moments"), _params(first, second) | {"lag_s": lag_s})
    row = cursor.fetchone()
    return (0, 0) if row is None else (row[0], row[1])


def median_interval_s(cursor: Cursor, scope: Scope) -> float | None:
    """The usual time between readings, by the newest 10,000; None for fewer than two."""
    cursor.execute(statement(_SQL, "median_interval"), scope.params())
    row = cursor.fetchone()
    return None if row is None else row[0]


def pairs(cursor: Cursor, pairing: Pairing) -> Pairs:
    """The moments of all pairs."""
    params = _params(pairing.first, pairing.second) | {
        "lag_s": pairing.lag_s,
        "origin": pairing.origin,
        "base_a": pairing.base_a,
        "base_b": pairing.base_b,
        "slice_s": pairing.slice_s,
        "bucket_s": pairing.bucket_s,
        "max_age_s": pairing.max_age_s,
    }
    cursor.execute(statement(_SQL, "join_in_bulk"))
    cursor.execute(_STATEMENTS[pairing.alignment], params)
    rows = cursor.fetchall()
    slices = [Moments(*row[:6]) for row in rows]
    return Pairs(slices, rows[0][6], rows[0][7]) if rows else Pairs([], None, 0)


def _params(first: Scope, second: Scope) -> dict[str, object]:
    return {
        "metric_a": first.metric_id,
        "metric_b": second.metric_id,
        "start": first.start,
        "stop": first.stop,
        "start_b": second.start,
        "stop_b": second.stop,
        "min_quality": first.min_quality,
    }


def within(scope: Scope, first_at: datetime, last_at: datetime) -> Scope:
    """A scope cut down to the readings that it is known to have."""
    return replace(scope, start=first_at, stop=last_at + timedelta(microseconds=1))
