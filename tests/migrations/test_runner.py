"""Migrations: each once, one process at a time, and never over a history that was changed."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg2
import pytest
from psycopg2 import sql

from migrations import apply_migrations, migration_state, runner, schema_snapshot
from migrations.runner import MigrationError, migrations
from migrations.snapshot import SNAPSHOT
from tests.databases import copied_database

NEWEST = [item.version for item in migrations()]


@pytest.fixture
def empty_url(server_url: str, template_database: str) -> Iterator[str]:
    """An empty database on a server that has the platform's roles."""
    with copied_database(server_url, "template0") as url:
        yield url


def _execute(url: str, statement: str | sql.Composed, *values: object) -> list[tuple[object, ...]]:
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement, values or None)
        return cursor.fetchall() if cursor.description else []


@pytest.fixture
def versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of migrations of the test's own."""
    monkeypatch.setattr(runner, "VERSIONS", tmp_path)
    return tmp_path


# The files -----------------------------------------------------------------------------------------


def test_files_are_taken_in_order_and_have_a_checksum_of_their_text(versions: Path) -> None:
    (versions / "0002_second.sql").write_text("SELECT 2")
    (versions / "0001_first_one.sql").write_text("SELECT 1")
    first, second = migrations()
    assert (first.version, first.name, second.version) == (1, "first_one", 2)
    assert first.checksum != second.checksum
    assert len(first.checksum) == 64


@pytest.mark.parametrize("name", ["1_short.sql", "0001.sql", "0001-dash.sql", "0001_Upper.sql", "new.sql"])
def test_a_file_without_a_proper_name_is_refused(versions: Path, name: str) -> None:
    (versions / name).write_text("SELECT 1")
    with pytest.raises(MigrationError, match="named like"):
        migrations()


@pytest.mark.parametrize("numbers", [(2,), (1, 3), (0, 1), (1, 1)])
def test_a_gap_or_a_number_given_twice_is_refused(versions: Path, numbers: tuple[int, ...]) -> None:
    for place, number in enumerate(numbers):
        (versions / f"{number:04d}_step_{place}.sql").write_text("SELECT 1")
    with pytest.raises(MigrationError, match="without a gap"):
        migrations()


# Applying ------------------------------------------------------------------------------------------


@pytest.mark.services
def test_an_empty_database_becomes_the_committed_schema_and_stays_so(empty_url: str) -> None:
    steps: list[str] = []
    assert migration_state(empty_url).pending == NEWEST
    assert apply_migrations(empty_url, role_passwords={}, on_step=steps.append) == NEWEST
    assert steps[0] == "migration 0001 foundation"
    state = migration_state(empty_url)
    assert (state.applied, state.pending, state.unknown, state.changed) == (NEWEST, [], [], [])
    assert schema_snapshot(empty_url) == SNAPSHOT.read_text(encoding="utf-8")
    assert apply_migrations(empty_url, role_passwords={}, on_step=steps.append) == []
    assert len(steps) == len(NEWEST)
    assert schema_snapshot(empty_url) == SNAPSHOT.read_text(encoding="utf-8")


@pytest.mark.services
def test_of_two_that_migrate_at_once_one_waits_and_finds_nothing_to_do(empty_url: str) -> None:
    with ThreadPoolExecutor(max_workers=3) as pool:
        runs = [pool.submit(apply_migrations, empty_url, role_passwords={}) for _ in range(3)]
        done = sorted(run.result(timeout=60) for run in runs)
    assert done == [[], [], NEWEST]


@pytest.mark.services
def test_a_migration_that_fails_leaves_nothing_of_itself_behind(empty_url: str, versions: Path) -> None:
    (versions / "0001_good.sql").write_text("CREATE TABLE good (i int)")
    bad = versions / "0002_bad.sql"
    bad.write_text("CREATE TABLE half (i int); SELECT 1 / 0")
    with pytest.raises(psycopg2.errors.DivisionByZero):
        apply_migrations(empty_url, role_passwords={})
    assert migration_state(empty_url).applied == [1]
    assert _execute(empty_url, "SELECT to_regclass('good') IS NULL, to_regclass('half') IS NULL") == [
        (False, True)
    ]
    bad.write_text("CREATE TABLE whole (i int)")
    assert apply_migrations(empty_url, role_passwords={}) == [2]


