"""One metric over time, for analytics: where it begins and ends, and its moments slice by slice.

Every function takes a cursor of `AppDatabase.snapshot`, so that the figures of one answer agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from analytics_sql import HERE, statement
from domain.metric import MetricKind
from domain.moments import Moments
from storage.pool import AppDatabase, Cursor

_SQL = Path(__file__).parent / "sql" / "analytics.sql"
_MOMENTS = HERE / "moments.sql"


@dataclass(frozen=True, slots=True)
class Series:
    """A metric as analytics sees it; the limits and the modulus are in its unit."""

    metric_id: int
    device_id: str
    name: str
    unit: str
    kind: MetricKind
    min: float | None
    max: float | None
    modulus: float | None
    max_gap_s: float | None


@dataclass(frozen=True, slots=True)
class Scope:
    """Which readings of a metric count: `[start, stop)` by observed_at, of this quality code or better."""

    metric_id: int
    start: datetime
    stop: datetime
    min_quality: int

    def params(self) -> dict[str, object]:
        """As the statements name them."""
        return {
            "metric_id": self.metric_id,
            "start": self.start,
            "stop": self.stop,
            "min_quality": self.min_quality,
        }


@dataclass(frozen=True, slots=True)
class Edges:
    """The first and last reading of a scope, and how many there are, counted only up to a limit."""

    first_at: datetime
    first_value: float
    last_at: datetime
    last_value: float
    counted: int


@dataclass(frozen=True, slots=True)
class Slice:
    """Moments of a stretch of time, x in seconds since the origin and y above the base; its extremes."""

    moments: Moments
    low: float
    high: float


def find_series(database: AppDatabase, tenant_id: int, *, device_id: str, metric: str) -> Series | None:
    """One metric of a device of the tenant, in use or retired."""
    params = {"device_id": device_id, "metric": metric}
    rows = database.read(tenant_id, statement(_SQL, "find_series"), params)
    if not rows:
        return None
    metric_id, device, name, unit, kind, low, high, modulus, max_gap_s = rows[0]
    return Series(metric_id, device, name, unit, MetricKind(kind), low, high, modulus, max_gap_s)


def edges(cursor: Cursor, scope: Scope, *, enough: int) -> Edges | None:
    """The ends of a scope; None where it holds no reading."""
    cursor.execute(statement(_MOMENTS, "edges"), scope.params() | {"enough": enough})
    row = cursor.fetchone()
    return None if row is None else Edges(*row)


def moments_by_slice(
    cursor: Cursor, scope: Scope, *, origin: datetime, base: float, width_s: float
) -> list[Slice]:
    """Centred moments of time and value over slices of time, oldest first; empty slices are left out."""
    params = scope.params() | {"origin": origin, "base": base, "width_s": width_s}
    cursor.execute(statement(_MOMENTS, "moments_by_slice"), params)
    return [
        Slice(Moments(int(n), x_mean, y_mean, xx, yy, xy), low, high)
        for x_mean, n, y_mean, xx, yy, xy, low, high in cursor.fetchall()
    ]


def mann_kendall(cursor: Cursor, x: Sequence[float], y: Sequence[float]) -> tuple[int, list[int]]:
    """S of the points, and the sizes of groups of equal values."""
    cursor.execute(statement(_MOMENTS, "mann_kendall"), {"x": list(x), "y": list(y)})
    row = cursor.fetchone()
    return (0, []) if row is None else (int(row[0]), [int(size) for size in row[1]])


def sen_slopes(
    cursor: Cursor, x: Sequence[float], y: Sequence[float], *, low: int, high: int
) -> tuple[float, float, float]:
    """The median slope between all pairs of points, and the slopes of two ranks (from 1) among them."""
    params = {"x": list(x), "y": list(y), "low": low, "high": high}
    cursor.execute(statement(_MOMENTS, "sen_slopes"), params)
    row = cursor.fetchone()
    if row is None:
        raise LookupError("an aggregate answers one row")
    return row
