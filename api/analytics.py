"""Figures about readings: statistics and trends of one metric."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from flask import Blueprint
from pydantic import AfterValidator, Field

from analytics.scope import Question, find_series
from analytics.statistics import statistics
from analytics.trends import TrendOptions, trend
from api.analytics_answers import StatisticsAnswer, TrendAnswer
from api.bodies import MalformedQuery, Query, read_query
from api.fields import Moment
from api.operations import operation
from api.services import services
from domain.errors import FieldError
from domain.metric import metric_name
from domain.reading import QUALITY_OF_WORD
from rbac import current_principal, requires
from storage.series import Series

blueprint = Blueprint("analytics", __name__, url_prefix="/analytics")


def _checked_timezone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError("is not a time zone like Europe/Berlin") from None
    return name


TimeZone = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_checked_timezone)]


class _RangeQuery(Query):
    """What all questions share."""

    start: Moment | None = None
    stop: Moment | None = None
    min_quality: Literal["good", "uncertain", "bad"] = "good"


class _TrendQuery(_RangeQuery):
    method: Literal["ols", "theil_sen"] = "ols"
    threshold_per_min: Annotated[float, Field(ge=0)] = 0.0
    autocorrelation: Literal["warn", "adjust"] = "warn"


class _StatisticsQuery(_RangeQuery):
    by: Literal["day"] | None = None
    timezone: TimeZone | None = None


@blueprint.get("/trends/<device_id>/<path:metric>")
@requires("telemetry:read")
@operation(query=_TrendQuery, answers={200: TrendAnswer}, problems=(422,))
def trends(device_id: str, metric: str) -> dict[str, Any]:
    """The slope of a metric per minute, how sure it is, and whether it rises, falls or is stable."""
    query = read_query(_TrendQuery)
    question = _question(query)
    series = _series(device_id, metric)
    options = TrendOptions(
        method=query.method,
        threshold_per_min=query.threshold_per_min,
        adjusts=query.autocorrelation == "adjust",
    )
    found = trend(services().app_database, current_principal().tenant_id, series, question, options)
    return _about(series) | found


@blueprint.get("/statistics/<device_id>/<path:metric>")
@requires("telemetry:read")
@operation(query=_StatisticsQuery, answers={200: StatisticsAnswer}, problems=(422,))
def statistics_of_metric(device_id: str, metric: str) -> dict[str, Any]:
    """Mean, spread, percentiles and persistence of a metric; growth of a counter, time in each state."""
    query = read_query(_StatisticsQuery)
    question = _question(query)
    series = _series(device_id, metric)
    found = statistics(
        services().app_database,
        current_principal().tenant_id,
        series,
        question,
        days_in=(query.timezone or "UTC") if query.by == "day" else None,
        now=datetime.now(UTC),
    )
    return _about(series) | found


def _series(device_id: str, metric: str) -> Series:
    return find_series(
        services().app_database,
        current_principal().tenant_id,
        device_id=device_id,
        metric=metric_name(metric) or "",
    )


def _about(series: Series) -> dict[str, Any]:
    return {
        "device_id": series.device_id,
        "metric": series.name,
        "unit": series.unit,
        "kind": series.kind.value,
        "resolution": "raw",
    }


def _question(query: _RangeQuery) -> Question:
    if query.start is not None and query.stop is not None and query.start >= query.stop:
        raise MalformedQuery(errors=[FieldError("/stop", "must be after start")])
    return Question(query.start, query.stop, QUALITY_OF_WORD[query.min_quality])
