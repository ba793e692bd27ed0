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
from psycopg2 import sql

from analytics_sql import HERE, Statement, load_statements
from storage.pool import SystemDatabase

pytestmark = pytest.mark.services

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted([*HERE.glob("*.sql"), *(ROOT / "storage" / "sql").glob("*.sql")])
STATEMENTS = [(path, statement) for path in FILES for statement in load_statements(path).values()]

_PARAMETER = re.compile(r"%\((\w+)\)s(?:::(\w+(?: precision)?(?:\[\])?))?")
_OPTIONAL = re.compile(r"(?:coalesce\(%\((\w+)\)s)|(?:%\((\w+)\)s(?:::\w+)? IS NULL)")
# What EXPLAIN does not take.
_UTILITY = re.compile(r"\s*(CREATE|COPY|LOCK|SAVEPOINT|SET|TRUNCATE)\b", re.IGNORECASE)

# A value for a parameter: by its name where the name asks for it, else by its cast, else a text.
_BY_NAME: dict[str, object] = {
    "metrics": '[{"name": "flow", "unit": "", "kind": "gauge"}]',
    "start": datetime(2026, 1, 1, tzinfo=UTC),
    "stop": datetime(2026, 1, 2, tzinfo=UTC),
    "start_b": datetime(2026, 1, 1, tzinfo=UTC),
    "stop_b": datetime(2026, 1, 2, tzinfo=UTC),
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
    "boolean": True,
    "json": "[]",
    "jsonb": "{}",
    "inet": "127.0.0.1",
    "timestamptz": datetime(2026, 1, 1, tzinfo=UTC),
    "text[]": ["x"],
    "integer[]": [1],
    "bigint[]": [1],
    "smallint[]": [1],
    "double precision[]": [1.0],
    "bytea[]": [b"x"],
    "uuid[]": ["00000000-0000-4000-8000-000000000000"],
    "timestamptz[]": [datetime(2026, 1, 1, tzinfo=UTC)],
    "boolean[]": [True],
}


@pytest.fixture(scope="module")
def database(system_database: SystemDatabase, owner_url: str) -> SystemDatabase:
    """With enough rows that the planner has a choice to make."""
    with system_database.transaction() as cursor:
        cursor.execute(Path(__file__).with_name("planner_rows.sql").read_text(encoding="utf-8"))
    with closing(psycopg2.connect(owner_url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    with system_database.transaction() as cursor:
        cursor.execute(load_statements(ROOT / "storage" / "sql" / "ingest.sql")["create_incoming"].sql)
    return system_database


def _variants(statement: Statement) -> list[dict[str, object]]:
    """Parameters with all filters given, and with those left out that may be."""
    casts: dict[str, str] = {}
    for name, cast in _PARAMETER.findall(statement.sql):
        casts[name] = casts.get(name) or cast
    given = {name: _sample(name, cast) for name, cast in casts.items()}
    optional = [first or second for first, second in _OPTIONAL.findall(statement.sql)]
    return [given, given | dict.fromkeys(optional)]


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
        explain = sql.SQL("EXPLAIN (FORMAT JSON, COSTS OFF) {}").format(sql.SQL(statement.sql))
        plans = []
        for params in _variants(statement):
            cursor.execute(explain, params)
            plans += cursor.fetchall()
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
    if isinstance(node, list | tuple):
        for item in node:
            yield from _indexes(item)
    elif isinstance(node, dict):
        if "Index Name" in node:
            yield str(node["Index Name"])
        yield from node.get("Conflict Arbiter Indexes", ())
        for value in node.values():
            if isinstance(value, list | dict):
                yield from _indexes(value)