@pytest.mark.services
def test_a_file_that_was_changed_after_it_was_applied_is_refused(empty_url: str, versions: Path) -> None:
    file = versions / "0001_good.sql"
    file.write_text("CREATE TABLE good (i int)")
    apply_migrations(empty_url, role_passwords={})
    file.write_text("CREATE TABLE good (i bigint)")
    with pytest.raises(MigrationError, match="0001 was changed"):
        apply_migrations(empty_url, role_passwords={})
    assert migration_state(empty_url).changed == [1]


@pytest.mark.services
def test_a_newer_database_is_refused(empty_url: str, versions: Path) -> None:
    (versions / "0001_good.sql").write_text("SELECT 1")
    apply_migrations(empty_url, role_passwords={})
    _execute(empty_url, "INSERT INTO schema_migrations (version, name, checksum) VALUES (7, 'later', 'x')")
    with pytest.raises(MigrationError, match="newer program"):
        apply_migrations(empty_url, role_passwords={})
    assert migration_state(empty_url).unknown == [7]


# Roles ---------------------------------------------------------------------------------------------


@pytest.fixture
def plain_owner_url(server_url: str, empty_url: str) -> Iterator[str]:
    """The empty database as an owner who may not create roles."""
    name = f"tests_owner_{secrets.token_hex(4)}"
    role = sql.Identifier(name)
    database = sql.Identifier(urlsplit(empty_url).path[1:])
    _execute(server_url, sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'plain'").format(role))
    _execute(server_url, sql.SQL("GRANT {} TO CURRENT_USER").format(role))
    _execute(server_url, sql.SQL("ALTER DATABASE {} OWNER TO {}").format(database, role))
    parts = urlsplit(empty_url)
    yield urlunsplit(parts._replace(netloc=f"{name}:plain@{parts.netloc.rpartition('@')[2]}"))
    _execute(empty_url, sql.SQL("REASSIGN OWNED BY {} TO CURRENT_USER").format(role))
    _execute(empty_url, sql.SQL("DROP OWNED BY {}").format(role))
    _execute(server_url, sql.SQL("ALTER DATABASE {} OWNER TO CURRENT_USER").format(database))
    _execute(server_url, sql.SQL("DROP ROLE {}").format(role))


@pytest.mark.services
def test_a_missing_role_is_explained_to_an_owner_who_may_not_create_it(
    plain_owner_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = f"tests_missing_{secrets.token_hex(4)}"
    monkeypatch.setattr(runner, "ROLES", {missing: "LOGIN NOBYPASSRLS"})
    with pytest.raises(MigrationError, match=f"CREATE ROLE {missing} LOGIN NOBYPASSRLS") as refused:
        apply_migrations(plain_owner_url, role_passwords={missing: "never-shown-password"})
    assert "never-shown-password" not in str(refused.value)
    assert migration_state(plain_owner_url).applied == []


@pytest.mark.services
def test_an_owner_who_may_not_create_roles_migrates_with_those_that_exist(plain_owner_url: str) -> None:
    assert apply_migrations(plain_owner_url, role_passwords={"iiot_app": "not used"}) == NEWEST


@pytest.mark.services
def test_a_role_is_created_once_and_its_password_follows_the_settings(
    server_url: str, empty_url: str, versions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    role, steps = f"tests_role_{secrets.token_hex(4)}", list[str]()
    monkeypatch.setattr(runner, "ROLES", {role: "LOGIN NOBYPASSRLS"})
    parts = urlsplit(empty_url)
    try:
        for password in ("it's the first", "and the %s second"):
            apply_migrations(empty_url, role_passwords={role: password}, on_step=steps.append)
            connection = psycopg2.connect(
                host=parts.hostname, port=parts.port, dbname=parts.path[1:], user=role, password=password
            )
            connection.close()
        assert steps == [f"database role {role}"]
    finally:
        _execute(server_url, sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role)))
