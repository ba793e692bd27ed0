"""What `check` finds: nothing where all is well, and the remedy for what is not."""

from __future__ import annotations

import io
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
from psycopg2 import sql

from doctor import Finding, Level, examine, findings
from doctor.database import check_roles
from doctor.machine import check_console, check_disk, check_secrets
from doctor.services import check_broker, check_encryption, check_redis
from settings import Settings, load_settings, password_of
from storage.inspection import inspection
from storage.pool import SystemDatabase
from storage.telemetry import ensure_partitions
from tests.databases import database_url, drop_database

SettingsFactory = Callable[..., Settings]

OFFLINE = {
    "DATABASE_URL": "postgresql://owner:a-database-password@localhost:9/iiot",
    "REDIS_URL": "redis://:a-redis-password@localhost:9",
    "MQTT_URL": "mqtt://platform:a-broker-password@localhost:9",
    "IIOT_SECRET_KEY": "tests-only-0123456789-abcdefghijklmnop",
}
PRODUCTION = {**OFFLINE, "IIOT_ENV": "production", "IIOT_METRICS_TOKEN": "a-token"}


def worst(found: Iterator[Finding], name: str) -> Finding:
    """The most serious finding of that name."""
    order = list(Level)
    return max((item for item in found if item.name == name), key=lambda item: order.index(item.level))


def report_of(settings: Settings, folder: Path) -> tuple[int, str]:
    output = io.StringIO()
    return examine(settings, output=output, folder=folder), output.getvalue()


@pytest.fixture
def partitions(system_database: SystemDatabase, settings: Settings) -> None:
    today = datetime.now(UTC).date()
    with system_database.transaction() as cursor:
        ensure_partitions(cursor, today, today + timedelta(days=settings.ingest.partitions_ahead_days))


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that belongs to somebody who does not listen."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def in_url(url: str, *, password: str | None = None, port: int | None = None) -> str:
    parts = urlsplit(url)
    login = f"{parts.username or ''}:{password or parts.password or ''}"
    return urlunsplit(parts._replace(netloc=f"{login}@{parts.hostname}:{port or parts.port}"))


@pytest.mark.services
@pytest.mark.usefixtures("partitions", "redis_url", "mqtt_url")
def test_a_good_installation_passes(settings: Settings, tmp_path: Path) -> None:
    code, report = report_of(settings, tmp_path)
    assert "FAIL  " not in report
    assert code == 0
    for name in (
        "migrations",
        "roles",
        "grants",
        "row-level security",
        "login",
        "partitions",
        "broker session",
    ):
        assert f"OK    {name}: " in report


@pytest.mark.services
def test_an_owner_with_a_wrong_password_is_named_without_the_password(
    make_settings: SettingsFactory, owner_url: str, tmp_path: Path
) -> None:
    settings = make_settings(DATABASE_URL=in_url(owner_url, password="not-the-owner's"))
    code, report = report_of(settings, tmp_path)
    assert code == 1
    assert "FAIL  database: PostgreSQL: " in report
    assert "correct DATABASE_URL" in report
    assert "not-the-owner" not in report


@pytest.mark.services
def test_a_role_with_a_wrong_password_names_its_variable(
    make_settings: SettingsFactory, settings: Settings
) -> None:
    wrong = in_url(settings.app_database_url, password="wrong")
    found = worst(findings(make_settings(IIOT_APP_DATABASE_URL=wrong)), "login")
    assert found.level is Level.FAIL
    assert "IIOT_APP_DATABASE_URL" in found.remedy


@pytest.mark.services
def test_a_fresh_database_lacks_its_migrations(
    make_settings: SettingsFactory, server_url: str, template_database: str
) -> None:
    name = f"{template_database}_fresh"
    with inspection(server_url, timeout_s=10) as cursor:
        cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    try:
        found = worst(findings(make_settings(DATABASE_URL=database_url(server_url, name))), "migrations")
    finally:
        drop_database(server_url, name)
    assert found.level is Level.FAIL
    assert "0001" in found.text
    assert "migrate" in found.remedy


