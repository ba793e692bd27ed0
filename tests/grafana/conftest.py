"""Two readers, one of each plant, as `create-reader` makes them."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import closing
from urllib.parse import urlsplit, urlunsplit

import psycopg2
import pytest
from psycopg2 import sql

from migrations.readers import create_reader
from tests.people import Plants

Ask = Callable[..., list[tuple[object, ...]]]


def signed_in(owner_url: str, role: str, password: str) -> str:
    """The address of the same database for another login."""
    parts = urlsplit(owner_url)
    return urlunsplit(parts._replace(netloc=f"{role}:{password}@{parts.netloc.rpartition('@')[2]}"))


@pytest.fixture(scope="module")
def readers(owner_url: str, plants: Plants) -> Iterator[dict[str, str]]:
    """The address of the database as the reader of each plant."""
    tail = secrets.token_hex(4)
    tenants = {f"reader_a_{tail}": plants.plant_a, f"reader_b_{tail}": plants.plant_b}
    for role, tenant_id in tenants.items():
        assert create_reader(owner_url, role=role, tenant_id=tenant_id, password="first")
        assert not create_reader(owner_url, role=role, tenant_id=tenant_id, password=f"of {role}")
    names = dict(zip(("a", "b"), tenants, strict=True))
    yield {plant: signed_in(owner_url, role, f"of%20{role}") for plant, role in names.items()}
    drop_roles(owner_url, tenants)


def drop_roles(owner_url: str, roles: dict[str, int]) -> None:
    """Drop logins that a test has made: roles outlive the test's database."""
    with closing(psycopg2.connect(owner_url)) as connection, connection, connection.cursor() as cursor:
        for role in roles:
            cursor.execute(
                sql.SQL("REVOKE USAGE ON SCHEMA bi FROM {0}; DROP ROLE {0}").format(sql.Identifier(role))
            )


@pytest.fixture
def ask(readers: dict[str, str]) -> Ask:
    """Run statements as the reader of a plant, in one session; the rows of the last one."""

    def run(plant: str, *statements: str) -> list[tuple[object, ...]]:
        with closing(psycopg2.connect(readers[plant])) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []

    return run
