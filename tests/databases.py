"""A migrated template database per test run, and copies of it for the test modules."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import closing, contextmanager
from urllib.parse import urlsplit, urlunsplit

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from migrations import apply_migrations

# One run migrates at a time on a server: roles belong to all of its databases.
_TEMPLATE_LOCK = 7_413_100


def database_url(server_url: str, name: str) -> str:
    """The URL of another database of the same server."""
    return urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))


def ensure_template(server_url: str, name: str, role_passwords: dict[str, str]) -> None:
    """Make and migrate the template, unless another worker of this run has done so already."""
    with _administrator(server_url) as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", (_TEMPLATE_LOCK,))
        cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
        if cursor.fetchone() is None:
            cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
            apply_migrations(database_url(server_url, name), role_passwords=role_passwords)


@contextmanager
def copied_database(server_url: str, template: str) -> Iterator[str]:
    """The URL of a fresh copy of the template, dropped at the end."""
    name = f"{template}_{secrets.token_hex(4)}"
    with _administrator(server_url) as cursor:
        cursor.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        )
    try:
        yield database_url(server_url, name)
    finally:
        drop_database(server_url, name)


def drop_database(server_url: str, name: str) -> None:
    """Drop a database with whoever is still connected to it."""
    with _administrator(server_url) as cursor:
        cursor.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@contextmanager
def _administrator(server_url: str) -> Iterator[Cursor]:
    connection = psycopg2.connect(server_url, connect_timeout=10, application_name="iiot-tests")
    with closing(connection):
        connection.autocommit = True
        with connection.cursor() as cursor:
            yield cursor
