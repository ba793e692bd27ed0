"""Why an alert says what it says: the event that decided, the readings before it, and the timers."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from domain.alert import AlertEvent
from domain.reading import Quality
from storage import readings
from storage.alert_journal import StoredAlert
from storage.alerts import deciding_event
from storage.pool import AppDatabase

_BEFORE = timedelta(hours=1)
_READINGS = 20


def explain(database: AppDatabase, alert: StoredAlert) -> dict[str, Any]:
    """What the journal and the stored readings say about the last raising or change of severity.

    `sql` with `parameters` reads the same readings again; null where no metric decided.
    """
    decided = deciding_event(database, alert.tenant_id, alert.alert_id)
    found = _readings(database, alert, decided) if decided is not None else {}
    return {
        "summary": decided.message if decided is not None else alert.facts.message,
        "rule_version": decided.rule_version if decided is not None else None,
        "observed_at": decided.observed_at if decided is not None else None,
        "value": decided.value if decided is not None else None,
        "sql": found.get("sql"),
        "parameters": found.get("parameters", {}),
        "readings": found.get("readings", []),
        "timers": _timers(alert),
    }


def _readings(database: AppDatabase, alert: StoredAlert, decided: AlertEvent) -> dict[str, Any]:
    if alert.device_id is None or alert.metric is None:
        return {}
    metric = readings.find_metric(database, alert.tenant_id, device_id=alert.device_id, metric=alert.metric)
    if metric is None:
        return {}
    start, stop = decided.observed_at - _BEFORE, decided.observed_at + timedelta(microseconds=1)
    rows = readings.history(
        database, alert.tenant_id, metric.metric_id, start=start, stop=stop, order="desc", limit=_READINGS
    )
    return {
        "sql": readings.history_statement("desc"),
        "parameters": {"metric_id": metric.metric_id, "start": start, "stop": stop, "limit": _READINGS},
        "readings": [
            {
                "device_id": alert.device_id,
                "metric": alert.metric,
                "unit": metric.unit,
                "observed_at": observed_at,
                "value": value,
                "quality": Quality(quality).word,
            }
            for observed_at, value, quality, _ in reversed(rows)
        ],
    }


def _timers(alert: StoredAlert) -> list[dict[str, Any]]:
    facts = alert.facts
    due = (("shelving_ends", facts.shelved_until), ("realarms", facts.realarm_at))
    return [{"name": name, "due_at": at} for name, at in due if at is not None]
