"""What the doctor asks PostgreSQL; nothing here changes anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import psycopg2

from analytics_sql import statement
from domain.errors import Unavailable
from storage.pool import Cursor, Pool, PoolOptions

_SQL = Path(__file__).parent / "sql" / "inspection.sql"


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What the server says about itself; `connections` is how many ordinary roles may open."""

    version: int
    now: datetime
    data_directory: str | None
    connections: int

    @property
    def major_version(self) -> int:
        """14 for 14.5."""
        return self.version // 10_000

    @property
    def version_text(self) -> str:
        """The version as people write it."""
        return f"{self.version // 10_000}.{self.version % 10_000}"


@dataclass(frozen=True, slots=True)
class RoleFacts:
    """A database role; `owns_tables` also where it is a member of the owner, `is_present` for who asks."""

    name: str
    can_login: bool
    is_superuser: bool
    bypasses_row_security: bool
    owns_tables: bool
    is_present: bool


class InspectionRefused(Unavailable):
    """The role may not look at this, or it does not exist."""


@contextmanager
def inspection(url: str, *, timeout_s: int) -> Iterator[Cursor]:
    """One connection of its own, for a look at the database.

    Raises:
        DatabaseUnavailable: PostgreSQL cannot be reached, or refuses the login.
        InspectionRefused: A statement names what the role may not see, or what does not exist.
    """
    options = PoolOptions(size=1, wait_s=1, connect_timeout_s=timeout_s, statement_timeout_s=float(timeout_s))
    pool = Pool(url, name="check", options=options)
    try:
        with pool.connection() as connection, connection.cursor() as cursor:
            yield cursor
    except psycopg2.ProgrammingError as error:
        raise InspectionRefused(str(error).partition("\n")[0]) from error
    finally:
        pool.close()


def server_facts(cursor: Cursor) -> ServerFacts:
    """The server's version, clock, data directory and room for connections."""
    cursor.execute(statement(_SQL, "server"))
    (facts,) = cursor.fetchall()
    return ServerFacts(*facts)


def role_facts(cursor: Cursor, names: Sequence[str]) -> dict[str, RoleFacts]:
    """Those of the named roles that exist, and the role that asks."""
    cursor.execute(statement(_SQL, "roles"), {"names": list(names)})
    return {row[0]: RoleFacts(*row) for row in cursor.fetchall()}


def missing_partitions(cursor: Cursor, first_day: date, last_day: date) -> list[date]:
    """Of these UTC days, both included, those without a daily partition of telemetry."""
    cursor.execute(statement(_SQL, "missing_partitions"), {"first_day": first_day, "last_day": last_day})
    return [day for (day,) in cursor.fetchall()]


def stray_readings(cursor: Cursor) -> int:
    """How many readings wait in the default partition; needs a role that sees all tenants."""
    return _count(cursor, "stray_readings")


def time_zone_count(cursor: Cursor) -> int:
    """How many time zones PostgreSQL knows."""
    return _count(cursor, "time_zone_count")


def _count(cursor: Cursor, name: str) -> int:
    cursor.execute(statement(_SQL, name))
    (row,) = cursor.fetchall()
    return int(row[0])
