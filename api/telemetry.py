"""Telemetry in, and one metric over time out."""

from __future__ import annotations

from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any, Literal

import orjson
from flask import Blueprint, Response
from pydantic import Field

from api.bodies import Body, MalformedQuery, Query, read_body, read_query
from api.fields import CursorText, Limit, Moment, moment_of_us, us_of_moment
from api.operations import Answer, Page, operation
from api.paging import DEFAULT_LIMIT, decode_cursor, encode_cursor, page
from api.problems import problem
from api.services import services
from domain.errors import FieldError
from domain.reading import Quality
from ingest.submission import Offer, Outcome
from rbac import current_principal, requires

blueprint = Blueprint("telemetry", __name__, url_prefix="/telemetry")

MAX_READINGS = 10_000
_WORD_OF_QUALITY = {int(quality): quality.word for quality in Quality}


class _ReadingBody(Body):
    """What a reading looks like from outside; the pipeline judges what it says."""

    device_id: Annotated[str, Field(examples=["P-103"])]
    metric: Annotated[str, Field(examples=["flow"])]
    value: Annotated[Any, Field(description="A number, or true or false.", examples=[12.5])]
    ts: Annotated[
        Any,
        Field(
            description="RFC 3339 with an offset, or milliseconds since 1970; else the time of arrival.",
            examples=["2026-01-31T08:00:00Z"],
        ),
    ] = None
    quality: Annotated[Any, Field(description="good, uncertain or bad.", examples=["good"])] = None
    unit: Annotated[Any, Field(description="Is converted to the metric's own.", examples=["m³/h"])] = None


class _TelemetryBody(Body):
    readings: Annotated[list[_ReadingBody], Field(min_length=1, max_length=MAX_READINGS)]


class _SubmissionQuery(Query):
    backfill: Literal["true", "false"] = "false"


class _HistoryQuery(Query):
    device_id: Annotated[str, Field(min_length=1, max_length=64, examples=["P-103"])]
    metric: Annotated[str, Field(min_length=1, max_length=200, examples=["flow"])]
    start: Moment | None = None
    stop: Moment | None = None
    order: Literal["asc", "desc"] = "desc"
    limit: Limit = DEFAULT_LIMIT
    cursor: CursorText | None = None


class RejectionAnswer(Answer):
    """A reading that was not stored, by its index in the request."""

    index: int
    reason: Annotated[str, Field(examples=["wrong_type"])]
    detail: Annotated[str, Field(examples=["the value is no number"])]


class OutcomeAnswer(Answer):
    """What became of a submission."""

    accepted: int
    duplicates: int
    rejected: list[RejectionAnswer]


class ReadingAnswer(Answer):
    """One reading."""

    device_id: Annotated[str, Field(examples=["P-103"])]
    metric: Annotated[str, Field(examples=["flow"])]
    ts: datetime
    value: float
    quality: Literal["good", "uncertain", "bad"]
    unit: Annotated[str, Field(examples=["m³/h"])]
    received_at: datetime


@blueprint.post("")
@requires("telemetry:write")
@operation(body=_TelemetryBody, query=_SubmissionQuery, answers={201: OutcomeAnswer}, problems=(422,))
def submit() -> Response:
    """Store readings; answers after the commit. `backfill=true` also takes history of any age."""
    backfill = read_query(_SubmissionQuery).backfill == "true"
    principal = current_principal()
    if backfill:
        principal.must("telemetry:backfill")
    offers = [
        Offer(item.device_id, item.metric, item.ts, item.value, item.quality, item.unit)
        for item in read_body(_TelemetryBody).readings
    ]
    outcome = services().pipeline.submit(
        principal.tenant_id, principal.tenant_slug, offers, is_backfill=backfill
    )
    return outcome_response(outcome, status_code=HTTPStatus.CREATED)


@blueprint.get("")
@requires("telemetry:read")
@operation(query=_HistoryQuery, answers={200: Page[ReadingAnswer]}, problems=(404,))
def history() -> Response:
    """Readings of one metric, newest first unless asked otherwise; `[start, stop)`."""
    query = read_query(_HistoryQuery)
    tenant_id = current_principal().tenant_id
    source = services().history
    metric = source.metric(tenant_id, device_id=query.device_id, name=query.metric)
    rows = source.rows(tenant_id, metric, limit=query.limit + 1, **_range_of(query))
    shown, cursor = page(rows, query.limit, lambda last: encode_cursor("history", us_of_moment(last[0])))
    # Written out: this is the platform's most used route.
    items = [
        {
            "device_id": metric.device_id,
            "metric": metric.name,
            "ts": observed_at,
            "value": value,
            "quality": _WORD_OF_QUALITY[quality],
            "unit": metric.unit,
            "received_at": received_at,
        }
        for observed_at, value, quality, received_at in shown
    ]
    body = orjson.dumps({"items": items, "next_cursor": cursor}, option=orjson.OPT_UTC_Z)
    return Response(body, content_type="application/json")


def outcome_response(outcome: Outcome, *, status_code: int) -> Response:
    """What became of a submission; a 422 where nothing of it was stored or known before."""
    rejected = [
        {"index": item.index, "reason": item.reason, "detail": item.detail} for item in outcome.rejected
    ]
    if rejected and not outcome.accepted and not outcome.duplicates:
        return problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            title="Nothing of this could be stored.",
            kind="all-rejected",
            detail="Every reading was rejected; they are kept as dead letters.",
            rejected=rejected,
        )
    body = {"accepted": outcome.accepted, "duplicates": outcome.duplicates, "rejected": rejected}
    return Response(orjson.dumps(body), status=int(status_code), content_type="application/json")


def _range_of(query: _HistoryQuery) -> dict[str, Any]:
    """The part of `[start, stop)` that lies beyond the cursor."""
    start, stop = query.start, query.stop
    if start is not None and stop is not None and start >= stop:
        raise MalformedQuery(errors=[FieldError("/stop", "must be after start")])
    if query.cursor is not None:
        last = _moment_of_cursor(query.cursor)
        if query.order == "asc":
            start = last + timedelta(microseconds=1)
        else:
            stop = last
    return {"start": start, "stop": stop, "order": query.order}


def _moment_of_cursor(cursor: str) -> Any:
    (microseconds,) = decode_cursor(cursor, "history", int)
    try:
        return moment_of_us(int(microseconds))
    except OverflowError:
        raise MalformedQuery(errors=[FieldError("/cursor", "is not a cursor of this list")]) from None
