"""Checks of PostgreSQL: server, migrations, roles, rights, partitions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from doctor.finding import Finding, Level
from doctor.machine import check_disk
from doctor.services import is_local
from domain.errors import Unavailable
from migrations import migration_state, schema_snapshot
from migrations.runner import ROLES
from migrations.snapshot import SNAPSHOT
from settings import Settings
from storage.inspection import (
    InspectionRefused,
    ServerFacts,
    inspection,
    missing_partitions,
    role_facts,
    server_facts,
    stray_readings,
    time_zone_count,
)
from storage.pool import Cursor

OLDEST_POSTGRES = 14
_TIMEOUT_S = 5
_CLOCK_LIMIT_S = 2.0
_GRANT = re.compile(r"^grant (\S+) on (\S+) to (\S+)$", re.MULTILINE)


def check_database(settings: Settings) -> Iterator[Finding]:
    """Server, migrations, roles, rights, logins and partitions, as far as the database can be reached."""
    owner_url = settings.database.owner_url.get_secret_value()
    try:
        with inspection(owner_url, timeout_s=_TIMEOUT_S) as cursor:
            yield from _server(settings, server_facts(cursor))
            yield from _server_time_zones(cursor)
            state = migration_state(owner_url)
            yield from _migrations(state.pending, state.unknown, state.changed)
            yield from check_roles(cursor)
            if not (state.pending or state.unknown):
                yield from _rights(schema_snapshot(owner_url))
    except InspectionRefused as error:
        remedy = "Give DATABASE_URL the role that owns the tables."
        yield Finding(Level.FAIL, "database", error.detail, remedy)
        return
    except Unavailable as error:
        remedy = "Start PostgreSQL, or correct DATABASE_URL (user, password, host, port, database)."
        yield Finding(Level.FAIL, "database", error.detail, remedy)
        return
    yield from _logins(settings, has_tables=not state.pending)


def _server(settings: Settings, server: ServerFacts) -> Iterator[Finding]:
    offset_s = abs((datetime.now(UTC) - server.now).total_seconds())
    if server.major_version < OLDEST_POSTGRES:
        remedy = f"Upgrade it to PostgreSQL {OLDEST_POSTGRES} or newer."
        yield Finding(Level.FAIL, "database", f"PostgreSQL {server.version_text} is too old", remedy)
    else:
        yield Finding(Level.OK, "database", f"PostgreSQL {server.version_text} answers")
    pools = settings.database.app_pool_size + settings.database.system_pool_size
    text = f"{server.connections} allowed, up to {pools} used by the pools"
    if pools >= server.connections:
        remedy = "Raise max_connections, or lower IIOT_DATABASE_APP_POOL_SIZE."
        yield Finding(Level.WARN, "connections", text, remedy)
    else:
        yield Finding(Level.OK, "connections", text)
    text = f"{offset_s:.1f} s between the database's and ours"
    if offset_s > _CLOCK_LIMIT_S:
        yield Finding(Level.WARN, "clock", text, "Run a time service (NTP) on both machines.")
    else:
        yield Finding(Level.OK, "clock", text)
    if server.data_directory is not None and is_local(settings.database.owner_url.get_secret_value()):
        yield from check_disk("database", Path(server.data_directory))


def _server_time_zones(cursor: Cursor) -> Iterator[Finding]:
    count = time_zone_count(cursor)
    if count < 100:
        remedy = "Install the tzdata package on the database's machine."
        yield Finding(Level.WARN, "time zones", f"PostgreSQL knows {count}", remedy)


def _migrations(pending: list[int], unknown: list[int], changed: list[int]) -> Iterator[Finding]:
    if unknown:
        text = f"the database has {_numbers(unknown)}, which this program does not know"
        remedy = "Start the newer program, or restore a backup made before its migration."
        yield Finding(Level.FAIL, "migrations", text, remedy)
    if changed:
        text = f"{_numbers(changed)} changed after being applied"
        yield Finding(
            Level.FAIL, "migrations", text, "Restore the released file; add a new migration instead."
        )
    if pending:
        text = f"{_numbers(pending)} not applied yet"
        yield Finding(Level.FAIL, "migrations", text, "Run `./run migrate` (python app_advanced.py migrate).")
    if not (unknown or changed or pending):
        yield Finding(Level.OK, "migrations", "all applied, none unknown, none changed")


def _numbers(versions: list[int]) -> str:
    return "migration " + ", ".join(f"{version:04d}" for version in versions)


def check_roles(cursor: Cursor) -> Iterator[Finding]:
    """Whether the roles exist with the attributes that isolate tenants."""
    found = role_facts(cursor, list(ROLES))
    for name, attributes in ROLES.items():
        role = found.get(name)
        wanted = name == "iiot_system"
        if role is None:
            remedy = (
                "Run `./run migrate` with an owner that may create roles, or as an administrator:\n"
                f"CREATE ROLE {name} {attributes} PASSWORD '...';"
            )
            yield Finding(Level.FAIL, "roles", f"{name} does not exist", remedy)
            continue
        problems = [
            text
            for text, is_wrong in (
                ("may not log in", not role.can_login),
                ("is a superuser", role.is_superuser),
                ("bypasses row-level security", role.bypasses_row_security and not wanted),
                ("does not bypass row-level security", not role.bypasses_row_security and wanted),
            )
            if is_wrong
        ]
        if problems:
            remedy = f"As an administrator of PostgreSQL: ALTER ROLE {name} NOSUPERUSER {attributes};"
            yield Finding(Level.FAIL, "roles", f"{name} {', '.join(problems)}", remedy)
        elif role.owns_tables and not role.is_superuser:
            remedy = (
                f"Use another role as owner, and make {name} no member of it: REVOKE <owner> FROM {name};"
            )
            yield Finding(Level.FAIL, "roles", f"{name} owns the tables or acts for their owner", remedy)
        else:
            verb = "bypasses" if wanted else "obeys"
            yield Finding(Level.OK, "roles", f"{name} {verb} row-level security and owns nothing")
    owner = next(role for role in found.values() if role.is_present)
    if owner.is_superuser or owner.bypasses_row_security:
        yield Finding(Level.OK, "roles", f"{owner.name}, the owner, can dump and move every row")
    else:
        text = f"{owner.name}, the owner, obeys row-level security: it can neither dump nor move stray rows"
        remedy = f"As an administrator of PostgreSQL: ALTER ROLE {owner.name} BYPASSRLS;"
        yield Finding(Level.WARN, "roles", text, remedy)


def _rights(actual: str) -> Iterator[Finding]:
    """Compare grants, policies and row-level security with what the migrations make."""
    expected = SNAPSHOT.read_text(encoding="utf-8")
    wanted, given = _grants(expected), _grants(actual)
    statements = [
        *(f"GRANT {right} ON {relation} TO {role};" for right, relation, role in sorted(wanted - given)),
        *(f"REVOKE {right} ON {relation} FROM {role};" for right, relation, role in sorted(given - wanted)),
    ]
    if statements:
        remedy = "As the owner of the tables:\n" + "\n".join(statements)
        yield Finding(Level.FAIL, "grants", f"{len(statements)} are not as the migrations make them", remedy)
    else:
        yield Finding(Level.OK, "grants", "as the migrations make them")
    lost = [
        line
        for line in sorted(set(expected.splitlines()) - set(actual.splitlines()))
        if line.startswith("policy ") or " row_security=t " in line
    ]
    if lost:
        text = f"not as the migrations make it: {'; '.join(lost)[:500]}"
        remedy = "Put it back as migrations/ has it: until then tenants may see each other's rows."
        yield Finding(Level.FAIL, "row-level security", text, remedy)
    else:
        yield Finding(Level.OK, "row-level security", "on and forced for every tenant's table")


def _grants(snapshot: str) -> set[tuple[str, str, str]]:
    """The (right, relation, role) of the platform's roles in a schema snapshot."""
    return {
        (right, relation, role)
        for rights, relation, role in _GRANT.findall(snapshot)
        for right in rights.split(",")
        if role in ROLES
    }


