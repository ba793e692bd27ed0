"""What statistics asks of PostgreSQL, on a cursor of `AppDatabase.snapshot`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from analytics_sql import HERE, statement
from storage.pool import Cursor
from storage.series import Scope

_SQL = HERE / "statistics.sql"


@dataclass(frozen=True, slots=True)
class Neighbours:
    """What readings say together with the next one; areas are relative to the mean, None without a pair."""

    products: float | None
    area_linear: float | None
    area_stepped: float | None
    covered_s: float | None
    gaps: int


@dataclass(frozen=True, slots=True)
class Growth:
    """How far a counter went; `delta` is None for fewer than two readings."""

    delta: float | None
    resets: int
    rollovers: int


@dataclass(frozen=True, slots=True)
class Day:
    """The figures of one calendar day `[start, stop)`; the mean is relative to the base."""

    day: date
    start: datetime
    stop: datetime
    n: int
    mean_above: float
    variance: float | None
    low: float
    high: float
    percentiles: list[float]
    delta: float | None


def percentiles(cursor: Cursor, scope: Scope) -> list[float]:
    """The 25th, 50th, 75th and 95th percentile; empty where there is no reading."""
    cursor.execute(statement(_SQL, "percentiles"), scope.params())
    row = cursor.fetchone()
    return list(row[0]) if row is not None and row[0] is not None else []


def neighbours(cursor: Cursor, scope: Scope, *, mean: float, max_gap_s: float | None) -> Neighbours:
    """What each reading says together with the next."""
    cursor.execute(statement(_SQL, "neighbours"), scope.params() | {"mean": mean, "max_gap_s": max_gap_s})
    row = cursor.fetchone()
    return Neighbours(None, None, None, None, 0) if row is None else Neighbours(*row)


def counter_growth(cursor: Cursor, scope: Scope, *, modulus: float | None) -> Growth:
    """How far a counter went, resets and rollovers understood."""
    cursor.execute(statement(_SQL, "counter_growth"), scope.params() | {"modulus": modulus})
    row = cursor.fetchone()
    return Growth(None, 0, 0) if row is None else Growth(*row)


def state_durations(
    cursor: Cursor, scope: Scope, *, until: datetime, carry_s: float, max_gap_s: float | None
) -> list[tuple[float, float, int]]:
    """Value, seconds and readings of each state, longest first."""
    params = scope.params() | {"until": until, "carry_s": carry_s, "max_gap_s": max_gap_s}
    cursor.execute(statement(_SQL, "state_durations"), params)
    return cursor.fetchall()


def when_value(cursor: Cursor, scope: Scope, value: float) -> datetime | None:
    """When a scope first holds a value."""
    cursor.execute(statement(_SQL, "when_value"), scope.params() | {"value": value})
    row = cursor.fetchone()
    return None if row is None else row[0]


def by_day(
    cursor: Cursor, scope: Scope, *, timezone: str, base: float, modulus: float | None, limit: int
) -> list[Day]:
    """The figures of each calendar day in a time zone, oldest first."""
    params = scope.params() | {"timezone": timezone, "base": base, "modulus": modulus, "limit": limit}
    cursor.execute(statement(_SQL, "statistics_by_day"), params)
    return [Day(*row) for row in cursor.fetchall()]
