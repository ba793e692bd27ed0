"""Reading dead letters, and marking those that were replayed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from psycopg2.extensions import cursor as Cursor

from analytics_sql import statement
from storage.pool import AppDatabase

_SQL = Path(__file__).parent / "sql" / "dead_letters.sql"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message or reading that could not be stored, as it arrived.

    Attributes:
        payload: What arrived, up to a limit; `payload_bytes` is its full length.
    """

    dead_letter_id: int
    tenant_id: int
    source: str
    topic: str
    device_id: str | None
    metric: str | None
    reason: str
    detail: str
    payload: bytes
    payload_bytes: int
    occurrences: int
    received_at: datetime
    last_received_at: datetime
    replayed_at: datetime | None

    @property
    def is_complete(self) -> bool:
        """Whether the whole payload was kept."""
        return len(self.payload) == self.payload_bytes


def list_dead_letters(
    database: AppDatabase,
    tenant_id: int,
    *,
    reason: str | None,
    device_id: str | None,
    before_id: int | None,
    limit: int,
) -> list[DeadLetter]:
    """Dead letters of a tenant, newest first, from before the one given."""
    params = {"reason": reason, "device_id": device_id, "before_id": before_id, "limit": limit}
    return [_of(row) for row in database.read(tenant_id, statement(_SQL, "list_dead_letters"), params)]


def find_dead_letter(database: AppDatabase, tenant_id: int, dead_letter_id: int) -> DeadLetter | None:
    """One dead letter of a tenant."""
    rows = database.read(tenant_id, statement(_SQL, "find_dead_letter"), {"dead_letter_id": dead_letter_id})
    return _of(rows[0]) if rows else None


def mark_replayed(cursor: Cursor, dead_letter_id: int) -> None:
    """Remember that the payload was accepted when it was handed in again."""
    cursor.execute(statement(_SQL, "mark_replayed"), {"dead_letter_id": dead_letter_id})


def _of(row: tuple[Any, ...]) -> DeadLetter:
    values = list(row)
    values[8] = bytes(values[8])
    return DeadLetter(*values)
