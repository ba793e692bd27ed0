"""Credentials of devices: issuing, replacing and revoking what a device signs in to the broker with."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass

from domain.audit import Actor
from domain.broker_user import DeviceTopics, topics_of, username_of
from domain.errors import NotFound
from domain.identifier import is_device_id
from fleet.broker_access import BrokerAccess
from fleet.registry import DeviceMissing
from storage import audit, devices
from storage import credentials as sql
from storage.pool import AppDatabase, Cursor


class CredentialMissing(NotFound):
    """The device has no credential."""


@dataclass(frozen=True, slots=True)
class IssuedCredential:
    """A fresh credential with its secret, which is shown once.

    Attributes:
        is_in_force: Whether the broker takes it already; if not, the platform keeps trying.
    """

    credential_id: str
    username: str
    password: str
    topics: DeviceTopics
    is_in_force: bool


class Credentials:
    """The credentials of all tenants; every call names the tenant it is for. Thread-safe."""

    def __init__(self, database: AppDatabase, access: BrokerAccess, *, topic_root: str) -> None:
        self._database = database
        self._access = access
        self._topic_root = topic_root

    def issue(self, tenant_slug: str, device_id: str, actor: Actor) -> IssuedCredential:
        """Give the device a credential; the one it had ends, and so does the connection made with it.

        Raises:
            DeviceMissing: There is no such device in use.
        """
        credential_id = str(uuid.uuid4())
        password = self._access.secret(credential_id)
        with self._database.tenant(actor.tenant_id) as cursor:
            key = _locked(cursor, device_id)
            before = sql.revoke_credential(cursor, key)
            sql.add_credential(
                cursor,
                key,
                credential_id=credential_id,
                secret_sha256=hashlib.sha256(password.encode()).digest(),
                created_by=actor.label,
            )
            audit.record(
                cursor,
                actor,
                "credential.issue",
                f"device/{device_id}",
                before=None if before is None else {"credential_id": before},
                after={"credential_id": credential_id},
            )
        username = username_of(tenant_slug, device_id)
        return IssuedCredential(
            credential_id=credential_id,
            username=username,
            password=password,
            topics=topics_of(self._topic_root, username),
            is_in_force=self._access.enforce(key),
        )

    def find(self, tenant_id: int, device_id: str) -> sql.Credential:
        """The credential of a device, without its secret.

        Raises:
            DeviceMissing: There is no such device in use.
            CredentialMissing: It has none.
        """
        with self._database.tenant(tenant_id) as cursor:
            key = devices.key_of_device(cursor, device_id) if is_device_id(device_id) else None
            if key is None:
                raise DeviceMissing
            found = sql.valid_credential(cursor, key)
        if found is None:
            raise CredentialMissing
        return found

    def revoke(self, device_id: str, actor: Actor) -> None:
        """End the credential of a device and cut its connection.

        Raises:
            DeviceMissing: There is no such device in use.
            CredentialMissing: It has none.
        """
        with self._database.tenant(actor.tenant_id) as cursor:
            key = _locked(cursor, device_id)
            before = sql.revoke_credential(cursor, key)
            if before is None:
                raise CredentialMissing
            audit.record(
                cursor, actor, "credential.revoke", f"device/{device_id}", before={"credential_id": before}
            )
        self._access.enforce(key)

    def device_retired(self, device_key: int) -> None:
        """Shut a device out that has just been retired."""
        self._access.enforce(device_key)


def _locked(cursor: Cursor, device_id: str) -> int:
    key = devices.lock_device(cursor, device_id) if is_device_id(device_id) else None
    if key is None:
        raise DeviceMissing
    return key
