"""Trends: the slope of a metric over time, how sure it is, and what to call it."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist, median
from typing import Any, Literal

from analytics.scope import Cut, Question, cut, snapshot
from domain.errors import RuleBroken
from domain.metric import MetricKind
from domain.moments import combine, sample_stddev
from domain.regression import fit
from domain.trend import Autocorrelation, autocorrelation, direction, mann_kendall, sen_ranks
from storage import series
from storage.pool import AppDatabase, Cursor
from storage.series import Series

Method = Literal["ols", "theil_sen"]
# All pairs of so many points are compared: 124,750 slopes.
_SEN_POINTS = 500
_CONFIDENCE = 0.95
_PER_MINUTE = 60.0


class StateHasNoSlope(RuleBroken):
    """A state takes distinct values; it has no slope."""


@dataclass(frozen=True, slots=True)
class TrendOptions:
    """How a trend is judged.

    Attributes:
        threshold_per_min: A slope up to this, in the unit per minute, counts as stable.
        adjusts: Whether neighbouring readings that resemble each other count for less in the direction.
    """

    method: Method = "ols"
    threshold_per_min: float = 0.0
    adjusts: bool = False


def trend(
    database: AppDatabase, tenant_id: int, metric: Series, question: Question, options: TrendOptions
) -> dict[str, Any]:
    """The figures of a trend; None for those that do not exist.

    Raises:
        StateHasNoSlope: The metric is a state.
    """
    if metric.kind is MetricKind.STATE:
        raise StateHasNoSlope(f"{metric.name} is a state; ask statistics for the time in each value")
    with snapshot(database, tenant_id) as cursor:
        if options.method == "ols":
            return _ordinary(cut(cursor, question.scope(metric.metric_id)), options)
        points = cut(cursor, question.scope(metric.metric_id), slices=_SEN_POINTS)
        return _robust(cursor, points, options)


def _ordinary(found: Cut | None, options: TrendOptions) -> dict[str, Any]:
    if found is None:
        return _NOTHING | {"method": "ols"}
    line = fit(found.moments)
    if line is None:
        return _described(found) | {"method": "ols"}
    likeness = autocorrelation(found.moments, line)
    p_value = line.p_value
    judged = likeness.p_value if options.adjusts and likeness and likeness.is_strong else p_value
    return _described(found) | {
        "method": "ols",
        "slope_per_min": line.slope * _PER_MINUTE,
        "intercept": found.edges.first_value + line.intercept,
        "r_squared": line.r_squared,
        "direction": direction(line.slope * _PER_MINUTE, judged, options.threshold_per_min),
        "slope_stderr": _per_minute(line.slope_stderr),
        "p_value": p_value,
        "residual_stddev": line.residual_stddev,
        "autocorrelation": _likeness(likeness),
        "warning": _warning(likeness),
    }


def _robust(cursor: Cursor, found: Cut | None, options: TrendOptions) -> dict[str, Any]:
    if found is None:
        return _NOTHING | {"method": "theil_sen"}
    x = [part.x_mean for part in found.moments]
    y = [part.y_mean for part in found.moments]
    answer = _described(found) | {"method": "theil_sen", "points_compared": len(x)}
    if len(x) < 2:
        return answer
    s, tied = series.mann_kendall(cursor, x, y)
    test = mann_kendall(len(x), s, tied)
    pairs = len(x) * (len(x) - 1) // 2
    low, high = sen_ranks(pairs, test.variance, NormalDist().inv_cdf(0.5 + _CONFIDENCE / 2))
    slope, slope_low, slope_high = series.sen_slopes(cursor, x, y, low=low, high=high)
    intercept = median(y) - slope * median(x)
    return answer | {
        "slope_per_min": slope * _PER_MINUTE,
        "intercept": found.edges.first_value + intercept,
        "direction": direction(slope * _PER_MINUTE, test.p_value, options.threshold_per_min),
        "p_value": test.p_value,
        "slope_ci_low": slope_low * _PER_MINUTE,
        "slope_ci_high": slope_high * _PER_MINUTE,
        "mann_kendall_s": test.s,
    }


_NOTHING: dict[str, Any] = {
    "n": 0,
    "slope_per_min": None,
    "intercept": None,
    "r_squared": None,
    "direction": "stable",
    "slope_stderr": None,
    "p_value": None,
    "residual_stddev": None,
    "mean": None,
    "stddev": None,
    "min": None,
    "max": None,
    "first_at": None,
    "last_at": None,
    "autocorrelation": None,
    "warning": None,
}


def _described(found: Cut) -> dict[str, Any]:
    whole = combine(found.moments)
    if whole is None:
        return dict(_NOTHING)
    return _NOTHING | {
        "n": whole.n,
        "mean": found.edges.first_value + whole.y_mean,
        "stddev": sample_stddev(whole.n, whole.yy),
        "min": min(part.low for part in found.slices),
        "max": max(part.high for part in found.slices),
        "first_at": found.edges.first_at,
        "last_at": found.edges.last_at,
    }


def _likeness(found: Autocorrelation | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "lag1": found.lag1,
        "effective_n": found.effective_n,
        "slope_stderr": _per_minute(found.slope_stderr),
        "p_value": found.p_value,
    }


def _warning(found: Autocorrelation | None) -> str | None:
    if found is None or not found.is_strong:
        return None
    return (
        f"neighbouring readings resemble each other (lag-1 {found.lag1:.2f}): they say as much as about"
        f" {found.effective_n:.0f} independent ones, so p_value and slope_stderr are too small"
    )


def _per_minute(per_second: float | None) -> float | None:
    return None if per_second is None else per_second * _PER_MINUTE
