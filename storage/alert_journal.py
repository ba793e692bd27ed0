"""The journal of alerts and the facts that it amounts to, written together, few statements for any number."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from analytics_sql import statement
from domain.alert import AlertEvent, Facts
from domain.alert_decision import Signal
from domain.suppression import Standing
from domain.transition import Severity
from storage.pool import Cursor

_SQL = Path(__file__).parent / "sql" / "alert_journal.sql"
_EVENT_FIELDS = tuple(field.name for field in fields(AlertEvent) if field.name != "event_id")
_FACT_FIELDS = tuple(field.name for field in fields(Facts))


@dataclass(frozen=True, slots=True)
class StoredAlert:
    """An alert as it is stored.

    Attributes:
        acknowledged_by_email: Of the person in `facts.acknowledged_by`.
    """

    alert_id: str
    tenant_id: int
    device_key: int | None
    source: str
    rule_id: str | None
    rule_name: str | None
    device_id: str | None
    metric: str | None
    acknowledged_by_email: str | None
    facts: Facts


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a device stands in: its own service, and the devices above it, nearest first."""

    is_out_of_service: bool
    ancestors: Sequence[Standing]


def lock_by_source(cursor: Cursor, signals: Sequence[Signal], *, is_new: Sequence[bool]) -> list[StoredAlert]:
    """Lock the alerts that the signals speak of, after adding those for which `is_new` allows it."""
    first: dict[tuple[int, int | None, str], Signal] = {}
    for signal, may_add in zip(signals, is_new, strict=True):
        if may_add:
            first.setdefault((signal.tenant_id, signal.device_key, signal.source), signal)
    if first:
        cursor.execute(
            statement(_SQL, "add_missing_alerts"),
            {"sources": _json(_new_row(signal) for signal in first.values())},
        )
    wanted = {(signal.tenant_id, signal.device_key, signal.source) for signal in signals}
    cursor.execute(
        statement(_SQL, "lock_alerts_by_source"),
        {
            "sources": _json(
                {"tenant_id": tenant_id, "device_key": device_key, "source": source}
                for tenant_id, device_key, source in wanted
            )
        },
    )
    return [alert_of(row) for row in cursor.fetchall()]


def lock_by_id(cursor: Cursor, alert_ids: Sequence[str]) -> list[StoredAlert]:
    """Lock the alerts with these ids that the role of the transaction sees."""
    cursor.execute(statement(_SQL, "lock_alerts"), {"alert_ids": list(alert_ids)})
    return [alert_of(row) for row in cursor.fetchall()]


def due_alerts(cursor: Cursor, *, now: datetime) -> list[str]:
    """The alerts whose shelving or re-alarm timer is due, or whose overlays may not be right any more."""
    cursor.execute(statement(_SQL, "due_alerts"), {"now": now})
    return [alert_id for (alert_id,) in cursor.fetchall()]


def alerts_of_device(cursor: Cursor, device_key: int) -> list[str]:
    """The alerts of a device of the transaction's tenant."""
    cursor.execute(statement(_SQL, "alerts_of_device"), {"device_key": device_key})
    return [alert_id for (alert_id,) in cursor.fetchall()]


def heard_before(
    cursor: Cursor, wanted: Iterable[tuple[int, str, datetime]]
) -> set[tuple[str, str, datetime]]:
    """Of (tenant_id, alert_id, observed_at), the (alert_id, kind, observed_at) that the journal holds."""
    events = [
        {"tenant_id": tenant_id, "alert_id": alert_id, "observed_at": observed_at}
        for tenant_id, alert_id, observed_at in set(wanted)
    ]
    cursor.execute(statement(_SQL, "heard_before"), {"events": _json(events)})
    return {(alert_id, kind, observed_at) for alert_id, kind, observed_at in cursor.fetchall()}


def add_events(
    cursor: Cursor, events: Sequence[tuple[StoredAlert, AlertEvent]], *, recorded_at: datetime
) -> list[int]:
    """Append to the journal; return the numbers of the events in the same order."""
    rows = (
        {"place": place, "tenant_id": alert.tenant_id, "alert_id": alert.alert_id}
        | {name: getattr(event, name) for name in _EVENT_FIELDS}
        for place, (alert, event) in enumerate(events)
    )
    cursor.execute(statement(_SQL, "add_alert_events"), {"events": _json(rows), "recorded_at": recorded_at})
    return sorted(event_id for (event_id,) in cursor.fetchall())


def save(cursor: Cursor, facts: Mapping[str, Facts]) -> None:
    """Write the facts of locked alerts, by alert_id."""
    rows = (
        {"alert_id": alert_id} | {name: getattr(fact, name) for name in _FACT_FIELDS}
        for alert_id, fact in facts.items()
    )
    cursor.execute(statement(_SQL, "save_alerts"), {"facts": _json(rows)})


def surroundings(cursor: Cursor, devices: Iterable[tuple[int, int]]) -> dict[int, Surroundings]:
    """What (tenant_id, device_key) stand in, by device_key."""
    wanted = [{"tenant_id": tenant_id, "device_key": device_key} for tenant_id, device_key in set(devices)]
    cursor.execute(statement(_SQL, "surroundings"), {"devices": _json(wanted)})
    found: dict[int, Surroundings] = {}
    ancestors: list[Standing] = []
    for of_device_key, device_key, device_id, status, is_out_of_service, worst_rank in cursor.fetchall():
        if of_device_key == device_key:
            ancestors = []
            found[of_device_key] = Surroundings(is_out_of_service, ancestors)
        else:
            ancestors.append(Standing(device_key, device_id, status == "offline", worst_rank))
    return found


def _new_row(signal: Signal) -> dict[str, Any]:
    return {
        "tenant_id": signal.tenant_id,
        "device_key": signal.device_key,
        "source": signal.source,
        "rule_id": signal.rule_id,
        "metric_id": signal.metric_id,
        "severity": signal.severity,
        "message": signal.message,
        "raised_at": signal.observed_at,
    }


def alert_of(row: tuple[Any, ...]) -> StoredAlert:
    """The alert in a row whose columns are the alert's and then its facts', each in their order."""
    alert_id, tenant_id, device_key, source, rule_id, rule_name, device_id, metric, email, *facts = row
    return StoredAlert(
        alert_id=alert_id,
        tenant_id=tenant_id,
        device_key=device_key,
        source=source,
        rule_id=rule_id,
        rule_name=rule_name,
        device_id=device_id,
        metric=metric,
        acknowledged_by_email=email,
        facts=Facts(Severity(facts[0]), *facts[1:]),
    )


def _json(rows: Iterable[Mapping[str, Any]]) -> str:
    return orjson.dumps(list(rows)).decode()
