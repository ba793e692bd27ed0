"""One metric over time, read in windows so that a page touches few of the daily partitions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from domain.errors import NotFound
from storage import readings
from storage.pool import AppDatabase
from storage.readings import HistoryRow, Metric, Order
from storage.remembered import Remembered

# Tried one after the other until a page is full; most metrics fill it from the first.
_WIDTHS = (timedelta(days=1), timedelta(days=8))
_BEGINNING = datetime(1, 1, 1, tzinfo=UTC)
_END = datetime(9999, 12, 31, tzinfo=UTC)


class MetricMissing(NotFound):
    """There is no such device or metric."""


class History:
    """Pages of readings. Thread-safe."""

    def __init__(
        self, database: AppDatabase, *, future_limit: timedelta, clock: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._future_limit = future_limit
        self._clock = clock
        self._metrics: Remembered[tuple[int, str, str], Metric] = Remembered()

    def metric(self, tenant_id: int, *, device_id: str, name: str) -> Metric:
        """The metric of this name; devices that were retired keep theirs.

        Raises:
            MetricMissing: The tenant has no such device, or the device no such metric.
        """
        key = (tenant_id, device_id, name)
        found = self._metrics.get(key)
        if found is None:
            asked_at = self._metrics.now()
            found = readings.find_metric(self._database, tenant_id, device_id=device_id, metric=name)
            if found is None:
                raise MetricMissing
            self._metrics.put(key, found, asked_at=asked_at)
        return found

    def rows(
        self,
        tenant_id: int,
        metric: Metric,
        *,
        start: datetime | None,
        stop: datetime | None,
        order: Order,
        limit: int,
    ) -> list[HistoryRow]:
        """Up to `limit` readings in `[start, stop)` by observed_at."""
        rows: list[HistoryRow] = []
        newest = self._clock() + self._future_limit
        for window_start, window_stop in windows(
            start or _BEGINNING, stop or _END, order=order, newest=newest
        ):
            rows = readings.history(
                self._database,
                tenant_id,
                metric.metric_id,
                start=window_start,
                stop=window_stop,
                order=order,
                limit=limit,
            )
            if len(rows) >= limit:
                break
        return rows


def windows(
    start: datetime, stop: datetime, *, order: Order, newest: datetime
) -> Iterator[tuple[datetime, datetime]]:
    """Ever wider parts of `[start, stop)` at the end where the order begins; the whole comes last.

    Nothing is stored that was observed after `newest`.
    """
    if order == "desc":
        end = min(stop, newest)
        yield from ((end - width, end) for width in _WIDTHS if start < end - width)
    elif start != _BEGINNING:
        yield from ((start, start + width) for width in _WIDTHS if start + width < stop)
    yield start, stop
