"""What a device signs in to the broker with."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from flask import Blueprint
from pydantic import Field

from api.operations import Answer, operation
from api.services import services
from mqtt.password_file import password_line
from rbac import current_actor, current_principal, requires

blueprint = Blueprint("credentials", __name__, url_prefix="/devices/<device_id>/credentials")


class TopicsAnswer(Answer):
    """Topic filters: those the device may publish to, and those it may read."""

    publish: Annotated[list[str], Field(examples=[["iiot/v1/default/P-103/telemetry"]])]
    subscribe: Annotated[list[str], Field(examples=[["iiot/v1/default/P-103/commands/+"]])]


class IssuedCredentialAnswer(Answer):
    """A fresh credential. The password is shown this once."""

    credential_id: Annotated[str, Field(examples=["7f0c4c9e-0d5b-4a54-9f0a-2f6f2f3f9a10"])]
    username: Annotated[str, Field(examples=["default/P-103"])]
    password: Annotated[str, Field(examples=["shown once"])]
    topics: TopicsAnswer
    is_in_force: Annotated[bool, Field(description="Whether the broker takes it already.")]
    password_file_entry: Annotated[
        str,
        Field(
            description="For Mosquitto's password file, where there is no dynamic-security plugin.",
            examples=["default/P-103:$7$101$c2FsdA==$aGFzaA=="],
        ),
    ]


class CredentialAnswer(Answer):
    """A credential as far as it may be told."""

    credential_id: Annotated[str, Field(examples=["7f0c4c9e-0d5b-4a54-9f0a-2f6f2f3f9a10"])]
    created_at: datetime
    created_by: Annotated[str, Field(examples=["alice@plant-a.example"])]


@blueprint.post("")
@requires("credentials:write")
@operation(answers={201: IssuedCredentialAnswer})
def issue(device_id: str) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Give a device a credential for the broker.

    The password is shown this once and stored nowhere. A credential that the device had ends, and with it
    the connection that was made with it.
    """
    issued = services().credentials.issue(current_principal().tenant_slug, device_id, current_actor())
    body = {
        "credential_id": issued.credential_id,
        "username": issued.username,
        "password": issued.password,
        "topics": {"publish": list(issued.topics.publish), "subscribe": list(issued.topics.subscribe)},
        "is_in_force": issued.is_in_force,
        "password_file_entry": password_line(issued.username, issued.password),
    }
    return body, 201, {"Cache-Control": "no-store"}


@blueprint.get("")
@requires("devices:read")
@operation(answers={200: CredentialAnswer})
def read(device_id: str) -> dict[str, Any]:
    """Since when a device has its credential, and from whom; 404 where it has none."""
    found = services().credentials.find(current_principal().tenant_id, device_id)
    return {
        "credential_id": found.credential_id,
        "created_at": found.created_at,
        "created_by": found.created_by,
    }


@blueprint.delete("")
@requires("credentials:write")
@operation(answers={204: None})
def revoke(device_id: str) -> tuple[str, int]:
    """End the credential of a device and cut its connection."""
    services().credentials.revoke(device_id, current_actor())
    return "", 204
