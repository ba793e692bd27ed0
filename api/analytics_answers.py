"""What the analytics routes answer, for the document; a figure that does not exist is null."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from api.operations import Answer

Figure = Annotated[float | None, Field(description="null where it does not exist.", examples=[12.5])]


class SeriesAnswer(Answer):
    """What was asked about."""

    device_id: Annotated[str, Field(examples=["P-103"])]
    metric: Annotated[str, Field(examples=["flow"])]
    unit: Annotated[str, Field(examples=["m³/h"])]
    kind: Literal["gauge", "counter", "state"]
    resolution: Annotated[str, Field(description="raw: from the readings themselves.", examples=["raw"])]


class AutocorrelationAnswer(Answer):
    """How far neighbouring readings resemble each other, and the slope judged with that in mind."""

    lag1: float
    effective_n: float
    slope_stderr: Figure
    p_value: Figure


class TrendAnswer(SeriesAnswer):
    """The slope of a metric over time; times count from `first_at`."""

    method: Literal["ols", "theil_sen"]
    n: int
    slope_per_min: Figure
    intercept: Figure
    r_squared: Figure
    direction: Literal["increasing", "decreasing", "stable"]
    slope_stderr: Figure
    p_value: Figure
    residual_stddev: Figure
    mean: Figure
    stddev: Figure
    min: Figure
    max: Figure
    first_at: datetime | None
    last_at: datetime | None
    autocorrelation: AutocorrelationAnswer | None
    warning: str | None
    slope_ci_low: Figure = None
    slope_ci_high: Figure = None
    mann_kendall_s: int | None = None
    points_compared: int | None = None


class SeriesPointAnswer(Answer):
    """A reading or a bucket, with the average of the frame that ends with it."""

    ts: datetime
    value: Figure
    moving_average: Figure
    rate_of_change_per_min: Figure
    gap_before: Annotated[
        bool, Field(description="Whether more time than max_gap_s passed, or empty buckets, before it.")
    ]
    n: Annotated[int | None, Field(description="Readings in the bucket.")] = None
    min: Figure = None
    max: Figure = None


class GapAnswer(Answer):
    """A stretch without readings."""

    start: datetime
    stop: datetime


class TimeseriesAnswer(SeriesAnswer):
    """One metric over time."""

    window: int | None
    window_s: float | None
    bucket_s: int | None
    lttb: int | None
    points: list[SeriesPointAnswer]
    gaps: Annotated[list[GapAnswer] | None, Field(description="With lttb only.")] = None
    next_cursor: str | None


class PercentilesAnswer(Answer):
    """Linearly interpolated percentiles."""

    p25: Figure
    p50: Figure
    p75: Figure
    p95: Figure


class SpreadAnswer(Answer):
    """Typical value and spread."""

    n: int
    mean: Figure
    median: Figure
    stddev: Figure
    variance: Figure
    min: Figure
    max: Figure
    percentiles: PercentilesAnswer
    cv_percent: Figure
    iqr: Figure


class DayAnswer(SpreadAnswer):
    """The figures of one calendar day `[start, stop)`."""

    day: Annotated[str, Field(examples=["2026-03-29"])]
    start: datetime
    stop: datetime
    hours: float
    delta: Annotated[float | None, Field(description="Of a counter.")] = None


class PointAnswer(Answer):
    """A reading."""

    ts: datetime
    value: float


class CounterAnswer(Answer):
    """How far a counter went."""

    delta: Figure
    resets: int
    rollovers: int


class StateAnswer(Answer):
    """How long a state stood at a value."""

    value: float
    duration_s: float
    readings: int


class StatisticsAnswer(SeriesAnswer, SpreadAnswer):
    """What is typical for a metric, how it spreads and persists."""

    range: Figure
    lag1_autocorrelation: Figure
    time_weighted_mean: Figure
    covered_s: Figure
    gaps: int
    first: PointAnswer | None
    last: PointAnswer | None
    min_at: datetime | None
    max_at: datetime | None
    counter: CounterAnswer | None = None
    states: list[StateAnswer] | None = None
    timezone: str | None = None
    days: list[DayAnswer] | None = None


class SideAnswer(Answer):
    """One of two metrics, as far as it is part of pairs."""

    device_id: Annotated[str, Field(examples=["P-103"])]
    metric: Annotated[str, Field(examples=["flow"])]
    unit: Annotated[str, Field(examples=["m³/h"])]
    mean: Figure
    stddev: Figure


class CorrelationAnswer(Answer):
    """How far two metrics go together."""

    device_id: Annotated[str, Field(examples=["P-103"])]
    resolution: Annotated[str, Field(examples=["raw"])]
    alignment: Annotated[str | None, Field(description="exact, bucket or as_of.", examples=["bucket"])]
    bucket_s: Figure
    max_age_s: Figure
    lag_s: float
    confidence: float
    n: int
    pearson_r: Figure
    r_squared: Figure
    ci_low: Figure
    ci_high: Figure
    covariance: Figure
    strength: Annotated[
        str | None, Field(description="negligible, weak, moderate or strong.", examples=["strong"])
    ]
    spearman_rho: Figure
    spearman_n: Annotated[int, Field(description="Of so many pairs; up to about 100,000.")]
    slope: Figure
    intercept: Figure
    metric_a: SideAnswer
    metric_b: SideAnswer
