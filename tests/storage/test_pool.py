"""The pool waits and heals; the two ways into the database are as one tenant, or as the system."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress

import psycopg2
import pytest

from domain.errors import Unavailable
from settings import Settings, password_of
from storage.pool import (
    AppDatabase,
    Cursor,
    DatabaseUnavailable,
    DataRejected,
    Pool,
    PoolOptions,
    StatementTimeout,
    SystemDatabase,
)
from tests.polling import until
from tests.tcp_proxy import TcpProxy

pytestmark = pytest.mark.services

CURRENT_TENANT = "SELECT current_tenant_id()"

PoolFactory = Callable[..., Pool]


@pytest.fixture
def make_pool(settings: Settings) -> Iterator[PoolFactory]:
    """Makes pools of the application role; keyword arguments are options, or another URL."""
    with ExitStack() as stack:

        def make(
            *, url: str = "", size: int = 2, wait_s: float = 5.0, statement_timeout_s: float = 10.0
        ) -> Pool:
            options = PoolOptions(
                size=size, wait_s=wait_s, connect_timeout_s=2, statement_timeout_s=statement_timeout_s
            )
            pool = Pool(url or settings.app_database_url, name="tests", options=options)
            stack.callback(pool.close)
            return pool

        yield make


def _backend(pool: Pool) -> int:
    with pool.connection() as connection:
        return connection.info.backend_pid


# Waiting -------------------------------------------------------------------------------------------


def test_a_connection_is_used_again(make_pool: PoolFactory) -> None:
    pool = make_pool()
    assert _backend(pool) == _backend(pool)


def test_no_more_connections_are_open_than_the_size_says(make_pool: PoolFactory) -> None:
    pool, backends = make_pool(size=3), set[int]()
    barrier = threading.Barrier(3)

    def borrow(number: int) -> None:
        with pool.connection() as connection:
            backends.add(connection.info.backend_pid)
            if number < 3:
                barrier.wait(timeout=10)

    with ThreadPoolExecutor(max_workers=12) as threads:
        list(threads.map(borrow, range(60)))
    assert len(backends) == 3


def test_a_borrower_waits_for_a_connection_that_comes_back(make_pool: PoolFactory) -> None:
    pool = make_pool(size=1)
    is_waiting = threading.Event()

    def borrow() -> int:
        is_waiting.set()
        return _backend(pool)

    with ThreadPoolExecutor(max_workers=1) as thread:
        with pool.connection() as connection:
            waiting = thread.submit(borrow)
            is_waiting.wait(timeout=5)
            backend = connection.info.backend_pid
            assert not waiting.done()
        assert waiting.result(timeout=5) == backend


def test_waiting_ends_with_a_clear_error(make_pool: PoolFactory) -> None:
    pool = make_pool(size=1, wait_s=0.05)
    with pool.connection(), pytest.raises(DatabaseUnavailable, match="busy") as refused, pool.connection():
        raise AssertionError("there is one connection only")
    assert refused.value.retry_after_s > 0
    assert _backend(pool)


def test_a_place_is_free_again_after_every_kind_of_failure(make_pool: PoolFactory) -> None:
    pool = make_pool(size=1, wait_s=0.5)
    database = AppDatabase(pool)
    with suppress(DataRejected):
        database.read(1, "SELECT 1 / 0", {})
    with suppress(psycopg2.ProgrammingError):
        database.read(1, "SELECT no_such_column", {})
    with suppress(ZeroDivisionError), database.tenant(1):
        raise ZeroDivisionError
    assert database.read(1, "SELECT 1", {}) == [(1,)]


def test_a_closed_pool_keeps_no_connection(make_pool: PoolFactory, system_database: SystemDatabase) -> None:
    pool = make_pool()
    with pool.connection() as lent:
        backend = lent.info.backend_pid
        other = _backend(pool)
        pool.close()
    assert lent.closed

    def are_gone() -> bool:
        with system_database.transaction() as cursor:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE pid IN (%s, %s)", (backend, other))
            return cursor.fetchone() == (0,)

    until(are_gone)


def test_connections_say_who_they_are_and_count_time_in_utc(make_pool: PoolFactory) -> None:
    with make_pool().connection() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('application_name'), current_setting('timezone')")
        assert cursor.fetchone() == ("iiot-tests", "UTC")


# Healing -------------------------------------------------------------------------------------------


def test_a_broken_connection_is_replaced(make_pool: PoolFactory, owner_url: str) -> None:
    pool = make_pool()
    database = AppDatabase(pool)
    backend = _backend(pool)
    with closing(psycopg2.connect(owner_url)) as owner:
        owner.autocommit = True  # inside a transaction the list of backends stands still
        with owner.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s)", (backend,))
            until(lambda: _is_gone(cursor, backend))
    with pytest.raises(DatabaseUnavailable):
        database.read(1, "SELECT 1", {})
    assert database.read(1, "SELECT 1", {}) == [(1,)]
    assert _backend(pool) != backend


def _is_gone(cursor: Cursor, backend: int) -> bool:
    cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE pid = %s", (backend,))
    return cursor.fetchone() == (0,)


def test_one_broken_connection_takes_the_idle_ones_with_it(
    settings: Settings, make_pool: PoolFactory
) -> None:
    with TcpProxy(settings.app_database_url) as proxy:
        pool = make_pool(url=proxy.url, size=3)
        with pool.connection(), pool.connection(), pool.connection():
            pass
        proxy.cut()
        database = AppDatabase(pool)
        for _ in range(2):
            with pytest.raises(DatabaseUnavailable):
                database.read(1, "SELECT 1", {})
        proxy.mend()
        # Not one of the three that were idle is tried any more.
        assert database.read(1, "SELECT 1", {}) == [(1,)]


def test_a_server_that_is_not_there_is_named_without_the_password(make_pool: PoolFactory) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    pool = make_pool(url=f"postgresql://somebody:never-shown@127.0.0.1:{port}/iiot")
    with pytest.raises(DatabaseUnavailable, match="PostgreSQL") as refused, pool.connection():
        raise AssertionError("nobody listens there")
    assert "never-shown" not in str(refused.value)


def test_a_wrong_password_is_unavailable_too(make_pool: PoolFactory, settings: Settings) -> None:
    password = password_of(settings.app_database_url)
    pool = make_pool(url=settings.app_database_url.replace(password, "wrong"))
    with pytest.raises(DatabaseUnavailable), pool.connection():
        raise AssertionError("the password is wrong")


# Time limits ---------------------------------------------------------------------------------------


def test_a_statement_that_takes_too_long_is_a_timeout(make_pool: PoolFactory) -> None:
    database = AppDatabase(make_pool(statement_timeout_s=0.1))
    with pytest.raises(StatementTimeout) as refused:
        database.read(1, "SELECT pg_sleep(20)", {})
    assert isinstance(refused.value, Unavailable)
    assert database.read(1, "SELECT 1", {}) == [(1,)]


def test_a_lock_that_is_not_free_in_time_is_a_timeout(
    system_database: SystemDatabase, make_pool: PoolFactory, settings: Settings
) -> None:
    other = SystemDatabase(make_pool(url=settings.system_database_url))
    with system_database.transaction() as holder:
        holder.execute("INSERT INTO tenants (slug, name) VALUES ('held', 'Held')")
        with pytest.raises(StatementTimeout, match="lock"), other.transaction() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '50ms'")
            cursor.execute("INSERT INTO tenants (slug, name) VALUES ('held', 'Held')")


# Transactions and tenants --------------------------------------------------------------------------


def test_the_tenant_ends_with_the_transaction(app_database: AppDatabase) -> None:
    assert app_database.read(7, CURRENT_TENANT, {}) == [(7,)]
    with app_database.tenant(8) as cursor:
        cursor.execute(CURRENT_TENANT)
        assert cursor.fetchone() == (8,)
    assert _tenants_left_behind(app_database) == [(None,)]


def test_a_read_that_fails_leaves_no_tenant_behind(make_pool: PoolFactory) -> None:
    database = AppDatabase(make_pool(size=1))
    backend = _backend(database._pool)
    with pytest.raises(DataRejected):
        database.read(7, "SELECT 1 / 0", {})
    assert _tenants_left_behind(database) == [(None,)]
    assert _backend(database._pool) == backend


def test_a_tenant_is_a_number_and_nothing_else(app_database: AppDatabase) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        app_database.read("1'; DROP TABLE tenants; --", "SELECT 1", {})  # type: ignore[arg-type]


def test_cancelled_statements_leave_no_tenant_behind(make_pool: PoolFactory, owner_url: str) -> None:
    pool = make_pool(size=2)
    database, chance = AppDatabase(pool), random.Random(4)
    is_over, cancelled = threading.Event(), 0

    def cancel_statements() -> None:
        with closing(psycopg2.connect(owner_url)) as owner:
            owner.autocommit = True
            with owner.cursor() as cursor:
                while not is_over.is_set():
                    cursor.execute(
                        "SELECT pg_cancel_backend(pid) FROM pg_stat_activity"
                        " WHERE application_name = 'iiot-tests' AND query LIKE '%pg_sleep%'"
                        " AND state = 'active' AND datname = current_database() AND usename = 'iiot_app'"
                    )

    def ask(number: int) -> bool:
        is_read = chance.random() < 0.5
        try:
            if is_read:
                database.read(number + 1, "SELECT pg_sleep(20)", {})
            else:
                with database.tenant(number + 1) as cursor:
                    cursor.execute(CURRENT_TENANT)
                    cursor.execute("SELECT pg_sleep(20)")
        except StatementTimeout:
            return True
        return False

    canceller = threading.Thread(target=cancel_statements)
    canceller.start()
    try:
        for number in range(200):
            cancelled += ask(number)
            assert _tenants_left_behind(database) == [(None,)]
    finally:
        is_over.set()
        canceller.join()
    assert cancelled == 200


def _tenants_left_behind(database: AppDatabase) -> list[tuple[object, ...]]:
    """What the next borrower of each idle connection finds."""
    found = []
    pool = database._pool
    with ExitStack() as stack:
        for connection in [stack.enter_context(pool.connection()) for _ in range(max(1, len(pool._idle)))]:
            with connection.cursor() as cursor:
                cursor.execute(CURRENT_TENANT)
                found += cursor.fetchall()
    return sorted(set(found), key=str)


def test_an_error_rolls_the_transaction_back(system_database: SystemDatabase) -> None:
    with pytest.raises(DataRejected) as refused:
        _add_one_good_and_one_bad_tenant(system_database)
    assert refused.value.sqlstate == "23514"
    assert refused.value.constraint == "tenants_slug_check"
    with system_database.transaction() as cursor:
        cursor.execute("SELECT count(*) FROM tenants WHERE slug = 'half'")
        assert cursor.fetchone() == (0,)


def _add_one_good_and_one_bad_tenant(database: SystemDatabase) -> None:
    with database.transaction() as cursor:
        cursor.execute("INSERT INTO tenants (slug, name) VALUES ('half', 'Half')")
        cursor.execute("INSERT INTO tenants (slug, name) VALUES ('no slug', 'Refused')")


def test_an_error_of_the_program_rolls_the_transaction_back_too(system_database: SystemDatabase) -> None:
    with pytest.raises(ZeroDivisionError), system_database.transaction() as cursor:
        cursor.execute("INSERT INTO tenants (slug, name) VALUES ('undone', 'Undone')")
        raise ZeroDivisionError
    with system_database.transaction() as cursor:
        cursor.execute("SELECT count(*) FROM tenants WHERE slug = 'undone'")
        assert cursor.fetchone() == (0,)


def test_a_commit_that_the_server_never_answers_is_unavailable(
    settings: Settings, make_pool: PoolFactory
) -> None:
    with TcpProxy(settings.system_database_url) as proxy:
        database = SystemDatabase(make_pool(url=proxy.url))
        with pytest.raises(DatabaseUnavailable), database.transaction() as cursor:
            cursor.execute("SELECT 1")
            proxy.cut()
        proxy.mend()
        with database.transaction() as cursor:
            cursor.execute("SELECT 1")
