"""A reader sees the views of its own tenant and nothing else, whatever it sends."""

from __future__ import annotations

import secrets
from contextlib import closing

import psycopg2
import pytest

import administration
from migrations.readers import ReaderRefused, create_reader
from settings import Settings
from storage.pool import SystemDatabase
from tests.grafana.conftest import Ask, drop_roles, signed_in
from tests.grafana.rows import add_busy_hour
from tests.people import Plants

pytestmark = pytest.mark.services

VIEWS = [
    *("devices", "metrics", "telemetry", "latest_values", "rules", "alerts", "alert_events", "dead_letters"),
    "notifications",
]


@pytest.fixture(scope="module", autouse=True)
def working_plants(system_database: SystemDatabase, plants: Plants) -> None:
    """A device with one reading, alerts and all that follows from them, in both plants."""
    for tenant_id, device_id in ((plants.plant_a, "P-101"), (plants.plant_b, "X-9")):
        with system_database.transaction() as cursor:
            for statement in (
                "INSERT INTO devices (tenant_id, device_id, name) VALUES (%(t)s, %(d)s, %(d)s)",
                "INSERT INTO metrics (tenant_id, device_key, name) SELECT tenant_id, device_key, 'flow'"
                " FROM devices WHERE tenant_id = %(t)s",
                "INSERT INTO telemetry (observed_at, value, received_at, ingest_seq, metric_id, tenant_id,"
                " quality) SELECT now(), 1, now(), 1, metric_id, tenant_id, 192 FROM metrics"
                " WHERE tenant_id = %(t)s",
                "INSERT INTO latest_values (metric_id, tenant_id, observed_at, value, quality, received_at)"
                " SELECT metric_id, tenant_id, now(), 1, 192, now() FROM metrics WHERE tenant_id = %(t)s",
            ):
                cursor.execute(statement, {"t": tenant_id, "d": device_id})
        add_busy_hour(system_database, tenant_id)


@pytest.mark.parametrize("view", VIEWS)
def test_each_reader_sees_its_own_rows_only(ask: Ask, view: str) -> None:
    column = {"rules": "rule_id", "notifications": "notification_id"}.get(view, "device_id")
    own, foreign = (set(ask(plant, f"SELECT {column} FROM bi.{view}")) for plant in ("a", "b"))
    assert own
    assert foreign
    if view != "dead_letters":
        assert not own & foreign
    ((count,),) = ask("a", f"SELECT count(*) FROM bi.{view}")
    assert count == {"rules": 2, "alerts": 2, "alert_events": 4, "notifications": 4, "dead_letters": 2}.get(
        view, 1
    )


@pytest.mark.parametrize(
    "statements",
    [
        ["SET app.tenant_id = '{b}'"],
        ["SELECT set_config('app.tenant_id', '{b}', false)"],
        ["RESET ALL"],
        ["RESET SESSION AUTHORIZATION"],
        ["SET row_security = off"],
        ["SET search_path = public, bi"],
        ["BEGIN", "SET LOCAL app.tenant_id = '{b}'"],
        ["SET default_transaction_read_only = off"],
        ["SET ROLE NONE"],
    ],
    ids=" ".join,
)
def test_no_setting_changes_whose_rows_they_are(ask: Ask, plants: Plants, statements: list[str]) -> None:
    said = [statement.format(b=plants.plant_b) for statement in statements]
    assert ask("a", *said, "SELECT device_id FROM bi.telemetry") == [("P-101",)]


