"""How far two metrics go together: pairs of readings, Pearson, Spearman, and the line through the pairs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from analytics.scope import SLICES, Question, snapshot
from domain.correlation import fisher_interval, pearson, strength
from domain.moments import combine, sample_stddev
from domain.regression import fit
from storage import pairs as sql
from storage import series
from storage.pairs import Alignment, Pairing
from storage.pool import AppDatabase, Cursor
from storage.series import Edges, Scope, Series

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TICK_S = 1e-6
# Metrics that share so much of their times were taken together.
_TAKEN_TOGETHER = 0.9


@dataclass(frozen=True, slots=True)
class PairOptions:
    """How readings are paired; None lets the data decide.

    Attributes:
        lag_s: The second metric is looked at so many seconds later.
        confidence: Of the interval around Pearson's correlation.
    """

    alignment: Alignment | None = None
    bucket_s: float | None = None
    max_age_s: float | None = None
    lag_s: float = 0.0
    confidence: float = 0.95


def correlation(
    database: AppDatabase,
    tenant_id: int,
    metrics: tuple[Series, Series],
    question: Question,
    options: PairOptions,
) -> dict[str, Any]:
    """The figures of a correlation; None for those that do not exist."""
    first, second = metrics
    with snapshot(database, tenant_id) as cursor:
        pairing = _pairing(cursor, question.scope(first.metric_id), question.scope(second.metric_id), options)
        found = sql.Pairs([], None, 0) if pairing is None else sql.pairs(cursor, pairing)
    return _how(pairing, options) | _figures(metrics, pairing, found, options.confidence)


def _pairing(cursor: Cursor, first: Scope, second: Scope, options: PairOptions) -> Pairing | None:
    """How to pair, decided by what is there; None where one side has no reading."""
    ends_a = series.edges(cursor, first, enough=SLICES + 1)
    ends_b = series.edges(cursor, second, enough=1)
    if ends_a is None or ends_b is None:
        return None
    near_a = sql.within(first, ends_a.first_at, ends_a.last_at)
    near_b = sql.within(second, ends_b.first_at, ends_b.last_at)
    alignment = options.alignment or _natural(cursor, near_a, near_b, options)
    bucket_s = origin = max_age_s = None
    if alignment == "bucket":
        bucket_s, origin = _buckets(cursor, near_a, near_b, ends_a, options)
    if alignment == "as_of":
        max_age_s = options.max_age_s or 2 * (sql.median_interval_s(cursor, near_b) or 30.0)
    return Pairing(
        first=near_a,
        second=near_b,
        alignment=alignment,
        lag_s=options.lag_s,
        origin=origin or ends_a.first_at,
        base_a=ends_a.first_value,
        base_b=ends_b.first_value,
        slice_s=_slice_s(ends_a, bucket_s),
        bucket_s=bucket_s,
        max_age_s=max_age_s,
    )


def _natural(cursor: Cursor, first: Scope, second: Scope, options: PairOptions) -> Alignment:
    """Exact where both were taken together, by bucket where not or where buckets were asked for."""
    if options.bucket_s is not None:
        return "bucket"
    if options.max_age_s is not None:
        return "as_of"
    asked, shared = sql.shared_moments(cursor, first, second, lag_s=options.lag_s)
    return "exact" if asked and shared >= _TAKEN_TOGETHER * asked else "bucket"


def _buckets(
    cursor: Cursor, first: Scope, second: Scope, ends: Edges, options: PairOptions
) -> tuple[float, datetime]:
    """The width of buckets and where they count from.

    Without a width, that of the slower metric; then the first reading lies in the middle of its bucket, so
    that a little jitter moves no reading into the next.
    """
    if options.bucket_s is not None:
        return options.bucket_s, _EPOCH
    usual = [sql.median_interval_s(cursor, scope) for scope in (first, second)]
    width_s = max((interval for interval in usual if interval), default=60.0)
    return width_s, ends.first_at - timedelta(seconds=width_s / 2)


def _slice_s(ends: Edges, bucket_s: float | None) -> float:
    """As wide as leaves about a thousand slices; pairs stand alone where they are few."""
    if ends.counted <= SLICES:
        return bucket_s or _TICK_S
    return max(bucket_s or _TICK_S, (ends.last_at - ends.first_at).total_seconds() / SLICES)


def _how(pairing: Pairing | None, options: PairOptions) -> dict[str, Any]:
    return {
        "alignment": options.alignment if pairing is None else pairing.alignment,
        "bucket_s": None if pairing is None else pairing.bucket_s,
        "max_age_s": None if pairing is None else pairing.max_age_s,
        "lag_s": options.lag_s,
        "confidence": options.confidence,
    }


def _figures(
    metrics: tuple[Series, Series], pairing: Pairing | None, found: sql.Pairs, confidence: float
) -> dict[str, Any]:
    whole = combine(found.slices)
    if pairing is None or whole is None:
        return _NOTHING | {"metric_a": _side(metrics[0]), "metric_b": _side(metrics[1])}
    r = pearson(whole)
    bounds = None if r is None else fisher_interval(r, whole.n, confidence)
    line = fit(found.slices)
    return {
        "n": whole.n,
        "pearson_r": r,
        "r_squared": None if line is None or r is None else line.r_squared,
        "ci_low": None if bounds is None else bounds[0],
        "ci_high": None if bounds is None else bounds[1],
        "covariance": None if whole.n < 2 else whole.xy / (whole.n - 1),
        "strength": None if r is None else strength(r),
        "spearman_rho": found.spearman_rho,
        "spearman_n": found.spearman_n,
        "slope": None if line is None else line.slope,
        "intercept": None if line is None else pairing.base_b + line.at(-pairing.base_a),
        "metric_a": _side(metrics[0])
        | {"mean": pairing.base_a + whole.x_mean, "stddev": sample_stddev(whole.n, whole.xx)},
        "metric_b": _side(metrics[1])
        | {"mean": pairing.base_b + whole.y_mean, "stddev": sample_stddev(whole.n, whole.yy)},
    }


_NOTHING: dict[str, Any] = {
    "n": 0,
    "pearson_r": None,
    "r_squared": None,
    "ci_low": None,
    "ci_high": None,
    "covariance": None,
    "strength": None,
    "spearman_rho": None,
    "spearman_n": 0,
    "slope": None,
    "intercept": None,
}


def _side(metric: Series) -> dict[str, Any]:
    return {
        "device_id": metric.device_id,
        "metric": metric.name,
        "unit": metric.unit,
        "mean": None,
        "stddev": None,
    }
