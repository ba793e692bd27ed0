"""Logins that read one tenant's views, for Grafana and other tools that speak SQL."""

from __future__ import annotations

import re
from contextlib import closing

import psycopg2
from psycopg2 import sql

CONNECTIONS = 10
# What every statement of a reader starts with. A tool may raise its own timeout, not its rights.
SESSION = {
    "statement_timeout": "10s",
    "lock_timeout": "2s",
    "idle_in_transaction_session_timeout": "30s",
    "default_transaction_read_only": "on",
}
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_RESERVED = ("pg_", "iiot_app", "iiot_system", "iiot_owner")


class ReaderRefused(Exception):
    """No such login can be made."""


def create_reader(owner_url: str, *, role: str, tenant_id: int, password: str) -> bool:
    """Make the login, or give the one that exists a new password; return whether it is new.

    Args:
        owner_url: The database as its owner, who may create roles.
        role: Name of the login in PostgreSQL.
        tenant_id: Whose rows it reads, for good: another tenant needs another login.
        password: What it signs in with.

    Raises:
        ReaderRefused: the name is not usable, belongs to a role that is no reader, or reads another tenant.
        psycopg2.Error: PostgreSQL refused a statement; nothing remains.
    """
    if not _NAME.fullmatch(role) or role.startswith(_RESERVED):
        raise ReaderRefused(
            f"{role!r} is no name for a reader: small letters, digits and _, not the platform's own"
        )
    connection = psycopg2.connect(owner_url, connect_timeout=10, application_name="iiot-create-reader")
    with closing(connection), connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,))
        is_new = cursor.fetchone() is None
        cursor.execute("SELECT tenant_id FROM bi.readers WHERE role_name = %s", (role,))
        known = cursor.fetchone()
        if not is_new and known is None:
            raise ReaderRefused(f"the role {role} exists already and is no reader of this database")
        if known is not None and known[0] != tenant_id:
            raise ReaderRefused(f"{role} reads another tenant; choose another name")
        name = sql.Identifier(role)
        cursor.execute(
            sql.SQL(
                "{verb} ROLE {name} LOGIN NOCREATEDB NOCREATEROLE INHERIT"
                " CONNECTION LIMIT {limit} PASSWORD {password}"
            ).format(
                verb=sql.SQL("CREATE" if is_new else "ALTER"),
                name=name,
                limit=sql.Literal(CONNECTIONS),
                password=sql.Literal(password),
            )
        )
        for setting, value in SESSION.items():
            cursor.execute(
                sql.SQL("ALTER ROLE {name} SET {setting} = {value}").format(
                    name=name, setting=sql.Identifier(setting), value=sql.Literal(value)
                )
            )
        cursor.execute(sql.SQL("GRANT USAGE ON SCHEMA bi TO {name}").format(name=name))
        cursor.execute(
            "INSERT INTO bi.readers (role_name, tenant_id) VALUES (%s, %s) ON CONFLICT DO NOTHING",
            (role, tenant_id),
        )
    return is_new
