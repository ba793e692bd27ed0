"""Locks that several processes share, and the sign of life of the database."""

from __future__ import annotations

from pathlib import Path

from analytics_sql import statement
from storage.pool import Cursor

_SQL = Path(__file__).parent / "sql" / "locks.sql"


def try_lock(cursor: Cursor, name: str) -> bool:
    """Take the named lock until the end of the transaction; return whether it was free."""
    cursor.execute(statement(_SQL, "try_lock"), {"name": name})
    return cursor.fetchone() == (True,)


def ping(cursor: Cursor) -> None:
    """Ask for a sign of life."""
    cursor.execute(statement(_SQL, "ping"))
