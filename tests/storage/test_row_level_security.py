"""The catalogue decides: every tenant's rows are behind forced row-level security, and nobody is exempt."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import psycopg2
import pytest
from psycopg2 import sql

from storage.pool import AppDatabase, SystemDatabase
from tests.people import Plants

pytestmark = pytest.mark.services

# Rows that belong to no tenant: versions of the schema, and message ids of the platform's own session.
PLATFORM_TABLES = {"schema_migrations", "ingest_inbox"}
# Its key is unique over all tenants by metric_id, so that the index every reading pays for stays small.
KEYS_WITHOUT_TENANT = {"telemetry", "latest_values"}

Rows = list[tuple[object, ...]]


@pytest.fixture(scope="module")
def catalogue(owner_url: str, system_database: SystemDatabase) -> Iterator[psycopg2.extensions.cursor]:
    """A cursor of the owner, after a few daily partitions were made."""
    with system_database.transaction() as cursor:
        cursor.execute("SELECT ensure_telemetry_partitions(current_date - 1, current_date + 1)")
    with closing(psycopg2.connect(owner_url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            yield cursor


def _rows(cursor: psycopg2.extensions.cursor, query: str, *params: object) -> Rows:
    cursor.execute(query, params)
    return cursor.fetchall()


def _tenant_tables(cursor: psycopg2.extensions.cursor) -> list[str]:
    rows = _rows(
        cursor,
        "SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
        " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition"
        " AND a.attname = 'tenant_id' AND NOT a.attisdropped ORDER BY 1",
    )
    return [str(name) for (name,) in rows]


def test_every_table_is_a_tenants_or_named_here_as_the_platforms(
    catalogue: psycopg2.extensions.cursor,
) -> None:
    rows = _rows(
        catalogue,
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        " AND relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT relispartition",
    )
    assert {name for (name,) in rows} == set(_tenant_tables(catalogue)) | PLATFORM_TABLES


def test_every_tenant_table_forces_its_policy(catalogue: psycopg2.extensions.cursor) -> None:
    for table in _tenant_tables(catalogue):
        ((enabled, forced),) = _rows(
            catalogue,
            "SELECT relrowsecurity, relforcerowsecurity FROM pg_class WHERE oid = %s::regclass",
            table,
        )
        assert (enabled, forced) == (True, True), table
        policies = _rows(
            catalogue,
            "SELECT polname, polpermissive, polcmd, pg_get_expr(polqual, polrelid),"
            " pg_get_expr(polwithcheck, polrelid) FROM pg_policy WHERE polrelid = %s::regclass ORDER BY 1",
            table,
        )
        rule = "(tenant_id = ( SELECT current_tenant_id() AS current_tenant_id))"
        isolation = ("tenant_isolation", True, "*", rule, rule)
        # Only for the owner, whose views readers see; tests/grafana asks what readers can see.
        for_views = ("reader_views", True, "r", "(tenant_id = ( SELECT bi.tenant_id() AS tenant_id))", None)
        assert policies in ([isolation], [for_views, isolation]), table


def test_partitions_are_closed_and_carry_no_grants(catalogue: psycopg2.extensions.cursor) -> None:
    partitions = _rows(
        catalogue,
        "SELECT relname, relrowsecurity, relforcerowsecurity FROM pg_class"
        " WHERE relispartition AND relkind = 'r'",
    )
    assert len(partitions) == 4
    for name, enabled, forced in partitions:
        assert (enabled, forced) == (True, True), name
        granted = _rows(
            catalogue,
            "SELECT grantee, privilege_type FROM information_schema.table_privileges"
            " WHERE table_name = %s AND grantee <> current_user",
            name,
        )
        # The system role looks for strays; it sees all tenants anyway.
        allowed = [("iiot_system", "SELECT")] if name == "telemetry_default" else []
        assert granted == allowed, name


def test_keys_lead_with_the_tenant_or_are_generated(catalogue: psycopg2.extensions.cursor) -> None:
    """A unique key over a value that people choose, without the tenant, would tell what others have."""
    rows = _rows(
        catalogue,
        "SELECT t.relname, i.relname, pg_get_indexdef(x.indexrelid, 1, true) FROM pg_index x"
        " JOIN pg_class t ON t.oid = x.indrelid JOIN pg_class i ON i.oid = x.indexrelid"
        " JOIN pg_attribute a ON a.attrelid = t.oid AND a.attname = 'tenant_id'"
        " WHERE x.indisunique AND NOT t.relispartition AND t.relnamespace = 'public'::regnamespace",
    )
    generated = {"user_id", "role_id", "key_id", "audit_id", "device_key", "metric_id", "dead_letter_id"}
    generated |= {"device_event_id", "rule_id", "alert_id", "alert_event_id", "notification_id", "prefix"}
    generated |= {"credential_id"}
    for table, index, first in rows:
        if table in KEYS_WITHOUT_TENANT or (table == "tenants" and first == "slug"):
            continue
        assert first in {"tenant_id", "COALESCE(tenant_id, 0)"} | generated, f"{index} on {table}"


def test_references_between_tenant_rows_carry_the_tenant(catalogue: psycopg2.extensions.cursor) -> None:
    rows = _rows(
        catalogue,
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'f'"
        " AND confrelid <> 'tenants'::regclass AND conparentid = 0",
    )
    assert len(rows) >= 10
    for name, definition in rows:
        assert str(definition).startswith("FOREIGN KEY (tenant_id, "), name


def test_the_roles_are_what_the_policies_count_on(catalogue: psycopg2.extensions.cursor) -> None:
    rows = _rows(
        catalogue,
        "SELECT rolname, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication FROM pg_roles"
        " WHERE rolname IN ('iiot_app', 'iiot_system') ORDER BY 1",
    )
    assert rows == [
        ("iiot_app", False, False, False, False, False),
        ("iiot_system", False, True, False, False, False),
    ]
    owned = _rows(
        catalogue,
        "SELECT relname FROM pg_class WHERE pg_get_userbyid(relowner) IN ('iiot_app', 'iiot_system')",
    )
    assert owned == []
    member_of = _rows(
        catalogue,
        "SELECT 1 FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member"
        " WHERE r.rolname IN ('iiot_app', 'iiot_system')",
    )
    assert member_of == []


def test_nobody_may_truncate_or_rewrite_history(catalogue: psycopg2.extensions.cursor) -> None:
    rows = _rows(
        catalogue,
        "SELECT grantee, table_name, privilege_type FROM information_schema.table_privileges"
        " WHERE grantee IN ('iiot_app', 'iiot_system', 'PUBLIC') AND table_schema = 'public'",
    )
    granted = set(rows)
    assert not {item for item in granted if item[2] in {"TRUNCATE", "TRIGGER", "REFERENCES"}}
    assert not {item for item in granted if item[0] == "PUBLIC"}
    for table in ("audit_logs", "alert_events"):
        changing = {item for item in granted if item[1] == table and item[2] in {"UPDATE", "DELETE"}}
        assert changing == set(), table


@pytest.fixture(scope="module")
def filled(system_database: SystemDatabase, plants: Plants, owner_url: str) -> list[str]:
    """At least one row of plant A in every tenant table; their names."""
    tenant = {"t": plants.plant_a, "u": plants.user_ids["alice"]}
    inserts = [
        (
            "INSERT INTO api_keys (tenant_id, user_id, name, prefix, key_hash)"
            " VALUES (%(t)s, %(u)s, 'k', 'p', sha256('x'))"
        ),
        "INSERT INTO audit_logs (tenant_id, actor, action) VALUES (%(t)s, 'alice', 'login')",
        "INSERT INTO sessions (tenant_id, user_id, expires_at) VALUES (%(t)s, %(u)s, 'infinity')",
        "INSERT INTO devices (tenant_id, device_id, name) VALUES (%(t)s, 'D', 'D')",
        (
            "INSERT INTO commands (tenant_id, command_id, device_key, name, params, created_at, created_by,"
            " expires_at, next_attempt_at) SELECT tenant_id, gen_random_uuid(), device_key, 'start', '{}',"
            " now(), 'alice', now() + interval '1 minute', now() FROM devices"
        ),
        (
            "INSERT INTO device_credentials (tenant_id, device_key, secret_sha256, created_by)"
            " SELECT tenant_id, device_key, sha256('x'), 'alice' FROM devices"
        ),
        "INSERT INTO metrics (tenant_id, device_key, name) SELECT tenant_id, device_key, 'm' FROM devices",
        (
            "INSERT INTO telemetry (observed_at, value, received_at, ingest_seq, metric_id, tenant_id,"
            " quality) SELECT now(), 1, now(), 1, metric_id, tenant_id, 192 FROM metrics"
        ),
        (
            "INSERT INTO latest_values (metric_id, tenant_id, observed_at, value, quality, received_at)"
            " SELECT metric_id, tenant_id, now(), 1, 192, now() FROM metrics"
        ),
        (
            "INSERT INTO dead_letters (tenant_id, source, topic, reason, detail, payload, payload_bytes,"
            " fingerprint, received_at, last_received_at)"
            " VALUES (%(t)s, 'mqtt', 't', 'r', 'd', 'p', 1, sha256('x'), now(), now())"
        ),
        (
            "INSERT INTO device_events (tenant_id, device_key, kind, payload, fingerprint, received_at)"
            " SELECT tenant_id, device_key, 'alert', '{}', sha256('x'), now() FROM devices"
        ),
        "INSERT INTO rules (tenant_id, name, severity, condition) VALUES (%(t)s, 'r', 'high', '{}')",
        (
            "INSERT INTO alerts (tenant_id, device_key, severity, message, raised_at)"
            " SELECT tenant_id, device_key, 'high', 'm', now() FROM devices"
        ),
        (
            "INSERT INTO alert_events (tenant_id, alert_id, kind, observed_at)"
            " SELECT tenant_id, alert_id, 'raised', now() FROM alerts"
        ),
        (
            "INSERT INTO notification_outbox (tenant_id, alert_event_id, channel_id, body)"
            " SELECT tenant_id, alert_event_id, gen_random_uuid(), 'b' FROM alert_events"
        ),
    ]
    with system_database.transaction() as cursor:
        for insert in inserts:
            cursor.execute(insert, tenant)
    with closing(psycopg2.connect(owner_url)) as connection, connection.cursor() as cursor:
        tables = _tenant_tables(cursor)
        for table in tables:
            assert _count(cursor, table) > 0, f"fill {table} here, so that hiding it is seen"
    return tables


def _count(cursor: psycopg2.extensions.cursor, table: str) -> int:
    cursor.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table)))
    ((count,),) = cursor.fetchall()
    return int(count)


def _visible(database: AppDatabase, tables: list[str], tenant_id: int) -> dict[str, int]:
    with database.tenant(tenant_id) as cursor:
        return {table: _count(cursor, table) for table in tables}


def test_without_a_tenant_every_table_is_empty(app_database: AppDatabase, filled: list[str]) -> None:
    with app_database._pool.connection() as connection, connection.cursor() as cursor:
        # Both as a new connection has it, and as the end of a transaction leaves it behind.
        for table in filled * 2:
            assert _count(cursor, table) == 0, table
            cursor.execute("SELECT set_config('app.tenant_id', '1', true)")


def test_a_tenant_sees_its_own_rows_and_no_others(
    app_database: AppDatabase, filled: list[str], plants: Plants
) -> None:
    own = _visible(app_database, filled, plants.plant_a)
    assert all(own.values()), own
    foreign = _visible(app_database, filled, plants.plant_b)
    people = {"tenants", "users", "roles", "user_roles"}
    assert {table for table, count in foreign.items() if count} == people
    assert _visible(app_database, filled, 10_000) == dict.fromkeys(filled, 0)


def test_rows_of_another_tenant_cannot_be_written(
    app_database: AppDatabase, filled: list[str], plants: Plants
) -> None:
    def write() -> None:
        with app_database.tenant(plants.plant_b) as cursor:
            cursor.execute(
                "INSERT INTO devices (tenant_id, device_id, name) VALUES (%s, 'theirs', 'x')",
                (plants.plant_a,),
            )

    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        write()
    with app_database.tenant(plants.plant_b) as cursor:
        cursor.execute("UPDATE devices SET name = 'taken over'")
        assert cursor.rowcount == 0


def test_a_partition_cannot_be_read_directly(
    app_database: AppDatabase, filled: list[str], plants: Plants
) -> None:
    def read() -> None:
        app_database.read(plants.plant_a, "SELECT count(*) FROM telemetry_default", {})

    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        read()