def _logins(settings: Settings, *, has_tables: bool) -> Iterator[Finding]:
    for name, variable, url in (
        ("iiot_app", "IIOT_APP_DATABASE_URL", settings.app_database_url),
        ("iiot_system", "IIOT_SYSTEM_DATABASE_URL", settings.system_database_url),
    ):
        try:
            with inspection(url, timeout_s=_TIMEOUT_S) as cursor:
                yield Finding(Level.OK, "login", f"{name} can log in")
                if name == "iiot_system" and has_tables:
                    yield from _partitions(settings, cursor)
        except InspectionRefused as error:
            remedy = "Give it the rights that `grants` names above."
            yield Finding(Level.FAIL, "rights", f"{name}: {error.detail}", remedy)
        except Unavailable as error:
            remedy = f"Run `./run migrate`, which sets its password, or give the right URL in {variable}."
            yield Finding(Level.FAIL, "login", f"{name}: {error.detail}", remedy)


def _partitions(settings: Settings, cursor: Cursor) -> Iterator[Finding]:
    today = datetime.now(UTC).date()
    last_day = today + timedelta(days=settings.ingest.partitions_ahead_days)
    missing = missing_partitions(cursor, today, last_day)
    if missing:
        text = f"none for {', '.join(map(str, missing))}"
        remedy = "A running platform makes them when it starts and every hour: start it, or read its log."
        yield Finding(Level.WARN, "partitions", text, remedy)
    else:
        yield Finding(Level.OK, "partitions", f"made up to {last_day}")
    if strays := stray_readings(cursor):
        remedy = "A running platform moves them into daily partitions within the hour."
        yield Finding(Level.WARN, "partitions", f"{strays} readings wait in the default one", remedy)
