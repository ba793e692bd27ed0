"""The one thread that sends commands, and ends those whose time is over.

A command is marked as sent before it goes to the broker, and looked at again if nothing is heard of the
broker: a crash in between sends it twice, never zero times, and the device knows it by its id.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import orjson

from domain.command import CommandEvent, CommandState, step
from domain.errors import Unavailable
from fleet.turns import TurnsThread
from observability import Heartbeats, get_logger
from storage import commands as sql
from storage.pool import SystemDatabase

log = get_logger("commands")

HEARTBEAT = "command dispatch"
_POLL_S = 1.0
_LIMIT = 200
_RETRY_AFTER = timedelta(seconds=2)
# How long the broker's confirmation may take before the command is sent again.
_UNCONFIRMED_AFTER = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class CommandMessage:
    """A command on its way: `device` is `TENANT/DEVICE_ID`."""

    device: str
    command_id: str
    payload: bytes
    expires_in_s: int


class CommandLine(Protocol):
    """What publishes commands. Raises Unavailable where the broker cannot be reached."""

    def publish(self, messages: Sequence[CommandMessage]) -> set[str]:
        """Publish and wait for the broker; return the ids of those for which a device has subscribed."""
        ...


class CommandDispatcher:
    """Owns the thread. The queue is in PostgreSQL, and so survives any restart."""

    def __init__(
        self,
        database: SystemDatabase,
        line: CommandLine,
        *,
        clock: Callable[[], datetime],
        heartbeats: Heartbeats,
    ) -> None:
        self._database = database
        self._line = line
        self._clock = clock
        self._turns = TurnsThread(HEARTBEAT, self._take_turn, heartbeats=heartbeats, turn_limit_s=60.0)

    def start(self) -> None:
        """Start sending what waits."""
        self._turns.start()

    def stop(self, timeout_s: float) -> bool:
        """End the thread; return whether it has ended. What waits stays in PostgreSQL."""
        return self._turns.stop(timeout_s)

    def wake(self) -> None:
        """Look at once. Returns at once."""
        self._turns.wake()

    def run_once(self) -> int:
        """End what is over, send what is due; return how many were handed to the broker.

        Raises:
            Unavailable: PostgreSQL is away.
        """
        now = self._clock()
        with self._database.transaction() as cursor:
            for tenant_id, command_id, state in sql.commands_fallen_due(cursor, now=now, limit=_LIMIT):
                after = step(state, CommandEvent.FALL_DUE)
                if after is not None:
                    sql.move_command(cursor, tenant_id, command_id, after, now=now)
            going = []
            for command in sql.commands_to_send(cursor, now=now, limit=_LIMIT):
                is_offline = command.device_status == "offline"
                after = step(command.state, CommandEvent.WAIT if is_offline else CommandEvent.SEND)
                if after is None:
                    continue
                next_at = now + (_RETRY_AFTER if is_offline else _UNCONFIRMED_AFTER)
                sql.move_command(
                    cursor, command.tenant_id, command.command_id, after, now=now, next_attempt_at=next_at
                )
                if not is_offline:
                    going.append(command)
        if going:
            self._note(going, self._published(going, now))
        return len(going)

    def _published(self, going: Sequence[sql.Outgoing], now: datetime) -> set[str]:
        messages = [
            CommandMessage(
                device=f"{command.tenant_slug}/{command.device_id}",
                command_id=command.command_id,
                payload=orjson.dumps(
                    {
                        "command_id": command.command_id,
                        "name": command.name,
                        "params": orjson.Fragment(command.params_json),
                        "expires_at": command.expires_at,
                    }
                ),
                expires_in_s=max(1, int((command.expires_at - now).total_seconds())),
            )
            for command in going
        ]
        try:
            return self._line.publish(messages)
        except Unavailable as problem:
            log.warning("commands_not_sent", waiting=len(messages), detail=problem.detail)
            return set()

    def _note(self, going: Sequence[sql.Outgoing], taken: set[str]) -> None:
        now = self._clock()
        with self._database.transaction() as cursor:
            for command in going:
                state = sql.lock_command(cursor, command.tenant_id, command.device_key, command.command_id)
                is_taken = command.command_id in taken
                event = CommandEvent.DELIVER if is_taken else CommandEvent.WAIT
                # An answer may be here already: then there is nothing left to note.
                after = step(state, event) if state is CommandState.SENT else None
                if after is not None:
                    sql.move_command(
                        cursor,
                        command.tenant_id,
                        command.command_id,
                        after,
                        now=now,
                        next_attempt_at=None if is_taken else now + _RETRY_AFTER,
                    )

    def _take_turn(self) -> float:
        try:
            sent = self.run_once()
        except Unavailable as problem:
            log.warning("commands_not_looked_at", detail=problem.detail)
            return _POLL_S
        return 0.0 if sent == _LIMIT else _POLL_S
