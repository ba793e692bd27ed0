"""The one place where alert events are written: journal and facts together, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from alerting.shape import alert_body, event_body
from domain.alert import AlertEvent, Facts, step
from domain.transition import AlertChange
from storage import alert_journal as sql
from storage.alert_journal import StoredAlert
from storage.pool import Cursor


def write(
    cursor: Cursor, events: Sequence[tuple[StoredAlert, AlertEvent]], *, now: datetime
) -> list[AlertChange]:
    """Append events of locked alerts, in order, and store the facts that follow; return what has changed.

    Three statements for any number of events.
    """
    if not events:
        return []
    event_ids = sql.add_events(cursor, events, recorded_at=now)
    facts: dict[str, Facts] = {}
    people: dict[str, str] = {}
    changes = []
    for (alert, event), event_id in zip(events, event_ids, strict=True):
        numbered = replace(event, event_id=event_id)
        after = step(facts.get(alert.alert_id, alert.facts), numbered)
        facts[alert.alert_id] = after
        if alert.facts.acknowledged_by is not None and alert.acknowledged_by_email is not None:
            people.setdefault(alert.facts.acknowledged_by, alert.acknowledged_by_email)
        if event.actor_user_id is not None:
            people[event.actor_user_id] = event.actor
        acknowledged_by = people.get(after.acknowledged_by or "", after.acknowledged_by)
        changes.append(
            AlertChange(
                tenant_id=alert.tenant_id,
                device_id=alert.device_id or "",
                alert=alert_body(alert, after, acknowledged_by=acknowledged_by),
                event=event_body(alert.alert_id, numbered, device_id=alert.device_id, recorded_at=now),
            )
        )
    sql.save(cursor, facts)
    return changes
