"""Commands to devices."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

import orjson
from flask import Blueprint
from pydantic import Field

from api.bodies import Body, MalformedQuery, Query, read_body, read_query
from api.fields import CursorText, Limit, us_of_moment
from api.operations import Answer, Page, operation
from api.paging import DEFAULT_LIMIT, decode_cursor, encode_cursor, page
from api.services import services
from domain.command import CommandState
from domain.errors import FieldError
from fleet.commands import Request
from rbac import current_actor, current_principal, requires
from storage.commands import Command, list_commands

blueprint = Blueprint("commands", __name__, url_prefix="/devices/<device_id>/commands")

_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$", examples=["start"])]
_Params = Annotated[dict[str, Any], Field(examples=[{"speed": 40}])]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _NewCommandBody(Body):
    name: _Name
    params: _Params = Field(default_factory=dict)
    ttl_s: Annotated[float, Field(ge=1, le=7 * 86_400)] = 60.0
    command_id: Annotated[
        str | None,
        Field(
            description="A UUID chosen by the caller, which makes asking again harmless.",
            pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
            examples=["5f0c6f0e-3d0b-4b6e-9c55-0d8a6b3c1e42"],
        ),
    ] = None


class _CommandQuery(Query):
    state: CommandState | None = None
    limit: Limit = DEFAULT_LIMIT
    cursor: CursorText | None = None


class CommandAnswer(Answer):
    """A command, and how far it got."""

    command_id: Annotated[str, Field(examples=["00000000-0000-4000-8000-000000000000"])]
    device_id: Annotated[str, Field(examples=["P-103"])]
    name: _Name
    params: _Params
    state: CommandState
    created_at: datetime
    created_by: Annotated[str, Field(examples=["oskar@plant-a.example"])]
    expires_at: datetime
    attempts: int
    sent_at: datetime | None
    delivered_at: datetime | None
    accepted_at: datetime | None
    finished_at: datetime | None
    answer: Annotated[dict[str, Any] | None, Field(examples=[{"status": "succeeded"}])]
    late_answer: Annotated[dict[str, Any] | None, Field(examples=[None])]
    late_answer_at: datetime | None


@blueprint.post("")
@requires("commands:write")
@operation(body=_NewCommandBody, answers={201: CommandAnswer, 200: CommandAnswer}, problems=(409, 422))
def create(device_id: str) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Command a device.

    The command waits until the device is there, for `ttl_s` seconds at most. The same `command_id` with
    the same content answers 200 with the command that exists, and commands nothing.
    """
    given = read_body(_NewCommandBody)
    request = Request(
        name=given.name,
        params=given.params,
        ttl=timedelta(seconds=given.ttl_s),
        command_id=given.command_id,
    )
    command, is_new = services().commands.create(device_id, request, current_actor())
    location = f"/api/v1/devices/{command.device_id}/commands/{command.command_id}"
    return _body(command), 201 if is_new else 200, {"Location": location}


@blueprint.get("")
@requires("commands:read")
@operation(query=_CommandQuery, answers={200: Page[CommandAnswer]})
def command_list(device_id: str) -> dict[str, Any]:
    """Commands of a device, newest first."""
    query = read_query(_CommandQuery)
    tenant_id = current_principal().tenant_id
    rows = list_commands(
        services().app_database,
        tenant_id,
        services().registry.key(tenant_id, device_id),
        state=query.state,
        after=_after(query.cursor),
        limit=query.limit + 1,
    )
    items, cursor = page(
        rows,
        query.limit,
        lambda last: encode_cursor("commands", us_of_moment(last.created_at), last.command_id),
    )
    return {"items": [_body(command) for command in items], "next_cursor": cursor}


@blueprint.get("/<command_id>")
@requires("commands:read")
@operation(answers={200: CommandAnswer})
def read(device_id: str, command_id: str) -> dict[str, Any]:
    """One command, and how far it got."""
    return _body(services().commands.find(current_principal().tenant_id, device_id, command_id))


@blueprint.post("/<command_id>/cancel")
@requires("commands:write")
@operation(answers={200: CommandAnswer}, problems=(409,))
def cancel(device_id: str, command_id: str) -> dict[str, Any]:
    """Take back a command that was not sent yet."""
    return _body(services().commands.cancel(device_id, command_id, current_actor()))


def _after(cursor: str | None) -> tuple[datetime, str] | None:
    if cursor is None:
        return None
    at_us, command_id = decode_cursor(cursor, "commands", int, str)
    try:
        return _EPOCH + timedelta(microseconds=int(at_us)), str(UUID(str(command_id)))
    except (ValueError, OverflowError):
        raise MalformedQuery(errors=[FieldError("/cursor", "is not a cursor of this list")]) from None


def _body(command: Command) -> dict[str, Any]:
    return {
        "command_id": command.command_id,
        "device_id": command.device_id,
        "name": command.name,
        "params": orjson.Fragment(command.params_json),
        "state": command.state,
        "created_at": command.created_at,
        "created_by": command.created_by,
        "expires_at": command.expires_at,
        "attempts": command.attempts,
        "sent_at": command.sent_at,
        "delivered_at": command.delivered_at,
        "accepted_at": command.accepted_at,
        "finished_at": command.finished_at,
        "answer": None if command.answer_json is None else orjson.Fragment(command.answer_json),
        "late_answer": None
        if command.late_answer_json is None
        else orjson.Fragment(command.late_answer_json),
        "late_answer_at": command.late_answer_at,
    }