@pytest.mark.services
def test_a_migration_that_was_changed_or_is_unknown_is_found(settings: Settings, owner_url: str) -> None:
    with inspection(owner_url, timeout_s=10) as cursor:
        cursor.execute("UPDATE schema_migrations SET checksum = 'other' WHERE version = 1 RETURNING 1")
        cursor.execute("INSERT INTO schema_migrations (version, name, checksum) VALUES (9999, 'later', '')")
        found = [item for item in findings(settings) if item.name == "migrations"]
        cursor.execute("DELETE FROM schema_migrations WHERE version = 9999")
    assert [item.level for item in found] == [Level.FAIL, Level.FAIL]
    assert ["9999" in found[0].text, "0001 changed" in found[1].text] == [True, True]


@pytest.mark.services
@pytest.mark.parametrize(
    ("spoil", "remedy"),
    [
        ("REVOKE INSERT ON audit_logs FROM iiot_app", "GRANT INSERT ON audit_logs TO iiot_app;"),
        ("GRANT DELETE ON telemetry TO iiot_app", "REVOKE DELETE ON telemetry FROM iiot_app;"),
        (
            "REVOKE USAGE ON SEQUENCE ingest_batch_seq FROM iiot_system",
            "GRANT USAGE ON ingest_batch_seq TO iiot_system;",
        ),
    ],
)
def test_the_remedy_for_wrong_grants_puts_them_right(
    settings: Settings, owner_url: str, spoil: str, remedy: str
) -> None:
    with inspection(owner_url, timeout_s=10) as cursor:
        cursor.execute(spoil)
        found = worst(findings(settings), "grants")
        assert (found.level, found.remedy.splitlines()[1:]) == (Level.FAIL, [remedy])
        cursor.execute(remedy)
        assert worst(findings(settings), "grants").level is Level.OK


@pytest.mark.services
@pytest.mark.parametrize(
    ("spoil", "text", "remedy"),
    [
        (
            "ALTER ROLE iiot_app BYPASSRLS",
            "iiot_app bypasses",
            "ALTER ROLE iiot_app NOSUPERUSER LOGIN NOBYPASSRLS;",
        ),
        (
            "ALTER ROLE iiot_app NOLOGIN",
            "may not log in",
            "ALTER ROLE iiot_app NOSUPERUSER LOGIN NOBYPASSRLS;",
        ),
        (
            "ALTER ROLE iiot_system NOBYPASSRLS",
            "iiot_system does not bypass",
            "ALTER ROLE iiot_system NOSUPERUSER LOGIN BYPASSRLS;",
        ),
        (
            "CREATE ROLE iiot_plain; GRANT iiot_plain TO CURRENT_USER; SET LOCAL ROLE iiot_plain",
            "iiot_plain, the owner, obeys",
            "ALTER ROLE iiot_plain BYPASSRLS;",
        ),
        (
            "ALTER ROLE iiot_app RENAME TO iiot_forgotten",
            "iiot_app does not exist",
            "CREATE ROLE iiot_app LOGIN NOBYPASSRLS PASSWORD '...';",
        ),
    ],
)
def test_a_role_with_wrong_attributes_gets_its_statement(
    owner_url: str, spoil: str, text: str, remedy: str
) -> None:
    with inspection(owner_url, timeout_s=10) as cursor:
        cursor.execute("BEGIN")  # Roles belong to all databases of the server: nobody else may see this.
        cursor.execute(spoil)
        found = worst(check_roles(cursor), "roles")
        cursor.execute("ROLLBACK")
    assert found.level is not Level.OK
    assert text in found.text
    assert remedy in found.remedy


@pytest.mark.services
def test_a_table_without_forced_row_security_is_found(settings: Settings, owner_url: str) -> None:
    with inspection(owner_url, timeout_s=10) as cursor:
        cursor.execute("ALTER TABLE devices NO FORCE ROW LEVEL SECURITY")
        found = worst(findings(settings), "row-level security")
        cursor.execute("ALTER TABLE devices FORCE ROW LEVEL SECURITY")
    assert found.level is Level.FAIL
    assert "table devices" in found.text


