"""Tenants, people and roles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from psycopg2.extensions import cursor as Cursor

from analytics_sql import statement
from storage.pool import AppDatabase

_SQL = Path(__file__).parent / "sql" / "accounts.sql"


@dataclass(frozen=True, slots=True)
class LoginCandidate:
    """An active person whose password is about to be checked."""

    user_id: str
    tenant_id: int
    password_hash: str


@dataclass(frozen=True, slots=True)
class Account:
    """An active person with their tenant, roles and permissions."""

    user_id: str
    email: str
    name: str
    tenant_id: int
    tenant_slug: str
    tenant_name: str
    token_version: int
    password_hash: str
    roles: tuple[str, ...]
    permissions: frozenset[str]


def ensure_tenant(cursor: Cursor, *, slug: str, name: str) -> int:
    """The number of the tenant with this slug, made where it is missing (system role)."""
    cursor.execute(statement(_SQL, "ensure_tenant"), {"slug": slug, "name": name})
    row = cursor.fetchone()
    tenant_id = int(row[0]) if row else tenant_id_of(cursor, slug)
    if tenant_id is None:
        raise LookupError(f"the tenant {slug} has vanished")
    return tenant_id


def tenant_id_of(cursor: Cursor, slug: str) -> int | None:
    """The number of the tenant with this slug, if there is one (system role)."""
    cursor.execute(statement(_SQL, "tenant_id_of_slug"), {"slug": slug})
    row = cursor.fetchone()
    return int(row[0]) if row else None


def put_default_role(
    cursor: Cursor, tenant_id: int, *, name: str, description: str, permissions: Sequence[str]
) -> None:
    """Make a default role or refresh its permissions; a role that people made is left alone."""
    cursor.execute(
        statement(_SQL, "put_default_role"),
        {
            "tenant_id": tenant_id,
            "name": name,
            "description": description,
            "permissions": list(permissions),
        },
    )


def create_user(
    cursor: Cursor, tenant_id: int, *, email: str, name: str, password_hash: str, roles: Sequence[str]
) -> str | None:
    """Add a person with roles; return the user_id, or None where the tenant has the address already."""
    cursor.execute(
        statement(_SQL, "create_user"),
        {
            "tenant_id": tenant_id,
            "email": email.strip().lower(),
            "name": name,
            "password_hash": password_hash,
        },
    )
    row = cursor.fetchone()
    if row is None:
        return None
    for role in roles:
        cursor.execute(
            statement(_SQL, "grant_role"), {"tenant_id": tenant_id, "user_id": row[0], "role": role}
        )
    return str(row[0])


def has_user_with_role(cursor: Cursor, tenant_id: int, role: str) -> bool:
    """Whether the tenant has an active person with the role."""
    cursor.execute(statement(_SQL, "has_user_with_role"), {"tenant_id": tenant_id, "role": role})
    return cursor.fetchone() == (True,)


def login_candidates(cursor: Cursor, *, email: str, tenant: str | None) -> list[LoginCandidate]:
    """At most two active people with this address; the slug `tenant` narrows the search (system role)."""
    cursor.execute(statement(_SQL, "login_candidates"), {"email": email.strip().lower(), "tenant": tenant})
    return [LoginCandidate(*row) for row in cursor.fetchall()]


def account(
    database: AppDatabase, tenant_id: int, user_id: str, *, session_id: str | None = None
) -> Account | None:
    """One active person as their tenant sees them; with a `session_id`, only while that session lasts."""
    rows = database.read(
        tenant_id, statement(_SQL, "account"), {"user_id": user_id, "session_id": session_id}
    )
    if not rows:
        return None
    email, name, tenant, slug, tenant_name, version, password_hash, roles, permissions = rows[0]
    granted = frozenset(item for item in permissions if item is not None)
    return Account(
        user_id, email, name, tenant, slug, tenant_name, version, password_hash, tuple(roles), granted
    )


def note_login(cursor: Cursor, user_id: str, *, new_hash: str | None) -> None:
    """Remember a sign-in, and the stronger hash of the same password where one was made."""
    cursor.execute(statement(_SQL, "note_login"), {"user_id": user_id, "password_hash": new_hash})


def revoke_tokens(cursor: Cursor, user_id: str) -> None:
    """Make all tokens issued to a person so far worthless."""
    cursor.execute(statement(_SQL, "revoke_tokens"), {"user_id": user_id})


def set_password(cursor: Cursor, user_id: str, *, replaced_hash: str, new_hash: str) -> bool:
    """Replace a password and end all sessions; False where somebody else changed it in between."""
    cursor.execute(
        statement(_SQL, "set_password"),
        {"user_id": user_id, "replaced_hash": replaced_hash, "password_hash": new_hash},
    )
    return cursor.fetchone() is not None
