"""Commands to devices, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from analytics_sql import statement
from domain.command import FINAL, CommandState
from storage.pool import AppDatabase, Cursor

_SQL = Path(__file__).parent / "sql" / "commands.sql"


@dataclass(frozen=True, slots=True)
class Command:
    """A command; `params_json`, `answer_json` and `late_answer_json` are JSON texts, ready to be sent on."""

    command_id: str
    device_id: str
    name: str
    params_json: str
    state: str
    created_at: datetime
    created_by: str
    expires_at: datetime
    attempts: int
    sent_at: datetime | None
    delivered_at: datetime | None
    accepted_at: datetime | None
    finished_at: datetime | None
    answer_json: str | None
    late_answer_json: str | None
    late_answer_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewCommand:
    """What somebody asks a device for."""

    command_id: str
    name: str
    params_json: str
    created_by: str
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A command that is to be sent."""

    tenant_id: int
    tenant_slug: str
    device_key: int
    device_id: str
    device_status: str
    command_id: str
    name: str
    params_json: str
    state: CommandState
    expires_at: datetime


def add_command(cursor: Cursor, device_key: int, new: NewCommand) -> bool:
    """Add a command; whether its id was free."""
    params = {
        "command_id": new.command_id,
        "device_key": device_key,
        "name": new.name,
        "params": new.params_json,
        "created_by": new.created_by,
        "now": new.created_at,
        "expires_at": new.expires_at,
    }
    cursor.execute(statement(_SQL, "add_command"), params)
    return cursor.fetchone() is not None


def find_command(cursor: Cursor, device_id: str, command_id: str) -> Command | None:
    """One command of a device of the tenant."""
    cursor.execute(statement(_SQL, "find_command"), {"device_id": device_id, "command_id": command_id})
    row = cursor.fetchone()
    return None if row is None else Command(*row)


def list_commands(
    database: AppDatabase,
    tenant_id: int,
    device_key: int,
    *,
    state: str | None,
    after: tuple[datetime, str] | None,
    limit: int,
) -> list[Command]:
    """Commands of a device, newest first."""
    params = {
        "device_key": device_key,
        "state": state,
        "before": after[0] if after else None,
        "after_id": after[1] if after else None,
        "limit": limit,
    }
    return [Command(*row) for row in database.read(tenant_id, statement(_SQL, "list_commands"), params)]


def lock_command(cursor: Cursor, tenant_id: int, device_key: int, command_id: str) -> CommandState | None:
    """The state of a command, locked until the end of the transaction; None where there is none."""
    params = {"tenant_id": tenant_id, "device_key": device_key, "command_id": command_id}
    cursor.execute(statement(_SQL, "lock_command"), params)
    row = cursor.fetchone()
    return None if row is None else CommandState(row[0])


def commands_to_send(cursor: Cursor, *, now: datetime, limit: int) -> list[Outgoing]:
    """Lock and return commands whose attempt is due; in a system transaction."""
    cursor.execute(statement(_SQL, "commands_to_send"), {"now": now, "limit": limit})
    rows = cursor.fetchall()
    return [
        Outgoing(
            tenant_id, slug, key, device, status, command_id, name, params, CommandState(state), expires_at
        )
        for tenant_id, slug, key, device, status, command_id, name, params, state, expires_at in rows
    ]


def commands_fallen_due(cursor: Cursor, *, now: datetime, limit: int) -> list[tuple[int, str, CommandState]]:
    """Lock and return (tenant_id, command_id, state) of commands whose time is over; as the system."""
    cursor.execute(statement(_SQL, "commands_fallen_due"), {"now": now, "limit": limit})
    return [
        (tenant_id, command_id, CommandState(state)) for tenant_id, command_id, state in cursor.fetchall()
    ]


def move_command(
    cursor: Cursor,
    tenant_id: int,
    command_id: str,
    state: CommandState,
    *,
    now: datetime,
    next_attempt_at: datetime | None = None,
    answer_json: str | None = None,
) -> None:
    """Write the state that a locked command has come to."""
    params: dict[str, Any] = {
        "tenant_id": tenant_id,
        "command_id": command_id,
        "state": state.value,
        "is_final": state in FINAL,
        "now": now,
        "next_attempt_at": next_attempt_at,
        "answer": answer_json,
    }
    cursor.execute(statement(_SQL, "move_command"), params)


def note_late_answer(
    cursor: Cursor, tenant_id: int, command_id: str, answer_json: str, *, now: datetime
) -> None:
    """Keep the first answer that came after the end."""
    params = {"tenant_id": tenant_id, "command_id": command_id, "answer": answer_json, "now": now}
    cursor.execute(statement(_SQL, "note_late_answer"), params)
