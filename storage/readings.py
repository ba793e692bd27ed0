"""Reading telemetry: one metric over time, and the newest values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from analytics_sql import HERE, statement
from domain.reading import LatestValue
from storage.pool import AppDatabase

_SQL = Path(__file__).parent / "sql" / "readings.sql"
_HISTORY = {
    "asc": statement(HERE / "readings.sql", "history_ascending"),
    "desc": statement(HERE / "readings.sql", "history_descending"),
}

Order = Literal["asc", "desc"]
HistoryRow = tuple[datetime, float, int, datetime]
"""observed_at, value, quality code, received_at."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric that readings can be asked for."""

    metric_id: int
    device_id: str
    name: str
    unit: str


def find_metric(database: AppDatabase, tenant_id: int, *, device_id: str, metric: str) -> Metric | None:
    """One metric of a device of the tenant, in use or retired."""
    params = {"device_id": device_id, "metric": metric}
    rows = database.read(tenant_id, statement(_SQL, "find_metric"), params)
    return Metric(*rows[0]) if rows else None


def history(
    database: AppDatabase,
    tenant_id: int,
    metric_id: int,
    *,
    start: datetime,
    stop: datetime,
    order: Order,
    limit: int,
) -> list[HistoryRow]:
    """Readings in `[start, stop)` by observed_at, at most `limit`."""
    params = {"metric_id": metric_id, "start": start, "stop": stop, "limit": limit}
    return database.read(tenant_id, _HISTORY[order], params)


def history_statement(order: Order) -> str:
    """The statement that `history` runs, to be shown."""
    return _HISTORY[order]


def latest_of_device(database: AppDatabase, tenant_id: int, device_key: int) -> list[LatestValue]:
    """The newest reading of every metric of one device, by metric."""
    rows = database.read(tenant_id, statement(_SQL, "latest_of_device"), {"device_key": device_key})
    return [LatestValue(*row) for row in rows]


def latest_of_tenant(
    database: AppDatabase, tenant_id: int, *, after: int | None, limit: int
) -> list[tuple[int, LatestValue]]:
    """The newest readings of all devices in use with their metric_id, by metric_id, after the one given."""
    params = {"after": after, "limit": limit}
    rows = database.read(tenant_id, statement(_SQL, "latest_of_tenant"), params)
    return [(row[0], LatestValue(*row[1:])) for row in rows]