@pytest.mark.services
def test_a_reading_in_the_default_partition_is_counted(
    settings: Settings, system_database: SystemDatabase
) -> None:
    with system_database.transaction() as cursor:
        cursor.execute(
            "INSERT INTO telemetry"
            " (metric_id, tenant_id, observed_at, received_at, value, quality, ingest_seq)"
            " VALUES (1, 1, '1999-12-31T00:00Z', now(), 1, 192, 1)"
        )
    found = worst(findings(settings), "partitions")
    assert found.level is Level.WARN


@pytest.mark.services
def test_redis_and_broker_that_do_not_listen(make_settings: SettingsFactory, closed_port: int) -> None:
    settings = make_settings(
        REDIS_URL=f"redis://:x@127.0.0.1:{closed_port}", MQTT_URL=f"mqtt://x:y@127.0.0.1:{closed_port}"
    )
    assert worst(check_redis(settings), "Redis").level is Level.WARN
    assert worst(check_broker(settings), "broker").level is Level.FAIL


@pytest.mark.services
def test_redis_and_broker_with_wrong_passwords(
    make_settings: SettingsFactory, redis_url: str, mqtt_url: str
) -> None:
    settings = make_settings(
        REDIS_URL=in_url(redis_url, password="wrong"), MQTT_URL=in_url(mqtt_url, password="wrong")
    )
    assert "password" in worst(check_redis(settings), "Redis").text
    assert "refused" in worst(check_broker(settings), "broker").text


@pytest.mark.services
@pytest.mark.usefixtures("redis_url", "mqtt_url")
def test_no_secret_is_printed(settings: Settings, tmp_path: Path) -> None:
    _, report = report_of(settings, tmp_path)
    urls = [settings.database.owner_url, settings.redis.url, settings.mqtt.url]
    passwords = [password_of(url.get_secret_value()) for url in urls]
    passwords += [password_of(settings.app_database_url), settings.access.secret_key.get_secret_value()]
    assert all(passwords)
    assert not [password for password in passwords if password in report]


def test_everything_away_is_reported_and_not_raised(tmp_path: Path) -> None:
    code, report = report_of(load_settings(OFFLINE), tmp_path)
    assert code == 1
    assert [line.split(":")[0] for line in report.splitlines() if line.startswith("FAIL")] == [
        "FAIL  database",
        "FAIL  broker",
    ]
    assert "\x1b" not in report
    assert "a-database-password" not in report


def test_a_secrets_file_that_others_can_read(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    path.write_text("{}", encoding="utf-8")
    path.chmod(0o644)
    found = worst(check_secrets(load_settings(OFFLINE), tmp_path), "secrets file")
    assert (found.level, found.remedy) == (Level.FAIL, f"chmod 600 {path}")
    path.chmod(0o600)
    assert worst(check_secrets(load_settings(OFFLINE), tmp_path), "secrets file").level is Level.OK


def test_a_console_without_its_packages(tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text('{"dependencies": {"htm": "3.1.1"}}', encoding="utf-8")
    found = worst(check_console(tmp_path), "console")
    assert (found.level, found.text) == (Level.FAIL, "console/vendor lacks htm")


@pytest.mark.parametrize(("free", "level"), [(50, Level.OK), (5, Level.WARN), (1, Level.FAIL)])
def test_little_room_on_the_disk(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free: int, level: Level
) -> None:
    usage = type("Usage", (), {"total": 100, "free": free})
    monkeypatch.setattr("doctor.machine.shutil.disk_usage", lambda path: usage)
    assert [item.level for item in check_disk("working folder", tmp_path)] == [level]


@pytest.mark.parametrize(
    ("variables", "level"),
    [
        ({}, Level.OK),
        ({"MQTT_URL": "mqtt://platform:a-broker-password@broker.example.com"}, Level.WARN),
        ({"MQTT_URL": "mqtts://platform:a-broker-password@broker.example.com"}, Level.OK),
        ({"DATABASE_URL": "postgresql://owner:a-database-password@db.example.com/iiot"}, Level.WARN),
        (
            {
                "DATABASE_URL": "postgresql://owner:a-database-password@db.example.com/iiot?sslmode=verify-full"
            },
            Level.OK,
        ),
    ],
)
def test_production_wants_encryption_to_other_machines(variables: dict[str, str], level: Level) -> None:
    found = worst(check_encryption(load_settings({**PRODUCTION, **variables})), "encryption")
    assert found.level is level
