"""The telemetry table itself: its daily partitions."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from analytics_sql import statement
from storage.pool import Cursor

_SQL = Path(__file__).parent / "sql" / "telemetry.sql"


def ensure_partitions(cursor: Cursor, first_day: date, last_day: date) -> int:
    """Make the daily partitions of these UTC days, both included; return how many were made."""
    cursor.execute(statement(_SQL, "ensure_partitions"), {"first_day": first_day, "last_day": last_day})
    row = cursor.fetchone()
    return int(row[0]) if row else 0


def adopt_strays(cursor: Cursor) -> int:
    """Move readings out of the default partition into daily ones; return how many partitions were made."""
    cursor.execute(statement(_SQL, "stray_days"))
    return sum(ensure_partitions(cursor, day, day) for (day,) in cursor.fetchall())
