"""Credentials of devices for the broker."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from analytics_sql import statement
from storage.pool import Cursor

_SQL = Path(__file__).parent / "sql" / "credentials.sql"


@dataclass(frozen=True, slots=True)
class Credential:
    """A credential in force, as far as it may be told."""

    credential_id: str
    created_at: datetime
    created_by: str


@dataclass(frozen=True, slots=True)
class BrokerUserRow:
    """How the broker should know a device; without a credential it is to be shut out."""

    tenant_slug: str
    device_id: str
    credential_id: str | None
    secret_sha256: bytes | None


def add_credential(
    cursor: Cursor, device_key: int, *, credential_id: str, secret_sha256: bytes, created_by: str
) -> None:
    """Add a credential to a device that has none in force."""
    cursor.execute(
        statement(_SQL, "add_credential"),
        {
            "credential_id": credential_id,
            "device_key": device_key,
            "secret_sha256": secret_sha256,
            "created_by": created_by,
        },
    )


def revoke_credential(cursor: Cursor, device_key: int) -> str | None:
    """End the credential of a device; return which it was."""
    cursor.execute(statement(_SQL, "revoke_credential"), {"device_key": device_key})
    row = cursor.fetchone()
    return None if row is None else str(row[0])


def valid_credential(cursor: Cursor, device_key: int) -> Credential | None:
    """The credential of a device."""
    cursor.execute(statement(_SQL, "valid_credential"), {"device_key": device_key})
    row = cursor.fetchone()
    return None if row is None else Credential(*row)


def broker_user(cursor: Cursor, device_key: int) -> BrokerUserRow | None:
    """How the broker should know one device; in a system transaction."""
    cursor.execute(statement(_SQL, "broker_user"), {"device_key": device_key})
    row = cursor.fetchone()
    return None if row is None else _row(*row)


def broker_users(cursor: Cursor) -> list[BrokerUserRow]:
    """How the broker should know the devices of all tenants; in a system transaction."""
    cursor.execute(statement(_SQL, "broker_users"))
    return [_row(*row) for row in cursor.fetchall()]


def _row(
    slug: str, device_id: str, credential_id: str | None, secret_sha256: memoryview | None
) -> BrokerUserRow:
    return BrokerUserRow(
        slug, device_id, credential_id, None if secret_sha256 is None else bytes(secret_sha256)
    )
