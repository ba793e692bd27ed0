"""Figures about readings: one metric over time, its trend and statistics, and how far two go together."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from flask import Blueprint
from pydantic import AfterValidator, Field, model_validator

from analytics.correlation import PairOptions, correlation
from analytics.scope import Question, find_series
from analytics.statistics import statistics
from analytics.timeseries import MAX_WINDOW, Frame, buckets_page, outline, readings_page
from analytics.trends import TrendOptions, trend
from api.analytics_answers import CorrelationAnswer, StatisticsAnswer, TimeseriesAnswer, TrendAnswer
from api.bodies import MalformedQuery, Query, read_query
from api.fields import CursorText, Limit, Moment, moment_of_us, us_of_moment
from api.operations import operation
from api.paging import DEFAULT_LIMIT, decode_cursor, encode_cursor
from api.services import services
from domain.errors import FieldError
from domain.metric import metric_name
from domain.reading import QUALITY_OF_WORD
from rbac import current_principal, requires
from storage.series import Series

blueprint = Blueprint("analytics", __name__, url_prefix="/analytics")

MAX_WINDOW_S = 7 * 86_400


def _checked_timezone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError("is not a time zone like Europe/Berlin") from None
    return name


TimeZone = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_checked_timezone)]


Confidence = Annotated[float, Field(ge=0.5, le=0.99)]


class _RangeQuery(Query):
    """What all questions share."""

    start: Moment | None = None
    stop: Moment | None = None
    min_quality: Literal["good", "uncertain", "bad"] = "good"


class _TimeseriesQuery(_RangeQuery):
    window: Annotated[int, Field(ge=1, le=MAX_WINDOW)] | None = None
    window_s: Annotated[float, Field(gt=0, le=MAX_WINDOW_S)] | None = None
    bucket_s: Annotated[int, Field(ge=1, le=31 * 86_400)] | None = None
    lttb: Annotated[int, Field(ge=3, le=2000)] | None = None
    limit: Limit = DEFAULT_LIMIT
    cursor: CursorText | None = None

    @model_validator(mode="after")
    def _one_way_only(self) -> _TimeseriesQuery:
        if self.window is not None and self.window_s is not None:
            raise ValueError("window and window_s exclude each other")
        if self.lttb is not None and (self.cursor is not None or self.bucket_s is not None):
            raise ValueError("lttb answers the whole range at once: without cursor and bucket_s")
        return self


class _TrendQuery(_RangeQuery):
    method: Literal["ols", "theil_sen"] = "ols"
    threshold_per_min: Annotated[float, Field(ge=0)] = 0.0
    autocorrelation: Literal["warn", "adjust"] = "warn"


class _StatisticsQuery(_RangeQuery):
    by: Literal["day"] | None = None
    timezone: TimeZone | None = None


@blueprint.get("/timeseries/<device_id>/<path:metric>")
@requires("telemetry:read")
@operation(query=_TimeseriesQuery, answers={200: TimeseriesAnswer}, problems=(422,))
def timeseries(device_id: str, metric: str) -> dict[str, Any]:
    """One metric over time: readings or buckets with moving average and rate, or an outline for a chart."""
    query = read_query(_TimeseriesQuery)
    question = _question(query)
    since = _since(query.cursor)
    series = _series(device_id, metric)
    asked = {"window_s": query.window_s, "bucket_s": query.bucket_s, "lttb": query.lttb}
    frame = Frame(window=query.window or Frame().window, window_s=query.window_s)
    asked["window"] = None if query.window_s is not None else frame.window
    where = (services().app_database, current_principal().tenant_id, series, question)
    if query.lttb is not None:
        return _about(series) | asked | outline(*where, points=query.lttb) | {"next_cursor": None}
    if query.bucket_s is not None:
        paged = buckets_page(*where, frame, bucket_s=query.bucket_s, since=since, limit=query.limit)
    else:
        paged = readings_page(*where, frame, since=since, limit=query.limit)
    return _about(series) | asked | {"points": paged.points, "next_cursor": _next(paged.continues_at)}


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


class _CorrelationQuery(_RangeQuery):
    metric_a: Annotated[str, Field(min_length=1, max_length=200, examples=["flow"])]
    metric_b: Annotated[str, Field(min_length=1, max_length=200, examples=["pressure"])]
    device_b: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    align: Literal["bucket", "as_of", "exact"] | None = None
    bucket_s: Annotated[float, Field(ge=0.001, le=31 * 86_400)] | None = None
    max_age_s: Annotated[float, Field(gt=0, le=31 * 86_400)] | None = None
    lag_s: Annotated[float, Field(ge=-31 * 86_400, le=31 * 86_400)] = 0.0
    confidence: Confidence = 0.95

    @model_validator(mode="after")
    def _options_fit(self) -> _CorrelationQuery:
        if self.bucket_s is not None and self.align not in {None, "bucket"}:
            raise ValueError("bucket_s goes with align=bucket")
        if self.max_age_s is not None and self.align not in {None, "as_of"}:
            raise ValueError("max_age_s goes with align=as_of")
        if self.bucket_s is not None and self.max_age_s is not None:
            raise ValueError("bucket_s and max_age_s exclude each other")
        return self


@blueprint.get("/correlation/<device_id>")
@requires("telemetry:read")
@operation(query=_CorrelationQuery, answers={200: CorrelationAnswer}, problems=(422,))
def correlation_of_metrics(device_id: str) -> dict[str, Any]:
    """How far two metrics go together, and the line of the second over the first."""
    query = read_query(_CorrelationQuery)
    question = _question(query)
    metrics = _series(device_id, query.metric_a), _series(query.device_b or device_id, query.metric_b)
    options = PairOptions(
        alignment=query.align,
        bucket_s=query.bucket_s,
        max_age_s=query.max_age_s,
        lag_s=query.lag_s,
        confidence=query.confidence,
    )
    found = correlation(services().app_database, current_principal().tenant_id, metrics, question, options)
    return {"device_id": device_id, "resolution": "raw"} | found


def _series(device_id: str, metric: str) -> Series:
    return find_series(
        services().app_database,
        current_principal().tenant_id,
        device_id=device_id,
        metric=metric_name(metric) or "",
    )


def _since(cursor: str | None) -> datetime | None:
    """The moment that a page continues at."""
    if cursor is None:
        return None
    (microseconds,) = decode_cursor(cursor, "timeseries", int)
    try:
        return moment_of_us(int(microseconds))
    except OverflowError:
        raise MalformedQuery(errors=[FieldError("/cursor", "is not a cursor of this list")]) from None


def _next(moment: datetime | None) -> str | None:
    return None if moment is None else encode_cursor("timeseries", us_of_moment(moment))


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