def test_a_leaky_function_in_a_filter_sees_no_foreign_row(ask: Ask) -> None:
    # 1 / 0 would fail on the first foreign row if the filter ran before the tenant's.
    query = "SELECT count(*) FROM bi.devices WHERE 1 / CASE device_id WHEN 'X-9' THEN 0 ELSE 1 END = 1"
    assert ask("a", query) == [(1,)]


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM public.devices",
        "SELECT * FROM public.users",
        "SELECT * FROM public.telemetry_default",
        "SELECT * FROM bi.readers",
        "SELECT * FROM pg_authid",
        "UPDATE bi.devices SET name = 'x'",
        "DELETE FROM bi.rules",
        "INSERT INTO bi.readers VALUES (session_user, 2)",
        "CREATE TABLE public.mine (a integer)",
        "CREATE VIEW bi.mine AS SELECT 1",
        "SELECT pg_read_file('/etc/passwd')",
        "COPY (SELECT 1) TO PROGRAM 'cat'",
        "COPY (SELECT 1) TO '/tmp/out'",
        "CREATE EXTENSION dblink",
        "SELECT lo_import('/etc/passwd')",
        "SET ROLE iiot_app",
        "SET SESSION AUTHORIZATION iiot_system",
        "ALTER ROLE iiot_app PASSWORD 'x'",
        "CREATE ROLE mine",
        "SELECT public.ensure_telemetry_partitions(current_date, current_date)",
        "ALTER SYSTEM SET work_mem = '1GB'",
    ],
)
@pytest.mark.parametrize(
    "first", ["SELECT 1", "SET default_transaction_read_only = off"], ids=["as is", "writing"]
)
def test_nothing_else_is_allowed(ask: Ask, first: str, statement: str) -> None:
    refusals = (psycopg2.errors.InsufficientPrivilege, psycopg2.errors.ReadOnlySqlTransaction)
    missing = (psycopg2.errors.FeatureNotSupported, psycopg2.errors.ObjectNotInPrerequisiteState)
    with pytest.raises((*refusals, *missing)):
        ask("a", first, statement)


def test_statements_of_readers_end_in_time(ask: Ask) -> None:
    assert ask("a", "SHOW statement_timeout") == [("10s",)]
    with pytest.raises(psycopg2.errors.QueryCanceled):
        ask("a", "SET statement_timeout = '50ms'", "SELECT pg_sleep(30)")


def test_every_view_asks_for_the_tenant_itself(owner_url: str) -> None:
    """The owner may be exempt from row-level security, so each view must hold on its own."""
    with closing(psycopg2.connect(owner_url)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname, pg_get_viewdef(oid), reloptions FROM pg_class"
            " WHERE relnamespace = 'bi'::regnamespace AND relkind IN ('v', 'm') ORDER BY 1"
        )
        views = cursor.fetchall()
    assert [name for name, _, _ in views] == sorted(VIEWS)
    for name, text, options in views:
        assert "tenant_id = ( SELECT bi.tenant_id() AS tenant_id)" in text, name
        assert options == ["security_barrier=true"], name


def test_payloads_and_people_are_in_no_view(ask: Ask) -> None:
    rows = ask(
        "a", "SELECT column_name::text FROM information_schema.columns WHERE table_schema = 'bi' ORDER BY 1"
    )
    names = {str(name) for (name,) in rows}
    assert not names & {"payload", "body", "email", "actor", "password_hash", "acknowledged_by", "tenant_id"}


@pytest.mark.parametrize(
    "role", ["iiot_app", "iiot_system", "iiot_owner", "pg_monitor", "Reader", "a-b", "", "x" * 64, '"; DROP']
)
def test_a_login_that_is_not_a_readers_is_left_alone(owner_url: str, plants: Plants, role: str) -> None:
    with pytest.raises(ReaderRefused):
        create_reader(owner_url, role=role, tenant_id=plants.plant_a, password="x")


def test_a_reader_stays_with_its_tenant(owner_url: str, plants: Plants, readers: dict[str, str]) -> None:
    role = readers["a"].partition("//")[2].partition(":")[0]
    with pytest.raises(ReaderRefused):
        create_reader(owner_url, role=role, tenant_id=plants.plant_b, password="x")


def test_the_command_makes_a_login_and_shows_its_password_once(
    settings: Settings, owner_url: str, plants: Plants, capsys: pytest.CaptureFixture[str]
) -> None:
    role = f"reader_c_{secrets.token_hex(4)}"
    assert administration.create_reader(settings, name=role, tenant="plant-a") == 0
    password = capsys.readouterr().out.split()[-1]
    url = signed_in(owner_url, role, password)
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT device_id FROM bi.devices")
        assert cursor.fetchall() == [("P-101",)]
    drop_roles(owner_url, {role: plants.plant_a})
    assert administration.create_reader(settings, name=role, tenant="plant-z") == 2
    assert administration.create_reader(settings, name="iiot_app", tenant="plant-a") == 2
