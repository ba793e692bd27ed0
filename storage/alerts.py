"""Reading alerts and their journals."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from analytics_sql import statement
from domain.alert import AlertEvent, EventKind
from domain.transition import Severity
from storage.alert_journal import StoredAlert, alert_of
from storage.pool import AppDatabase

_SQL = Path(__file__).parent / "sql" / "alerts.sql"


@dataclass(frozen=True, slots=True)
class AlertFilter:
    """Which alerts are wanted; None: all. `start` and `stop` bound the last raising."""

    state: str | None = None
    severity: str | None = None
    device_id: str | None = None
    rule_id: str | None = None
    is_active: bool | None = None
    start: datetime | None = None
    stop: datetime | None = None


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events of the journal are wanted; None: all."""

    kind: str | None = None
    device_id: str | None = None
    start: datetime | None = None
    stop: datetime | None = None


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """An event with the alert and the device that it belongs to."""

    alert_id: str
    device_id: str | None
    recorded_at: datetime
    event: AlertEvent


def list_alerts(
    database: AppDatabase,
    tenant_id: int,
    wanted: AlertFilter,
    *,
    after: tuple[int, str] | None,
    limit: int,
) -> list[StoredAlert]:
    """Alerts of a tenant, last raised first, from after (raised_at in microseconds since 1970, alert_id)."""
    params = {
        "state": wanted.state,
        "severity": wanted.severity,
        "device_id": wanted.device_id,
        "rule_id": wanted.rule_id,
        "is_active": wanted.is_active,
        "start": wanted.start,
        "stop": wanted.stop,
        "before_us": after[0] if after else None,
        "after_id": after[1] if after else None,
        "limit": limit,
    }
    return [alert_of(row) for row in database.read(tenant_id, statement(_SQL, "list_alerts"), params)]


def find_alert(database: AppDatabase, tenant_id: int, alert_id: str) -> StoredAlert | None:
    """One alert of a tenant."""
    rows = database.read(tenant_id, statement(_SQL, "find_alert"), {"alert_id": alert_id})
    return alert_of(rows[0]) if rows else None


def events_of_alert(
    database: AppDatabase, tenant_id: int, alert_id: str, *, after_id: int | None, limit: int
) -> list[JournalEntry]:
    """The journal of one alert in its order."""
    params = {"alert_id": alert_id, "after_id": after_id, "limit": limit}
    return [_entry(row) for row in database.read(tenant_id, statement(_SQL, "events_of_alert"), params)]


def deciding_event(database: AppDatabase, tenant_id: int, alert_id: str) -> AlertEvent | None:
    """The last raising or change of severity of an alert."""
    rows = database.read(tenant_id, statement(_SQL, "deciding_event"), {"alert_id": alert_id})
    return _entry(rows[0]).event if rows else None


def events_after(
    database: AppDatabase, tenant_id: int, wanted: EventFilter, *, after_id: int | None, limit: int
) -> list[JournalEntry]:
    """The journal of a tenant in its order, from after an event."""
    params = {
        "kind": wanted.kind,
        "device_id": wanted.device_id,
        "start": wanted.start,
        "stop": wanted.stop,
        "after_id": after_id,
        "limit": limit,
    }
    return [_entry(row) for row in database.read(tenant_id, statement(_SQL, "events_after"), params)]


def _entry(row: tuple[Any, ...]) -> JournalEntry:
    alert_id, device_id, recorded_at, kind, observed_at, severity, *rest = row
    event = AlertEvent(EventKind(kind), observed_at, Severity(severity), *rest)
    return JournalEntry(alert_id, device_id, recorded_at, event)
