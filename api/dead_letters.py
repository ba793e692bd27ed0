"""What could not be stored, and another try."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Annotated, Any, Literal

from flask import Blueprint, Response
from pydantic import Field

from api.bodies import Query, read_query
from api.fields import CursorText, Limit
from api.operations import Answer, Page, operation
from api.paging import DEFAULT_LIMIT, decode_cursor, encode_cursor, page
from api.services import services
from api.telemetry import OutcomeAnswer, outcome_response
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


class DeadLetterAnswer(Answer):
    """What could not be stored, and why; `payload` is base64 where it is no UTF-8."""

    dead_letter_id: int
    source: Annotated[str, Field(examples=["mqtt"])]
    topic: str
    device_id: Annotated[str, Field(examples=["P-103"])] | None
    metric: Annotated[str, Field(examples=["flow"])] | None
    reason: Annotated[str, Field(examples=["wrong_type"])]
    detail: Annotated[str, Field(examples=["the value is no number"])]
    payload: Annotated[str, Field(examples=['{"flow": "hot"}'])]
    payload_encoding: Literal["utf-8", "base64"]
    payload_bytes: Annotated[int, Field(examples=[15])]
    occurrences: int
    received_at: datetime
    last_received_at: datetime
    replayed_at: datetime | None


@blueprint.get("")
@requires("dead_letters:read")
@operation(query=_DeadLetterQuery, answers={200: Page[DeadLetterAnswer]})
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
@operation(answers={200: OutcomeAnswer}, problems=(409, 422))
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
