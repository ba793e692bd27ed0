"""A bounded pool that waits, and the two ways through it: as a tenant, or as the system.

psycopg2's own pool raises when it is full; here a borrower waits up to `wait_s` and then gets a clear error.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.errors
import psycopg2.extensions
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from analytics_sql import statement
from domain.errors import PlatformError, Unavailable
from observability import pool_waits

__all__ = [
    "AppDatabase",
    "Cursor",
    "DataRejected",
    "DatabaseUnavailable",
    "Pool",
    "PoolOptions",
    "StatementTimeout",
    "SystemDatabase",
    "translated_errors",
]

_SQL = Path(__file__).parent / "sql" / "analytics.sql"
_READ_ONE_MOMENT = statement(_SQL, "read_one_moment")
_ALLOW_ANALYSIS = statement(_SQL, "allow_analysis")

# A connection that lay idle for longer is asked for a sign of life before it is lent.
_CHECK_AFTER_IDLE_S = 15.0


class DatabaseUnavailable(Unavailable):
    """The database cannot be reached at the moment."""


class StatementTimeout(Unavailable):
    """The database took too long to answer."""


class DataRejected(PlatformError):
    """The database refused a value (SQLSTATE class 22 or 23)."""

    def __init__(self, detail: str, *, sqlstate: str, constraint: str | None) -> None:
        super().__init__(detail)
        self.sqlstate = sqlstate
        self.constraint = constraint


@dataclass(frozen=True, slots=True)
class PoolOptions:
    """Size and time limits of a pool."""

    size: int
    wait_s: float
    connect_timeout_s: int
    statement_timeout_s: float


class Pool:
    """At most `size` connections to one URL, lent one at a time. Thread-safe; connects on demand."""

    def __init__(self, url: str, *, name: str, options: PoolOptions) -> None:
        self._url = url
        self._name = name
        self._options = options
        self._slots = threading.Semaphore(options.size)
        self._idle: list[tuple[Connection, float]] = []
        self._lock = threading.Lock()
        self._is_closed = False

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Lend a connection, in autocommit mode and outside a transaction.

        Raises:
            DatabaseUnavailable: none became free within `wait_s`, or PostgreSQL cannot be reached.
        """
        if not self._slots.acquire(blocking=False):
            pool_waits.labels(self._name).inc()
            if not self._slots.acquire(timeout=self._options.wait_s):
                raise DatabaseUnavailable("all database connections are busy", retry_after_s=2)
        connection: Connection | None = None
        try:
            with translated_errors():
                connection = self._take()
                yield connection
        finally:
            if connection is not None:
                self._give_back(connection)
            self._slots.release()

    def close(self) -> None:
        """Close idle connections now and lent ones when they come back."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for connection, _ in idle:
            _close(connection)

    def _take(self) -> Connection:
        while True:
            with self._lock:
                if not self._idle:
                    break
                connection, since = self._idle.pop()
            if time.monotonic() - since < _CHECK_AFTER_IDLE_S or _answers(connection):
                return connection
            _close(connection)
        return self._connect()

    def _connect(self) -> Connection:
        milliseconds = int(self._options.statement_timeout_s * 1000)
        connection = psycopg2.connect(
            self._url,
            connect_timeout=self._options.connect_timeout_s,
            application_name=f"iiot-{self._name}",
            keepalives_idle=30,
            keepalives_interval=5,
            keepalives_count=3,
            tcp_user_timeout=30_000,
            options=f"-c statement_timeout={milliseconds} -c idle_in_transaction_session_timeout=60000"
            " -c timezone=UTC -c lock_timeout=10000",
        )
        connection.autocommit = True
        return connection

    def _give_back(self, connection: Connection) -> None:
        if not connection.closed and connection.info.transaction_status != _IDLE:
            with suppress(psycopg2.Error):
                connection.rollback()
        if connection.closed or connection.info.transaction_status != _IDLE:
            _close(connection)
            self._drop_idle()
            return
        with self._lock:
            if not self._is_closed:
                self._idle.append((connection, time.monotonic()))
                return
        _close(connection)

    def _drop_idle(self) -> None:
        """A broken connection usually means the server went away: the idle ones are suspect too."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection, _ in idle:
            _close(connection)


_IDLE = psycopg2.extensions.TRANSACTION_STATUS_IDLE


def _answers(connection: Connection) -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except psycopg2.Error:
        return False
    return True


def _close(connection: Connection) -> None:
    with suppress(psycopg2.Error):
        connection.close()


@contextmanager
def translated_errors() -> Iterator[None]:
    """Turn psycopg2's errors into named ones, without the statement or its values in the text."""
    try:
        yield
    except psycopg2.errors.QueryCanceled as error:
        raise StatementTimeout("the statement was cancelled after its time limit", retry_after_s=5) from error
    except psycopg2.errors.LockNotAvailable as error:
        raise StatementTimeout("a lock was not free in time", retry_after_s=5) from error
    except (psycopg2.DataError, psycopg2.IntegrityError) as error:
        diagnostics = error.diag
        raise DataRejected(
            diagnostics.message_primary or error.__class__.__name__,
            sqlstate=error.pgcode or "22000",
            constraint=diagnostics.constraint_name,
        ) from error
    except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
        raise DatabaseUnavailable(f"PostgreSQL: {_first_line(error)}", retry_after_s=5) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or error.__class__.__name__


class SystemDatabase:
    """The system role: sees all tenants. For the writer, the scheduler and other background work."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    @contextmanager
    def transaction(self) -> Iterator[Cursor]:
        """One transaction: commits at the end of the block, rolls back when it raises."""
        with self._pool.connection() as connection, _transaction(connection) as cursor:
            yield cursor

    def close(self) -> None:
        """Close the pool."""
        self._pool.close()


class AppDatabase:
    """The role that serves requests: sees the rows of one tenant, in a transaction that names it."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    @contextmanager
    def tenant(self, tenant_id: int) -> Iterator[Cursor]:
        """One transaction as a tenant: commits at the end of the block, rolls back when it raises."""
        with self._pool.connection() as connection, _transaction(connection) as cursor:
            cursor.execute("SELECT set_config('app.tenant_id', %s, true)", (str(int(tenant_id)),))
            yield cursor

    @contextmanager
    def snapshot(self, tenant_id: int) -> Iterator[Cursor]:
        """One read-only transaction as a tenant, for several questions about the very same readings."""
        with self._pool.connection() as connection, _transaction(connection) as cursor:
            cursor.execute(_READ_ONE_MOMENT)
            cursor.execute(_ALLOW_ANALYSIS, {"tenant": str(int(tenant_id))})
            yield cursor

    def read(self, tenant_id: int, statement: str, params: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """All rows of one SELECT as a tenant, in one round trip.

        Two statements in one query string are one implicit transaction, so the tenant ends with it.
        """
        with self._pool.connection() as connection, connection.cursor() as cursor:
            cursor.execute(
                "SELECT set_config('app.tenant_id', %(app_tenant_id)s, true); " + statement,
                {**params, "app_tenant_id": str(int(tenant_id))},
            )
            return cursor.fetchall()

    def close(self) -> None:
        """Close the pool."""
        self._pool.close()


@contextmanager
def _transaction(connection: Connection) -> Iterator[Cursor]:
    connection.autocommit = False
    try:
        with connection, connection.cursor() as cursor:
            yield cursor
    finally:
        if not connection.closed:
            connection.autocommit = True
