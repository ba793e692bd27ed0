"""Statistics of a metric: what is typical, how it spreads, how it persists; counters and states."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from analytics.scope import Cut, Question, cut, snapshot
from domain.errors import FieldError, InvalidInput
from domain.metric import MetricKind
from domain.moments import combine, sample_variance
from storage import statistics as sql
from storage.pool import AppDatabase, Cursor
from storage.series import Scope, Series, Slice

MAX_DAYS = 400
# A state of which nothing was heard for so long before the range is not carried into it.
_CARRY_S = 7 * 86_400.0


class TooManyDays(InvalidInput):
    """The range has more days than one answer holds."""


def statistics(
    database: AppDatabase,
    tenant_id: int,
    metric: Series,
    question: Question,
    *,
    days_in: str | None,
    now: datetime,
) -> dict[str, Any]:
    """The figures of a metric; None for those that do not exist.

    Args:
        database: Where the readings are.
        tenant_id: Whose.
        metric: Of what.
        question: Which of them.
        days_in: Also the figures of each calendar day in this time zone.
        now: The present, up to which a state may last.

    Raises:
        TooManyDays: The range holds more than `MAX_DAYS` days.
    """
    scope = question.scope(metric.metric_id)
    with snapshot(database, tenant_id) as cursor:
        found = cut(cursor, scope)
        answer = _NOTHING if found is None else _figures(cursor, found, metric)
        answer = answer | _of_kind(cursor, found, metric, question, now)
        if days_in is not None:
            answer |= {"timezone": days_in, "days": _days(cursor, found, metric, days_in)}
    return answer


_NOTHING: dict[str, Any] = {
    "n": 0,
    "mean": None,
    "median": None,
    "stddev": None,
    "variance": None,
    "min": None,
    "max": None,
    "range": None,
    "percentiles": {"p25": None, "p50": None, "p75": None, "p95": None},
    "cv_percent": None,
    "iqr": None,
    "lag1_autocorrelation": None,
    "time_weighted_mean": None,
    "covered_s": None,
    "gaps": 0,
    "first": None,
    "last": None,
    "min_at": None,
    "max_at": None,
}


def _figures(cursor: Cursor, found: Cut, metric: Series) -> dict[str, Any]:
    whole = combine(found.moments)
    if whole is None:
        return _NOTHING
    mean = found.edges.first_value + whole.y_mean
    low = min(part.low for part in found.slices)
    high = max(part.high for part in found.slices)
    neighbours = sql.neighbours(cursor, found.scope, mean=mean, max_gap_s=metric.max_gap_s)
    return {
        "n": whole.n,
        "mean": mean,
        **_spread(mean, sample_variance(whole.n, whole.yy)),
        "min": low,
        "max": high,
        "range": high - low,
        **_quartiles(sql.percentiles(cursor, found.scope)),
        "lag1_autocorrelation": _ratio(neighbours.products, whole.yy),
        "time_weighted_mean": _time_weighted(mean, neighbours, metric.kind),
        "covered_s": neighbours.covered_s,
        "gaps": neighbours.gaps,
        "first": {"ts": found.edges.first_at, "value": found.edges.first_value},
        "last": {"ts": found.edges.last_at, "value": found.edges.last_value},
        "min_at": _when(cursor, found, low),
        "max_at": _when(cursor, found, high),
    }


def _spread(mean: float, variance: float | None) -> dict[str, Any]:
    stddev = None if variance is None else math.sqrt(variance)
    return {
        "stddev": stddev,
        "variance": variance,
        "cv_percent": None if stddev is None or mean == 0 else 100 * stddev / abs(mean),
    }


def _quartiles(percentiles: list[float]) -> dict[str, Any]:
    p25, p50, p75, p95 = percentiles
    return {
        "median": p50,
        "percentiles": {"p25": p25, "p50": p50, "p75": p75, "p95": p95},
        "iqr": p75 - p25,
    }


def _time_weighted(mean: float, neighbours: sql.Neighbours, kind: MetricKind) -> float | None:
    """Gauges move in a straight line from one reading to the next; counters and states hold their value."""
    area = neighbours.area_linear if kind is MetricKind.GAUGE else neighbours.area_stepped
    above = _ratio(area, neighbours.covered_s)
    return None if above is None else mean + above


def _ratio(part: float | None, whole: float | None) -> float | None:
    return part / whole if part is not None and whole else None


def _when(cursor: Cursor, found: Cut, value: float) -> datetime | None:
    """When the extreme was first reached: looked for in the one slice that has it."""
    place = next(index for index, part in enumerate(found.slices) if value in {part.low, part.high})
    return sql.when_value(cursor, _around(found, place), value)


def _around(found: Cut, place: int) -> Scope:
    """A scope that surely holds all of one slice, from the middle of the one before to that of the next."""
    before = _middle(found, found.slices[place - 1]) if place > 0 else found.scope.start
    after = _middle(found, found.slices[place + 1]) if place + 1 < len(found.slices) else found.scope.stop
    return replace(found.scope, start=before, stop=after)


def _middle(found: Cut, part: Slice) -> datetime:
    return found.edges.first_at + timedelta(seconds=part.moments.x_mean)


def _of_kind(
    cursor: Cursor, found: Cut | None, metric: Series, question: Question, now: datetime
) -> dict[str, Any]:
    match metric.kind:
        case MetricKind.GAUGE:
            return {}
        case MetricKind.COUNTER:
            return {"counter": _growth(cursor, found, metric)}
        case MetricKind.STATE:
            return {"states": _states(cursor, found, metric, question, now)}


def _growth(cursor: Cursor, found: Cut | None, metric: Series) -> dict[str, Any]:
    if found is None:
        return {"delta": None, "resets": 0, "rollovers": 0}
    growth = sql.counter_growth(cursor, found.scope, modulus=metric.modulus)
    return {"delta": growth.delta, "resets": growth.resets, "rollovers": growth.rollovers}


def _states(
    cursor: Cursor, found: Cut | None, metric: Series, question: Question, now: datetime
) -> list[dict[str, Any]]:
    """Time in each value; a bound that was asked for is filled up to, else the readings bound themselves."""
    scope = question.scope(metric.metric_id)
    if question.stop is not None:
        until = min(question.stop, now)
    elif found is not None:
        until = found.edges.last_at
    else:
        return []
    durations = sql.state_durations(
        cursor,
        scope,
        until=until,
        carry_s=min(_CARRY_S, metric.max_gap_s or _CARRY_S) if question.start is not None else 0.0,
        max_gap_s=metric.max_gap_s,
    )
    return [{"value": value, "duration_s": seconds, "readings": n} for value, seconds, n in durations]


def _days(cursor: Cursor, found: Cut | None, metric: Series, timezone: str) -> list[dict[str, Any]]:
    if found is None:
        return []
    base = found.edges.first_value
    days = sql.by_day(
        cursor, found.scope, timezone=timezone, base=base, modulus=metric.modulus, limit=MAX_DAYS + 1
    )
    if len(days) > MAX_DAYS:
        raise TooManyDays(errors=[FieldError("/start", f"the range holds more than {MAX_DAYS} days")])
    return [_day(day, base, metric.kind) for day in days]


def _day(day: sql.Day, base: float, kind: MetricKind) -> dict[str, Any]:
    mean = base + day.mean_above
    figures = {
        "day": day.day.isoformat(),
        "start": day.start,
        "stop": day.stop,
        "hours": (day.stop - day.start).total_seconds() / 3600,
        "n": day.n,
        "mean": mean,
        **_spread(mean, day.variance),
        "min": day.low,
        "max": day.high,
        **_quartiles(day.percentiles),
    }
    return figures | ({"delta": day.delta} if kind is MetricKind.COUNTER else {})
