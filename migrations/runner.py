"""Apply the numbered SQL files, each once, each in its own transaction, one process at a time."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection

VERSIONS = Path(__file__).parent / "versions"
_FILE = re.compile(r"^(\d{4})_([a-z0-9_]+)\.sql$")
_ADVISORY_KEY = 7_413_001

ROLES = {"iiot_app": "LOGIN NOBYPASSRLS", "iiot_system": "LOGIN BYPASSRLS"}


class MigrationError(Exception):
    """The database cannot be brought to the version of this program."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file."""

    version: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the file: an applied migration must never change."""
        return hashlib.sha256(self.text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class MigrationState:
    """Which migrations the database has and lacks; `changed` ones have another text than was applied."""

    applied: list[int]
    pending: list[int]
    unknown: list[int]
    changed: list[int]


def migrations() -> list[Migration]:
    """The files in order of their numbers."""
    found = []
    for path in sorted(VERSIONS.glob("*.sql")):
        match = _FILE.match(path.name)
        if match is None:
            raise MigrationError(f"{path.name}: a migration is named like 0001_what_it_does.sql")
        found.append(Migration(int(match[1]), match[2], path.read_text(encoding="utf-8")))
    if [item.version for item in found] != list(range(1, len(found) + 1)):
        raise MigrationError("the migrations are not numbered 0001, 0002, ... without a gap")
    return found


def apply_migrations(
    owner_url: str,
    *,
    role_passwords: dict[str, str],
    on_step: Callable[[str], None] = lambda step: None,
) -> list[int]:
    """Bring the database to the newest version; return the versions that were applied.

    Waits for another process that migrates. `role_passwords` holds a password for each role of `ROLES`
    that this program may create or change; a role that is left out must exist already.

    Raises:
        MigrationError: the database is newer than the program, an applied file was changed, or a role
            is missing.
        psycopg2.Error: PostgreSQL refused a statement; nothing of that migration remains.
    """
    with closing(
        psycopg2.connect(owner_url, connect_timeout=10, application_name="iiot-migrate")
    ) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", (_ADVISORY_KEY,))
        connection.autocommit = False
        _ensure_roles(connection, role_passwords, on_step)
        known = {item.version: item for item in migrations()}
        applied = _applied(connection)
        _check_history(applied, known)
        done = []
        for version, migration in known.items():
            if version in applied:
                continue
            on_step(f"migration {version:04d} {migration.name.replace('_', ' ')}")
            with connection, connection.cursor() as cursor:
                cursor.execute("SET LOCAL lock_timeout = '10s'")
                cursor.execute("SET LOCAL client_min_messages = warning")
                cursor.execute(migration.text)
                cursor.execute(
                    "INSERT INTO schema_migrations (version, name, checksum) VALUES (%s, %s, %s)",
                    (version, migration.name, migration.checksum),
                )
            done.append(version)
        return done


def migration_state(owner_url: str) -> MigrationState:
    """Compare the database with the files, changing nothing."""
    with closing(
        psycopg2.connect(owner_url, connect_timeout=10, application_name="iiot-check")
    ) as connection:
        with connection.cursor() as cursor:
            cursor.execute("SELECT to_regclass('public.schema_migrations')")
            (table,) = cursor.fetchone() or (None,)
        applied = _read_applied(connection) if table else {}
    known = {item.version: item.checksum for item in migrations()}
    return MigrationState(
        applied=sorted(applied),
        pending=[version for version in known if version not in applied],
        unknown=sorted(version for version in applied if version not in known),
        changed=sorted(
            version for version, checksum in applied.items() if known.get(version, checksum) != checksum
        ),
    )


def _ensure_roles(connection: Connection, passwords: dict[str, str], on_step: Callable[[str], None]) -> None:
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT rolname FROM pg_roles WHERE rolname = ANY(%s)", (list(ROLES),))
        existing = {name for (name,) in cursor.fetchall()}
        cursor.execute("SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user")
        (may_create,) = cursor.fetchone() or (False,)
        for role, attributes in ROLES.items():
            if role not in existing and not may_create:
                raise MigrationError(
                    f"the database role {role} is missing and {connection.info.user} may not create roles; "
                    f"ask an administrator to run: CREATE ROLE {role} {attributes} PASSWORD '...'"
                )
            if role not in passwords or not may_create:
                continue
            verb = "ALTER" if role in existing else "CREATE"
            if verb == "CREATE":
                on_step(f"database role {role}")
            cursor.execute(
                sql.SQL("{verb} ROLE {role} {attributes} PASSWORD {password}").format(
                    verb=sql.SQL(verb),
                    role=sql.Identifier(role),
                    attributes=sql.SQL(attributes),
                    password=sql.Literal(passwords[role]),
                )
            )


def _applied(connection: Connection) -> dict[int, str]:
    with connection, connection.cursor() as cursor:
        cursor.execute("SET LOCAL client_min_messages = warning")
        cursor.execute(
            "CREATE TABLE IF NOT EXISTS schema_migrations ("
            " version integer PRIMARY KEY, name text NOT NULL, checksum text NOT NULL,"
            " applied_at timestamptz NOT NULL DEFAULT now())"
        )
    return _read_applied(connection)


def _read_applied(connection: Connection) -> dict[int, str]:
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT version, checksum FROM schema_migrations")
        return dict(cursor.fetchall())


def _check_history(applied: dict[int, str], known: dict[int, Migration]) -> None:
    for version, checksum in sorted(applied.items()):
        if version not in known:
            raise MigrationError(
                f"the database is at migration {version:04d}, which this program does not know; "
                "start the newer program, or restore a backup made before it"
            )
        if known[version].checksum != checksum:
            raise MigrationError(
                f"migration {version:04d} was changed after it was applied; add a new one instead"
            )
