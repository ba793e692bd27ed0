"""Commands to devices: asking for one, looking at it, taking it back."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson

from domain.audit import Actor
from domain.command import CommandEvent, CommandState, step
from domain.errors import Conflict, FieldError, NotFound, RuleBroken
from domain.identifier import is_device_id
from fleet.registry import DeviceMissing
from storage import audit, devices
from storage import commands as sql
from storage.pool import AppDatabase, Cursor

MAX_PARAMS_BYTES = 16_384


class CommandMissing(NotFound):
    """There is no such command."""


class CommandIdTaken(Conflict):
    """The command_id belongs to another command."""


class CommandUnderWay(Conflict):
    """Only a command that has not been sent can be cancelled."""


class CommandRefused(RuleBroken):
    """The command breaks a rule."""


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody asks a device for; `command_id` makes asking again harmless."""

    name: str
    params: Mapping[str, Any]
    ttl: timedelta
    command_id: str | None = None


class Commands:
    """The commands of all tenants; every call names the tenant it is for. Thread-safe."""

    def __init__(
        self, database: AppDatabase, *, clock: Callable[[], datetime], dispatch: Callable[[], None]
    ) -> None:
        self._database = database
        self._clock = clock
        self._dispatch = dispatch

    def create(self, device_id: str, request: Request, actor: Actor) -> tuple[sql.Command, bool]:
        """Command a device; return the command, and whether it is new.

        Raises:
            DeviceMissing: There is no such device in use.
            CommandIdTaken: The command_id was used for something else.
            CommandRefused: The parameters are too large.
        """
        params = orjson.dumps(dict(request.params))
        if len(params) > MAX_PARAMS_BYTES:
            raise CommandRefused(errors=[FieldError("/params", f"has more than {MAX_PARAMS_BYTES} bytes")])
        now = self._clock()
        new = sql.NewCommand(
            command_id=request.command_id or str(uuid.uuid4()),
            name=request.name,
            params_json=params.decode(),
            created_by=actor.label,
            created_at=now,
            expires_at=now + request.ttl,
        )
        with self._database.tenant(actor.tenant_id) as cursor:
            key = devices.lock_device(cursor, device_id) if is_device_id(device_id) else None
            if key is None:
                raise DeviceMissing
            is_new = sql.add_command(cursor, key, new)
            command = sql.find_command(cursor, device_id, new.command_id)
            if command is None or not (is_new or _is_same(command, request)):
                raise CommandIdTaken
            if is_new:
                audit.record(
                    cursor,
                    actor,
                    "command.create",
                    f"device/{device_id}/command/{new.command_id}",
                    after={"name": new.name, "params": dict(request.params), "expires_at": new.expires_at},
                )
        if is_new:
            self._dispatch()
        return command, is_new

    def find(self, tenant_id: int, device_id: str, command_id: str) -> sql.Command:
        """One command, also of a device that was retired since.

        Raises:
            CommandMissing: There is no such command of this device.
        """
        with self._database.tenant(tenant_id) as cursor:
            return _found(cursor, device_id, command_id)

    def cancel(self, device_id: str, command_id: str, actor: Actor) -> sql.Command:
        """Take back a command that was not sent yet.

        Raises:
            CommandMissing: There is no such command of this device.
            CommandUnderWay: It was sent, or has ended.
        """
        with self._database.tenant(actor.tenant_id) as cursor:
            _found(cursor, device_id, command_id)
            key = devices.key_of_device(cursor, device_id)
            state = None if key is None else sql.lock_command(cursor, actor.tenant_id, key, command_id)
            if state is None:
                raise CommandMissing
            after = step(state, CommandEvent.CANCEL)
            if after is None:
                raise CommandUnderWay(f"it is {state.value}")
            sql.move_command(cursor, actor.tenant_id, command_id, after, now=self._clock())
            audit.record(
                cursor,
                actor,
                "command.cancel",
                f"device/{device_id}/command/{command_id}",
                before={"state": state.value},
                after={"state": CommandState.CANCELLED.value},
            )
            return _found(cursor, device_id, command_id)


def _found(cursor: Cursor, device_id: str, command_id: str) -> sql.Command:
    command = sql.find_command(cursor, device_id, command_id) if _is_uuid(command_id) else None
    if command is None:
        raise CommandMissing
    return command


def _is_same(command: sql.Command, request: Request) -> bool:
    return command.name == request.name and orjson.loads(command.params_json) == dict(request.params)


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False
