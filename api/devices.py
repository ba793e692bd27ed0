"""The device registry."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import orjson
from flask import Blueprint
from pydantic import Field

from api.bodies import Body, Query, read_body, read_query
from api.fields import CursorText, DeviceId, Limit, MetricName, Prefix
from api.operations import Answer, Page, operation
from api.paging import DEFAULT_LIMIT, decode_cursor, encode_cursor, page
from api.services import services
from domain.metric import MetricKind
from fleet.registry import DeviceSpec, MetricSpec
from rbac import current_principal, requires
from storage.devices import Device, list_devices

blueprint = Blueprint("devices", __name__, url_prefix="/devices")

_Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"\S", examples=["Feed pump 3"])]
_Type = Annotated[str, Field(max_length=64, examples=["pump"])]
_Location = Annotated[str, Field(max_length=200, examples=["Hall 2"])]
_Unit = Annotated[str, Field(max_length=64, examples=["m³/h"])]
_Metadata = Annotated[dict[str, Any], Field(examples=[{"vendor": "Riverside", "year": 2021}])]


class _MetricBody(Body):
    name: MetricName
    unit: _Unit = ""
    kind: Literal["gauge", "counter", "state"] = "gauge"
    min: float | None = None
    max: float | None = None
    modulus: Annotated[float, Field(gt=0)] | None = None
    max_gap_s: Annotated[float, Field(gt=0)] | None = None


class _DeviceBody(Body):
    name: _Name
    type: _Type = ""
    location: _Location = ""
    metadata: _Metadata = Field(default_factory=dict)
    parent_device_id: Annotated[DeviceId | None, Field(examples=["HALL-2"])] = None
    metrics: Annotated[list[_MetricBody], Field(max_length=1000)] = Field(default_factory=list)


class _NewDeviceBody(_DeviceBody):
    device_id: DeviceId


class _DeviceQuery(Query):
    type: Annotated[str, Field(max_length=64)] | None = None
    status: Literal["online", "offline", "unknown"] | None = None
    name: Prefix | None = None
    limit: Limit = DEFAULT_LIMIT
    cursor: CursorText | None = None


class MetricAnswer(Answer):
    """A metric of a device."""

    name: Annotated[str, Field(examples=["flow"])]
    unit: _Unit
    kind: Literal["gauge", "counter", "state"]
    min: float | None
    max: float | None
    modulus: float | None
    max_gap_s: float | None


class DeviceAnswer(Answer):
    """A device in use."""

    device_id: Annotated[str, Field(examples=["P-103"])]
    name: _Name
    type: _Type
    location: _Location
    metadata: _Metadata
    parent_device_id: str | None
    status: Literal["online", "offline", "unknown"]
    last_seen: datetime | None
    created_at: datetime
    metrics: list[MetricAnswer]
    out_of_service_at: Annotated[datetime, Field(description="null while it is in service.")] | None
    out_of_service_by: Annotated[str, Field(examples=["oskar@plant-a.example"])] | None
    out_of_service_reason: Annotated[str, Field(examples=["bearing is being changed"])] | None


@blueprint.get("")
@requires("devices:read")
@operation(query=_DeviceQuery, answers={200: Page[DeviceAnswer]})
def device_list() -> dict[str, Any]:
    """Devices by device_id; `name` filters by the beginning of the name."""
    query = read_query(_DeviceQuery)
    rows = list_devices(
        services().app_database,
        current_principal().tenant_id,
        type=query.type,
        status=query.status,
        name_prefix=query.name,
        after=str(decode_cursor(query.cursor, "devices", str)[0]) if query.cursor else None,
        limit=query.limit + 1,
    )
    items, cursor = page(rows, query.limit, lambda last: encode_cursor("devices", last.device_id))
    return {"items": [device_body(device) for device in items], "next_cursor": cursor}


@blueprint.post("")
@requires("devices:write")
@operation(body=_NewDeviceBody, answers={201: DeviceAnswer}, problems=(409, 422))
def create() -> tuple[dict[str, Any], int, dict[str, str]]:
    """Add a device with its metrics."""
    given = read_body(_NewDeviceBody)
    tenant_id = current_principal().tenant_id
    device = services().registry.create(tenant_id, given.device_id, _spec(given))
    services().pipeline.device_changed(tenant_id, given.device_id)
    return device_body(device), 201, {"Location": f"/api/v1/devices/{device.device_id}"}


@blueprint.get("/<device_id>")
@requires("devices:read")
@operation(answers={200: DeviceAnswer})
def read(device_id: str) -> dict[str, Any]:
    """One device."""
    return device_body(services().registry.find(current_principal().tenant_id, device_id))


@blueprint.put("/<device_id>")
@requires("devices:write")
@operation(body=_DeviceBody, answers={200: DeviceAnswer}, problems=(409, 422))
def replace(device_id: str) -> dict[str, Any]:
    """Replace what is said about a device; metrics are added or changed, never removed."""
    given = read_body(_DeviceBody)
    tenant_id = current_principal().tenant_id
    device = services().registry.replace(tenant_id, device_id, _spec(given))
    services().pipeline.device_changed(tenant_id, device_id)
    return device_body(device)


@blueprint.delete("/<device_id>")
@requires("devices:write")
@operation(answers={204: None})
def retire(device_id: str) -> tuple[str, int]:
    """Take a device out of use; its history stays, and its device_id stays taken."""
    tenant_id = current_principal().tenant_id
    device_key = services().registry.key(tenant_id, device_id)
    services().registry.retire(tenant_id, device_id)
    services().credentials.device_retired(device_key)
    services().pipeline.device_changed(tenant_id, device_id)
    return "", 204


def _spec(given: _DeviceBody) -> DeviceSpec:
    return DeviceSpec(
        name=given.name,
        type=given.type,
        location=given.location,
        metadata=given.metadata,
        parent_device_id=given.parent_device_id,
        metrics=[
            MetricSpec(**metric.model_dump(exclude={"kind"}), kind=MetricKind(metric.kind))
            for metric in given.metrics
        ],
    )


def device_body(device: Device) -> dict[str, Any]:
    """A device as the API shows it."""
    return {
        "device_id": device.device_id,
        "name": device.name,
        "type": device.type,
        "location": device.location,
        "metadata": orjson.Fragment(device.metadata_json),
        "parent_device_id": device.parent_device_id,
        "status": device.status,
        "last_seen": device.last_seen,
        "created_at": device.created_at,
        "metrics": orjson.Fragment(device.metrics_json),
        "out_of_service_at": device.out_of_service_at,
        "out_of_service_by": device.out_of_service_by,
        "out_of_service_reason": device.out_of_service_reason,
    }
