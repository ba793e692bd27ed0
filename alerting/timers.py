"""What becomes of alerts by time alone: shelving ends, a standing alert asks again, a suppression is over."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime

from alerting import journal
from alerting.desk import Announce
from domain.alert import AlertEvent, step
from domain.alert_decision import fall_due, serve, suppress
from domain.audit import Actor
from domain.suppression import suppressing_device
from domain.transition import AlertChange
from storage import alert_journal as sql
from storage.alert_journal import StoredAlert, Surroundings
from storage.pool import Cursor


def run_timers(cursor: Cursor, *, now: datetime) -> list[AlertChange]:
    """Do what is due at `now`, for all tenants; return what has changed, for after the commit.

    Ends of shelving and re-alarms carry the time at which they fell due, however late the look at them.
    """
    alerts = sql.lock_by_id(cursor, sql.due_alerts(cursor, now=now))
    devices = [(alert.tenant_id, alert.device_key) for alert in alerts if alert.device_key is not None]
    around = sql.surroundings(cursor, devices)
    events = [(alert, event) for alert in alerts for event in _due_events(alert, around, now)]
    return journal.write(cursor, events, now=now)


def alert_timers(
    announce: Announce, clock: Callable[[], datetime]
) -> Callable[[Cursor], Callable[[], None] | None]:
    """The same as the work of a periodic job, whose changes are announced after the commit."""

    def work(cursor: Cursor) -> Callable[[], None] | None:
        changes = run_timers(cursor, now=clock())
        return (lambda: announce(changes)) if changes else None

    return work


def _due_events(
    alert: StoredAlert, around: Mapping[int, Surroundings], now: datetime
) -> Iterator[AlertEvent]:
    actor, facts = Actor.system(alert.tenant_id), alert.facts
    for event in fall_due(facts, actor, now=now):
        facts = step(facts, event)
        yield event
    found = around.get(alert.device_key or 0)
    if found is None:
        return
    if facts.suppressed_by is not None:
        by = suppressing_device(found.ancestors, facts.severity)
        if (change := suppress(facts, actor, at=now, suppressed_by=by)) is not None:
            yield change
    is_out = found.is_out_of_service
    if (change := serve(facts, actor, at=now, is_out_of_service=is_out, reason="")) is not None:
        yield change
