"""Every route x role x object, compared with the committed table and with what the permissions say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from api.document import document_of
from rbac import DEFAULT_ROLES
from tests.api.access_matrix import COLUMNS, Row, routes, rows_of, table
from tests.application import Application
from tests.people import Client, sign_in

pytestmark = pytest.mark.services

TABLE = Path(__file__).resolve().parents[2] / "docs" / "access-matrix.md"
PERMISSIONS = {role.name: role.permissions for role in DEFAULT_ROLES}
OUTSIDER = "other tenant's admin"


@pytest.fixture(scope="module")
def rows(application: Application, client: Callable[[str], Client], anybody: Client) -> list[Row]:
    """The whole matrix, asked once."""
    everybody = {name: anybody if name == "anybody" else client(name) for name in COLUMNS.values()}
    return [
        row
        for route in routes(document_of(application.app))
        for row in rows_of(route, everybody, lambda name: sign_in(application.app, name))
    ]


def test_the_matrix_is_the_committed_table(rows: list[Row], request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--write-generated"):
        TABLE.write_text(table(rows), encoding="utf-8")
    assert table(rows) == TABLE.read_text(encoding="utf-8")


def test_nothing_failed(rows: list[Row], record_property: Callable[[str, object], None]) -> None:
    asked = [(row.route.name, row.kind, column) for row in rows for column in row.answers]
    record_property("routes", len({row.route.name for row in rows}))
    record_property("questions", len(asked))
    assert [where for row in rows for where, code in row.answers.items() if code >= "500"] == []


def test_only_whoever_signed_in_gets_past_the_door(rows: list[Row]) -> None:
    for row in rows:
        if row.route.permission != "nothing":
            assert row.answers["anonymous"] == "401", row.line()
            assert "401" not in list(row.answers.values())[1:] or "password" in row.route.path, row.line()


def test_exactly_the_roles_with_the_permission_are_let_in(rows: list[Row]) -> None:
    for row in rows:
        permission = row.route.permission
        if permission in {"nothing", "signed in"}:
            continue
        for role, permissions in PERMISSIONS.items():
            assert (row.answers[role] == "403") == (permission not in permissions), f"{role}: {row.line()}"


def test_a_foreign_object_is_answered_byte_for_byte_like_a_missing_one(
    rows: list[Row], record_property: Callable[[str, object], None]
) -> None:
    by_kind = {(row.route.name, row.kind): row for row in rows}
    compared = 0
    for (name, kind), row in by_kind.items():
        if not kind.startswith("foreign"):
            continue
        for role in ("anonymous", *PERMISSIONS):
            assert row.said[role] == by_kind[name, "missing"].said[role], f"{name} as {role}"
            compared += 1
    record_property("pairs compared", compared)
    assert compared


def test_the_neighbour_finds_nothing_of_plant_a(rows: list[Row]) -> None:
    for row in rows:
        if row.kind == "own":
            assert row.answers[OUTSIDER] == "404", row.line()
