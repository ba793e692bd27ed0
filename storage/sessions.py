"""Sessions of people: one for each sign-in, with the generation of its newest refresh token."""

from __future__ import annotations

from pathlib import Path

from analytics_sql import statement
from storage.pool import Cursor

_SQL = Path(__file__).parent / "sql" / "sessions.sql"

FIRST_GENERATION = 1


def open_session(cursor: Cursor, tenant_id: int, user_id: str, *, life_s: int) -> str:
    """Begin a session, forget the person's sessions that have run out; return the session_id."""
    person = {"tenant_id": tenant_id, "user_id": user_id, "life_s": life_s}
    cursor.execute(statement(_SQL, "remove_expired_sessions"), person)
    cursor.execute(statement(_SQL, "open_session"), person)
    row = cursor.fetchone()
    if row is None:
        raise LookupError("the session has vanished")
    return str(row[0])


def rotate(cursor: Cursor, tenant_id: int, session_id: str, generation: int, *, life_s: int) -> int | None:
    """The next generation, or None where this one is not the newest or the session is over."""
    cursor.execute(
        statement(_SQL, "rotate_session"),
        {"tenant_id": tenant_id, "session_id": session_id, "generation": generation, "life_s": life_s},
    )
    row = cursor.fetchone()
    return None if row is None else int(row[0])


def revoke_if_reused(cursor: Cursor, tenant_id: int, session_id: str, generation: int) -> bool:
    """End the session if an older generation came back; tell whether it did.

    Ask before `rotate`. Two requests that send the newest token at the same moment are no reuse: neither
    sees a later generation here, and `rotate` lets one of them go on.
    """
    cursor.execute(
        statement(_SQL, "revoke_reused_session"),
        {"tenant_id": tenant_id, "session_id": session_id, "generation": generation},
    )
    return cursor.fetchone() is not None
