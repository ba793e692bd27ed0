"""What could not be stored, and another try."""

from __future__ import annotations

import base64
from typing import Annotated, Any

from flask import Blueprint, Response
from pydantic import Field

from api.bodies import Query, read_query
from api.fields import CursorText, Limit
from api.paging import DEFAULT_LIMIT, decode_cursor, encode_cursor, page
from api.services import services
from api.telemetry import outcome_response
from domain.errors import Conflict, NotFound, RuleBroken
from rbac import current_principal, requires
from storage.dead_letters import DeadLetter, find_dead_letter, list_dead_letters, mark_replayed

blueprint = Blueprint("dead_letters", __name__, url_prefix="/telemetry/dead-letters")


class DeadLetterMissing(NotFound):
    """There is no such dead letter."""


class AlreadyReplayed(Conflict):
    """The dead letter was replayed before."""


class PayloadIncomplete(RuleBroken):
    """Only the beginning of the payload was kept, so it cannot be replayed."""


class _DeadLetterQuery(Query):
    reason: Annotated[str, Field(max_length=64)] | None = None
    device_id: Annotated[str, Field(max_length=64)] | None = None
    limit: Limit = DEFAULT_LIMIT
    cursor: CursorText | None = None


@blueprint.get("")
@requires("dead_letters:read")
def dead_letter_list() -> dict[str, Any]:
    """Dead letters, newest first."""
    query = read_query(_DeadLetterQuery)
    rows = list_dead_letters(
        services().app_database,
        current_principal().tenant_id,
        reason=query.reason,
        device_id=query.device_id,
        before_id=_key_of(query.cursor),
        limit=query.limit + 1,
    )
    items, cursor = page(rows, query.limit, lambda last: encode_cursor("dead_letters", last.dead_letter_id))
    return {"items": [_body(item) for item in items], "next_cursor": cursor}


@blueprint.post("/<int:dead_letter_id>/replay")
@requires("dead_letters:replay")
def replay(dead_letter_id: int) -> Response:
    """Hand the payload in again; 422 with the reasons while what was wrong is still wrong."""
    principal = current_principal()
    tenant_id = principal.tenant_id
    found = _replayable(tenant_id, dead_letter_id)
    outcome = services().pipeline.replay(
        tenant_id, principal.tenant_slug, topic=found.topic, payload=found.payload
    )
    if outcome.accepted or outcome.duplicates:
        with services().app_database.tenant(tenant_id) as cursor:
            mark_replayed(cursor, dead_letter_id)
    return outcome_response(outcome, status_code=200)


def _replayable(tenant_id: int, dead_letter_id: int) -> DeadLetter:
    found = None
    if dead_letter_id < 2**63:
        found = find_dead_letter(services().app_database, tenant_id, dead_letter_id)
    if found is None:
        raise DeadLetterMissing
    if found.replayed_at is not None:
        raise AlreadyReplayed
    if not found.is_complete:
        raise PayloadIncomplete
    return found


def _key_of(cursor: str | None) -> int | None:
    return int(decode_cursor(cursor, "dead_letters", int)[0]) if cursor is not None else None


def _body(item: DeadLetter) -> dict[str, Any]:
    payload, encoding = _payload_text(item.payload)
    return {
        "dead_letter_id": item.dead_letter_id,
        "source": item.source,
        "topic": item.topic,
        "device_id": item.device_id,
        "metric": item.metric,
        "reason": item.reason,
        "detail": item.detail,
        "payload": payload,
        "payload_encoding": encoding,
        "payload_bytes": item.payload_bytes,
        "occurrences": item.occurrences,
        "received_at": item.received_at,
        "last_received_at": item.last_received_at,
        "replayed_at": item.replayed_at,
    }


def _payload_text(payload: bytes) -> tuple[str, str]:
    """The payload as text, and how it was made: `utf-8` as it is, else `base64`."""
    try:
        return payload.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        return base64.b64encode(payload).decode(), "base64"
