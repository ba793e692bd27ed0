"""The schema as one sorted text, so that a review sees what migrations do and a test sees drift."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import psycopg2

SNAPSHOT = Path(__file__).parent / "schema.txt"
_QUERIES = Path(__file__).parent / "snapshot.sql"


def schema_snapshot(owner_url: str) -> str:
    """Tables, columns, constraints, indexes, policies, grants and functions, one line each.

    Daily partitions are left out: they come and go. The text is the same on PostgreSQL 14 and later.
    """
    with (
        closing(psycopg2.connect(owner_url, application_name="iiot-snapshot")) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(_QUERIES.read_text(encoding="utf-8"))
        return "".join(f"{line}\n" for (line,) in cursor.fetchall())
