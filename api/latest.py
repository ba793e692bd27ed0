"""The newest values."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from flask import Blueprint
from pydantic import Field

from api.bodies import Query, read_query
from api.fields import CursorText, Limit, moment_of_us
from api.operations import Answer, Page, operation
from api.paging import DEFAULT_LIMIT, decode_cursor, encode_cursor, page
from api.services import services
from domain.reading import LatestValue, Quality
from rbac import current_principal, requires
from storage import readings

blueprint = Blueprint("latest", __name__)


class _LatestQuery(Query):
    limit: Limit = DEFAULT_LIMIT
    cursor: CursorText | None = None


class ValueAnswer(Answer):
    """The newest reading of a metric."""

    metric: Annotated[str, Field(examples=["flow"])]
    unit: Annotated[str, Field(examples=["m³/h"])]
    value: float
    quality: Literal["good", "uncertain", "bad"]
    observed_at: datetime
    received_at: datetime


class DeviceLatestAnswer(Answer):
    """The newest reading of every metric of one device."""

    device_id: Annotated[str, Field(examples=["P-103"])]
    values: list[ValueAnswer]


class TenantValueAnswer(ValueAnswer):
    """The newest reading of a metric, with its device."""

    device_id: Annotated[str, Field(examples=["P-103"])]


@blueprint.get("/devices/<device_id>/latest")
@requires("telemetry:read")
@operation(answers={200: DeviceLatestAnswer})
def latest_of_device(device_id: str) -> dict[str, Any]:
    """The newest reading of every metric of one device; cached, with PostgreSQL behind it."""
    tenant_id = current_principal().tenant_id
    device_key = services().registry.key(tenant_id, device_id)
    values = services().latest.read(tenant_id, device_key)
    if values is None:
        values = readings.latest_of_device(services().app_database, tenant_id, device_key)
        services().latest.fill(tenant_id, device_key, values)
    return {"device_id": device_id, "values": [_body(value) for value in values]}


@blueprint.get("/latest")
@requires("telemetry:read")
@operation(query=_LatestQuery, answers={200: Page[TenantValueAnswer]})
def latest_of_tenant() -> dict[str, Any]:
    """The newest readings of all devices in use."""
    query = read_query(_LatestQuery)
    rows = readings.latest_of_tenant(
        services().app_database,
        current_principal().tenant_id,
        after=int(decode_cursor(query.cursor, "latest", int)[0]) if query.cursor else None,
        limit=query.limit + 1,
    )
    items, cursor = page(rows, query.limit, lambda last: encode_cursor("latest", last[0]))
    return {
        "items": [{"device_id": value.device_id} | _body(value) for _, value in items],
        "next_cursor": cursor,
    }


def _body(value: LatestValue) -> dict[str, Any]:
    return {
        "metric": value.metric,
        "unit": value.unit,
        "value": value.value,
        "quality": Quality(value.quality).word,
        "observed_at": moment_of_us(value.observed_at_us),
        "received_at": moment_of_us(value.received_at_us),
    }
