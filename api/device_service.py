"""Devices that people take out of service and put back."""

from __future__ import annotations

from typing import Annotated, Any

from flask import Blueprint
from pydantic import Field

from api.bodies import Body, read_body
from api.devices import DeviceAnswer, device_body
from api.operations import operation
from api.services import services
from rbac import current_actor, current_principal, requires

blueprint = Blueprint("device_service", __name__, url_prefix="/devices")


class _OutOfServiceBody(Body):
    reason: Annotated[
        str, Field(min_length=1, max_length=2000, pattern=r"\S", examples=["bearing is being changed"])
    ]


class _InServiceBody(Body):
    pass


@blueprint.post("/<device_id>/out-of-service")
@requires("devices:service")
@operation(body=_OutOfServiceBody, answers={200: DeviceAnswer})
def take_out(device_id: str) -> dict[str, Any]:
    """Take a device out of service: its alerts are hidden, also those to come.

    They go on being evaluated. Where the device is out of service already, nothing changes.
    """
    given = read_body(_OutOfServiceBody)
    services().alerts.take_out_of_service(current_actor(), device_id, reason=given.reason)
    return _device(device_id)


@blueprint.post("/<device_id>/in-service")
@requires("devices:service")
@operation(body=_InServiceBody, answers={200: DeviceAnswer})
def put_back(device_id: str) -> dict[str, Any]:
    """Put a device back into service: its alerts show their true states."""
    read_body(_InServiceBody)
    services().alerts.return_to_service(current_actor(), device_id)
    return _device(device_id)


def _device(device_id: str) -> dict[str, Any]:
    return device_body(services().registry.find(current_principal().tenant_id, device_id))
