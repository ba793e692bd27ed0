"""Every named statement is valid SQL for today's schema, says what it gives, and finds the index it names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from analytics_sql import HERE, Statement, load_statements
from storage.pool import SystemDatabase

pytestmark = pytest.mark.services

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted([*HERE.glob("*.sql"), *(ROOT / "storage" / "sql").glob("*.sql")])
STATEMENTS = [(path, statement) for path in FILES for statement in load_statements(path).values()]

_PARAMETER = re.compile(r"%\((\w+)\)s(?:::(\w+(?: precision)?(?:\[\])?))?")
# What EXPLAIN does not take.
_UTILITY = re.compile(r"\s*(CREATE|COPY|LOCK|SET|TRUNCATE)\b", re.IGNORECASE)

# A value for a parameter: by its name where the name asks for it, else by its cast, else a text.
_BY_NAME: dict[str, object] = {
    "metrics": '[{"name": "flow", "unit": "", "kind": "gauge"}]',
    "start": datetime(2026, 1, 1, tzinfo=UTC),
    "stop": datetime(2026, 1, 2, tzinfo=UTC),
    "tenant_id": 1,
    "limit": 100,
    "metadata": "{}",
    "payload": "{}",
}
_BY_CAST: dict[str, object] = {
    "integer": 1,
    "bigint": 1,
    "smallint": 1,
    "double precision": 1.0,
    "uuid": "00000000-0000-4000-8000-000000000000",
    "date": date(2026, 1, 1),
    "bytea": b"x",
    "text[]": ["x"],
    "integer[]": [1],
    "bigint[]": [1],
    "smallint[]": [1],
    "double precision[]": [1.0],
    "bytea[]": [b"x"],
}


_ROWS = (
    "INSERT INTO tenants (slug, name) SELECT 'tenant-' || i, 'T' FROM generate_series(1, 20) i",
    "INSERT INTO users (tenant_id, email, password_hash)"
    " SELECT tenant_id, i || '@example.com', '' FROM tenants, generate_series(1, 50) i",
    "INSERT INTO roles (tenant_id, name)"
    " SELECT tenant_id, 'role-' || i FROM tenants, generate_series(1, 20) i",
    "INSERT INTO user_roles (tenant_id, user_id, role_id)"
    " SELECT tenant_id, user_id, role_id FROM users JOIN roles USING (tenant_id) WHERE roles.name = 'role-1'",
    "INSERT INTO devices (tenant_id, device_id, name)"
    " SELECT tenant_id, 'D-' || i, 'D' FROM tenants, generate_series(1, 100) i",
    "INSERT INTO metrics (tenant_id, device_key, name)"
    " SELECT tenant_id, device_key, 'm' || i FROM devices, generate_series(1, 3) i",
    "INSERT INTO latest_values (metric_id, tenant_id, observed_at, value, quality, received_at)"
    " SELECT metric_id, tenant_id, now(), 1, 192, now() FROM metrics",
    "INSERT INTO dead_letters (tenant_id, source, topic, reason, detail, payload, payload_bytes, fingerprint,"
    " received_at, last_received_at) SELECT tenant_id, 'mqtt', 't', 'r', 'd', '', 0, sha256(i::text::bytea),"
    " now(), now() FROM tenants, generate_series(1, 100) i",
)


@pytest.fixture(scope="module")
def database(system_database: SystemDatabase, owner_url: str) -> SystemDatabase:
    """With enough rows that the planner has a choice to make."""
    with system_database.transaction() as cursor:
        cursor.execute("SELECT ensure_telemetry_partitions('2025-12-30', '2026-01-03')")
        for statement in _ROWS:
            cursor.execute(statement)
    with closing(psycopg2.connect(owner_url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    with system_database.transaction() as cursor:
        cursor.execute(load_statements(ROOT / "storage" / "sql" / "ingest.sql")["create_incoming"].sql)
    return system_database


def _params(statement: Statement) -> dict[str, object]:
    casts: dict[str, str] = {}
    for name, cast in _PARAMETER.findall(statement.sql):
        casts[name] = casts.get(name) or cast
    return {name: _sample(name, cast) for name, cast in casts.items()}


def _sample(name: str, cast: str) -> object:
    if cast.endswith("[]"):
        return _BY_CAST[cast]
    return _BY_NAME.get(name, _BY_CAST.get(cast, "x"))


def _ids(value: object) -> str:
    return value.name if isinstance(value, Path | Statement) else str(value)


@pytest.mark.parametrize(("path", "statement"), STATEMENTS, ids=_ids)
def test_a_statement_starts_with_a_sentence(path: Path, statement: Statement) -> None:
    sentence = statement.comment.partition("\nIndex:")[0]
    assert sentence.endswith("."), f"{path.name}: {statement.name} says nothing"
    assert sentence.lstrip("(")[0].isupper()


@pytest.mark.parametrize(
    ("path", "statement"), [item for item in STATEMENTS if not _UTILITY.match(item[1].sql)], ids=_ids
)
def test_a_statement_is_planned_with_the_index_it_names(
    database: SystemDatabase, path: Path, statement: Statement
) -> None:
    with database.transaction() as cursor:
        cursor.execute("SELECT set_config('app.tenant_id', '1', true)")
        for method in ("seqscan", "hashjoin", "mergejoin"):
            cursor.execute("SELECT set_config(%s, 'off', true)", (f"enable_{method}",))
        cursor.execute(f"EXPLAIN (FORMAT JSON, COSTS OFF) {statement.sql}", _params(statement))
        ((plans,),) = cursor.fetchall()
        if statement.index is None:
            return
        cursor.execute(
            "SELECT c.relname FROM pg_class c WHERE c.relname = %(index)s UNION ALL"
            " SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
            " WHERE i.inhparent = to_regclass(%(index)s)",
            {"index": statement.index},
        )
        accepted = {name for (name,) in cursor.fetchall()}
    used = set(_indexes(plans))
    assert accepted, f"there is no index {statement.index}"
    assert used & accepted, f"{path.name}: {statement.name} uses {sorted(used) or 'no index'}"


def _indexes(node: Any) -> Iterator[str]:
    """Every index that a plan reads, or by which an INSERT finds the row it conflicts with."""
    if isinstance(node, list):
        for item in node:
            yield from _indexes(item)
    elif isinstance(node, dict):
        if "Index Name" in node:
            yield str(node["Index Name"])
        yield from node.get("Conflict Arbiter Indexes", ())
        for value in node.values():
            if isinstance(value, list | dict):
                yield from _indexes(value)
