"""Alerts: what stands, what happened, and what people do about it."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from flask import Blueprint
from pydantic import Field

from alerting.desk import AlertMissing, Done
from alerting.explanation import explain
from alerting.shape import event_body, stored_body
from api.alert_answers import (
    AcknowledgedAnswer,
    AlertAnswer,
    AlertEventAnswer,
    AlertKpisAnswer,
    ExplanationAnswer,
)
from api.bodies import Body, MalformedQuery, Query, read_body, read_query
from api.fields import CursorText, DeviceId, Limit, Moment, us_of_moment
from api.operations import Page, operation
from api.paging import DEFAULT_LIMIT, decode_cursor, encode_cursor, page
from api.services import services
from domain.alert import EventKind, State
from domain.alert_targets import TARGETS
from domain.errors import FieldError
from domain.transition import Severity
from rbac import current_actor, current_principal, requires
from storage.alert_journal import StoredAlert
from storage.alert_kpis import alert_kpis
from storage.alerts import (
    AlertFilter,
    EventFilter,
    JournalEntry,
    events_after,
    events_of_alert,
    find_alert,
    list_alerts,
)

blueprint = Blueprint("alerts", __name__, url_prefix="/alerts")

_Comment = Annotated[str, Field(max_length=2000)]
_Reason = Annotated[str, Field(min_length=1, max_length=2000, pattern=r"\S", examples=["being repaired"])]
_EventId = Annotated[int, Field(ge=1, lt=2**63)]
_AlertId = Annotated[
    str,
    Field(
        pattern=r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$",
        examples=["00000000-0000-4000-8000-000000000000"],
    ),
]
_MAX_AT_ONCE = 500
_KPI_SPAN = timedelta(days=7)
_KPI_MAX = timedelta(days=92)


class _AlertQuery(Query):
    state: State | None = None
    severity: Severity | None = None
    device_id: DeviceId | None = None
    rule_id: UUID | None = None
    is_active: bool | None = None
    start: Moment | None = None
    stop: Moment | None = None
    limit: Limit = DEFAULT_LIMIT
    cursor: CursorText | None = None


class _JournalQuery(Query):
    kind: EventKind | None = None
    device_id: DeviceId | None = None
    start: Moment | None = None
    stop: Moment | None = None
    after: _EventId | None = None
    limit: Limit = DEFAULT_LIMIT
    cursor: CursorText | None = None


class _EventQuery(Query):
    limit: Limit = DEFAULT_LIMIT
    cursor: CursorText | None = None


class _KpiQuery(Query):
    start: Moment | None = None
    stop: Moment | None = None


class _AcknowledgeBody(Body):
    comment: _Comment = ""
    event: _EventId | None = None


class _BulkAcknowledgeBody(Body):
    alert_ids: Annotated[list[_AlertId], Field(min_length=1, max_length=_MAX_AT_ONCE)]
    comment: _Comment = ""


class _ShelveBody(Body):
    duration_s: Annotated[float, Field(gt=0, le=10**9)]
    reason: _Reason


class _NothingBody(Body):
    pass


class _ClearBody(Body):
    comment: _Comment = ""


class _CommentBody(Body):
    comment: Annotated[str, Field(min_length=1, max_length=2000, pattern=r"\S", examples=["bearing ordered"])]


@blueprint.get("")
@requires("alerts:read")
@operation(query=_AlertQuery, answers={200: Page[AlertAnswer]})
def alert_list() -> dict[str, Any]:
    """Alerts, last raised first.

    `start` and `stop` bound the last raising.
    """
    query = read_query(_AlertQuery)
    rows = list_alerts(
        services().app_database,
        current_principal().tenant_id,
        AlertFilter(
            state=query.state,
            severity=query.severity,
            device_id=query.device_id,
            rule_id=None if query.rule_id is None else str(query.rule_id),
            is_active=query.is_active,
            start=query.start,
            stop=query.stop,
        ),
        after=_after(query.cursor),
        limit=query.limit + 1,
    )
    items, cursor = page(rows, query.limit, _cursor_of)
    return {"items": [stored_body(alert) for alert in items], "next_cursor": cursor}


@blueprint.get("/events")
@requires("alerts:read")
@operation(query=_JournalQuery, answers={200: Page[AlertEventAnswer]})
def journal() -> dict[str, Any]:
    """What happened to all alerts, in the order of the journal.

    Events that were announced while a client was away are those `after` the last that it knows.
    """
    query = read_query(_JournalQuery)
    rows = events_after(
        services().app_database,
        current_principal().tenant_id,
        EventFilter(query.kind, query.device_id, query.start, query.stop),
        after_id=_event_id_of(query.cursor) or query.after,
        limit=query.limit + 1,
    )
    return _journal_page(rows, query.limit)


@blueprint.get("/kpis")
@requires("alerts:read")
@operation(query=_KpiQuery, answers={200: AlertKpisAnswer})
def kpis() -> dict[str, Any]:
    """The figures of alarm management.

    Over `[start, stop)`; without them, over the week until now. What was hidden when it was raised, because
    it was shelved, suppressed or out of service, does not count.
    """
    query = read_query(_KpiQuery)
    stop = query.stop or (query.start + _KPI_SPAN if query.start else datetime.now(UTC))
    start = query.start or stop - _KPI_SPAN
    if not timedelta(0) < stop - start <= _KPI_MAX:
        raise MalformedQuery(
            errors=[FieldError("/stop", f"must be after start, by at most {_KPI_MAX.days} days")]
        )
    found = alert_kpis(services().app_database, current_principal().tenant_id, start=start, stop=stop)
    return {"start": start, "stop": stop, **found, "targets": [asdict(target) for target in TARGETS]}


@blueprint.post("/acknowledge")
@requires("alerts:acknowledge")
@operation(body=_BulkAcknowledgeBody, answers={200: AcknowledgedAnswer})
def acknowledge_many() -> dict[str, Any]:
    """Acknowledge up to 500 alerts at once."""
    given = read_body(_BulkAcknowledgeBody)
    alert_ids = [alert_id.lower() for alert_id in given.alert_ids]
    done, missing = services().alerts.acknowledge_all(current_actor(), alert_ids, comment=given.comment)
    return {"items": [item.alert for item in done], "missing": missing}


@blueprint.get("/<uuid:alert_id>")
@requires("alerts:read")
@operation(answers={200: AlertAnswer})
def read(alert_id: UUID) -> dict[str, Any]:
    """One alert."""
    return stored_body(_found(alert_id))


@blueprint.get("/<uuid:alert_id>/events")
@requires("alerts:read")
@operation(query=_EventQuery, answers={200: Page[AlertEventAnswer]})
def events(alert_id: UUID) -> dict[str, Any]:
    """What happened to one alert, in the order of its journal."""
    query = read_query(_EventQuery)
    _found(alert_id)
    rows = events_of_alert(
        services().app_database,
        current_principal().tenant_id,
        str(alert_id),
        after_id=_event_id_of(query.cursor),
        limit=query.limit + 1,
    )
    return _journal_page(rows, query.limit)


@blueprint.get("/<uuid:alert_id>/explain")
@requires("alerts:read")
@operation(answers={200: ExplanationAnswer})
def explanation(alert_id: UUID) -> dict[str, Any]:
    """Why the alert was raised or changed its severity: the sentence, readings until then, timers."""
    return explain(services().app_database, _found(alert_id))


@blueprint.post("/<uuid:alert_id>/acknowledge")
@requires("alerts:acknowledge")
@operation(body=_AcknowledgeBody, answers={200: AlertAnswer}, problems=(409,))
def acknowledge(alert_id: UUID) -> dict[str, Any]:
    """Say that the alert was seen.

    `event` is the alert event that was looked at: where a newer one asks for attention, the answer is 409.
    A second time changes nothing.
    """
    given = read_body(_AcknowledgeBody)
    done = services().alerts.acknowledge(
        current_actor(), str(alert_id), comment=given.comment, event_id=given.event
    )
    return done.alert


@blueprint.post("/<uuid:alert_id>/shelve")
@requires("alerts:shelve")
@operation(body=_ShelveBody, answers={200: AlertAnswer}, problems=(422,))
def shelve(alert_id: UUID) -> dict[str, Any]:
    """Hide the alert for a time.

    It returns by itself, as acknowledged as it was, and goes on being evaluated meanwhile.
    """
    given = read_body(_ShelveBody)
    duration = timedelta(seconds=given.duration_s)
    return (
        services().alerts.shelve(current_actor(), str(alert_id), duration=duration, reason=given.reason).alert
    )


@blueprint.post("/<uuid:alert_id>/unshelve")
@requires("alerts:shelve")
@operation(body=_NothingBody, answers={200: AlertAnswer})
def unshelve(alert_id: UUID) -> dict[str, Any]:
    """Show the alert again, as acknowledged as it was."""
    read_body(_NothingBody)
    return services().alerts.unshelve(current_actor(), str(alert_id)).alert


@blueprint.post("/<uuid:alert_id>/clear")
@requires("alerts:clear")
@operation(body=_ClearBody, answers={200: AlertAnswer}, problems=(409,))
def clear(alert_id: UUID) -> dict[str, Any]:
    """Clear a latched alert whose condition is normal again."""
    given = read_body(_ClearBody)
    return services().alerts.clear(current_actor(), str(alert_id), comment=given.comment).alert


@blueprint.post("/<uuid:alert_id>/comments")
@requires("alerts:acknowledge")
@operation(body=_CommentBody, answers={201: AlertEventAnswer})
def comment(alert_id: UUID) -> tuple[dict[str, Any], int]:
    """Add a comment to the journal of the alert."""
    given = read_body(_CommentBody)
    return _event_of(services().alerts.comment(current_actor(), str(alert_id), comment=given.comment)), 201


def _found(alert_id: UUID) -> StoredAlert:
    found = find_alert(services().app_database, current_principal().tenant_id, str(alert_id))
    if found is None:
        raise AlertMissing
    return found


def _event_of(done: Done) -> dict[str, Any]:
    return done.event or {}


def _after(cursor: str | None) -> tuple[int, str] | None:
    if cursor is None:
        return None
    raised_at_us, alert_id = decode_cursor(cursor, "alerts", int, str)
    return int(raised_at_us), str(alert_id)


def _cursor_of(last: StoredAlert) -> str:
    raised_at = last.facts.raised_at
    return encode_cursor("alerts", us_of_moment(raised_at) if raised_at else 0, last.alert_id)


def _event_id_of(cursor: str | None) -> int | None:
    return int(decode_cursor(cursor, "alert_events", int)[0]) if cursor is not None else None


def _journal_page(rows: list[JournalEntry], limit: int) -> dict[str, Any]:
    items, cursor = page(rows, limit, lambda last: encode_cursor("alert_events", last.event.event_id or 0))
    return {
        "items": [
            event_body(item.alert_id, item.event, device_id=item.device_id, recorded_at=item.recorded_at)
            for item in items
        ],
        "next_cursor": cursor,
    }
