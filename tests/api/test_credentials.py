"""Credentials of devices over HTTP."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from storage.pool import SystemDatabase
from tests.api.objects import fresh
from tests.people import Client

pytestmark = pytest.mark.services

SignedIn = Callable[[str], Client]


def _device(client: Client) -> str:
    device_id = fresh("credential")
    assert client.post("devices", json={"device_id": device_id, "name": "Pump"}).status_code == 201
    return device_id


@pytest.mark.parametrize("name", ["alice", "dave"])
def test_a_credential_is_issued_shown_once_and_revoked(client: SignedIn, name: str) -> None:
    person = client(name)
    device_id = _device(person)
    issued = person.post(f"devices/{device_id}/credentials")
    assert issued.status_code == 201
    assert issued.headers["Cache-Control"] == "no-store"
    body = issued.get_json()
    assert body["username"] == f"plant-a/{device_id}"
    assert len(body["password"]) == 43
    assert body["topics"]["subscribe"] == [f"iiot/v1/plant-a/{device_id}/commands/+"]
    assert body["password_file_entry"].startswith(f"plant-a/{device_id}:$7$101$")
    shown = person.get(f"devices/{device_id}/credentials")
    assert shown.get_json()["credential_id"] == body["credential_id"]
    assert body["password"] not in shown.get_data(as_text=True)
    assert person.delete(f"devices/{device_id}/credentials").status_code == 204
    assert person.get(f"devices/{device_id}/credentials").status_code == 404
    assert person.delete(f"devices/{device_id}/credentials").status_code == 404


def test_a_second_credential_replaces_the_first(client: SignedIn) -> None:
    alice = client("alice")
    device_id = _device(alice)
    first, second = (alice.post(f"devices/{device_id}/credentials").get_json() for _ in range(2))
    assert first["password"] != second["password"]
    shown = alice.get(f"devices/{device_id}/credentials").get_json()
    assert shown["credential_id"] == second["credential_id"]
    assert shown["created_by"] == "alice@plant-a.example"


def test_who_issued_and_revoked_is_in_the_audit_log_without_the_secret(
    client: SignedIn, system_database: SystemDatabase
) -> None:
    alice = client("alice")
    device_id = _device(alice)
    password = alice.post(f"devices/{device_id}/credentials").get_json()["password"]
    alice.delete(f"devices/{device_id}/credentials")
    with system_database.transaction() as cursor:
        cursor.execute(
            "SELECT actor, action, detail::text FROM audit_logs WHERE target = %s ORDER BY audit_id",
            (f"device/{device_id}",),
        )
        entries = [row for row in cursor.fetchall() if row[1].startswith("credential.")]
    assert [entry[:2] for entry in entries] == [
        ("alice@plant-a.example", "credential.issue"),
        ("alice@plant-a.example", "credential.revoke"),
    ]
    assert password not in str(entries)


@pytest.mark.parametrize("name", ["oskar", "vera"])
def test_who_lacks_the_permission_neither_issues_nor_revokes(client: SignedIn, name: str) -> None:
    device_id = _device(client("alice"))
    assert client(name).post(f"devices/{device_id}/credentials").status_code == 403
    assert client(name).delete(f"devices/{device_id}/credentials").status_code == 403


def test_a_foreign_device_is_like_a_missing_one(client: SignedIn) -> None:
    device_id = _device(client("alice"))
    client("alice").post(f"devices/{device_id}/credentials")
    for method in ("GET", "POST", "DELETE"):
        foreign = client("mallory").open(method, f"devices/{device_id}/credentials")
        missing = client("mallory").open(method, "devices/nowhere/credentials")
        assert (foreign.status_code, foreign.get_json()["title"]) == (404, missing.get_json()["title"])


def test_nobody_issues_without_signing_in(anybody: Client) -> None:
    assert anybody.post("devices/P-1/credentials").status_code == 401


def test_a_retired_device_gets_none(client: SignedIn) -> None:
    alice = client("alice")
    device_id = _device(alice)
    alice.delete(f"devices/{device_id}")
    assert alice.post(f"devices/{device_id}/credentials").status_code == 404
