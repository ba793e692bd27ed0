"""Commands to devices over HTTP."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from storage.pool import SystemDatabase
from tests.api.objects import fresh
from tests.people import Client

pytestmark = pytest.mark.services

SignedIn = Callable[[str], Client]


def _device(client: Client) -> str:
    device_id = fresh("commanded")
    assert client.post("devices", json={"device_id": device_id, "name": "Pump"}).status_code == 201
    return device_id


def _command(client: Client, device_id: str, **fields: Any) -> Any:
    return client.post(f"devices/{device_id}/commands", json={"name": "start", **fields})


@pytest.mark.parametrize("name", ["alice", "oskar"])
def test_a_command_is_created_read_and_listed(client: SignedIn, name: str) -> None:
    device_id = _device(client("alice"))
    created = _command(client(name), device_id, params={"speed": 40}, ttl_s=5)
    assert created.status_code == 201
    body = created.get_json()
    assert (body["state"], body["params"], body["answer"]) == ("created", {"speed": 40}, None)
    assert client("vera").get(created.headers["Location"]).get_json() == body
    assert client("vera").get(f"devices/{device_id}/commands").get_json()["items"] == [body]


def test_the_same_id_commands_once(client: SignedIn) -> None:
    oskar, device_id, command_id = client("oskar"), _device(client("alice")), str(uuid.uuid4())
    first, again = (_command(oskar, device_id, command_id=command_id) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.get_json() == again.get_json()
    assert _command(oskar, device_id, command_id=command_id, params={"speed": 1}).status_code == 409
    other = _device(client("alice"))
    assert _command(oskar, other, command_id=command_id).status_code == 409


def test_the_same_id_in_another_plant_is_another_command(client: SignedIn) -> None:
    command_id = str(uuid.uuid4())
    for name in ("alice", "mallory"):
        assert _command(client(name), _device(client(name)), command_id=command_id).status_code == 201


def test_a_command_that_waits_can_be_cancelled_once(client: SignedIn) -> None:
    oskar, device_id = client("oskar"), _device(client("alice"))
    command_id = _command(oskar, device_id).get_json()["command_id"]
    cancelled = oskar.post(f"devices/{device_id}/commands/{command_id}/cancel")
    assert (cancelled.status_code, cancelled.get_json()["state"]) == (200, "cancelled")
    assert oskar.post(f"devices/{device_id}/commands/{command_id}/cancel").status_code == 409


def test_pages_of_commands_join_without_gaps(client: SignedIn) -> None:
    alice, device_id = client("alice"), _device(client("alice"))
    made = [_command(alice, device_id).get_json()["command_id"] for _ in range(5)]
    seen: list[str] = []
    cursor = ""
    while True:
        found = alice.get(f"devices/{device_id}/commands?limit=2&state=created{cursor}").get_json()
        seen += [item["command_id"] for item in found["items"]]
        if found["next_cursor"] is None:
            break
        cursor = f"&cursor={found['next_cursor']}"
    assert seen == made[::-1]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"name": ""}, 400),
        ({"name": "a b"}, 400),
        ({"name": "start", "ttl_s": 0}, 400),
        ({"name": "start", "ttl_s": 1e9}, 400),
        ({"name": "start", "params": []}, 400),
        ({"name": "start", "command_id": "7"}, 400),
        ({"name": "start", "state": "succeeded"}, 400),
        ({"name": "start", "params": {"text": "x" * 20_000}}, 422),
        ({"name": "start", "params": {"text": "\x00"}}, 400),
    ],
)
def test_a_wrong_command_is_refused(client: SignedIn, body: dict[str, Any], status: int) -> None:
    answer = client("alice").post(f"devices/{_device(client('alice'))}/commands", json=body)
    assert answer.status_code == status, answer.get_data(as_text=True)


def test_a_made_up_cursor_is_refused(client: SignedIn) -> None:
    device_id = _device(client("alice"))
    for cursor in ("x", "WyJjb21tYW5kcyIsMSwieCJd", "WyJjb21tYW5kcyIsOTAwMDAwMDAwMDAwMDAwMDAwMCwieCJd"):
        answer = client("alice").get(f"devices/{device_id}/commands?cursor={cursor}")
        assert answer.status_code == 400


@pytest.mark.parametrize("name", ["dave", "vera"])
def test_who_lacks_the_permission_commands_nothing(client: SignedIn, name: str) -> None:
    device_id = _device(client("alice"))
    command_id = _command(client("alice"), device_id).get_json()["command_id"]
    assert _command(client(name), device_id).status_code == 403
    assert client(name).post(f"devices/{device_id}/commands/{command_id}/cancel").status_code == 403


def test_a_foreign_command_is_like_a_missing_one(client: SignedIn) -> None:
    device_id = _device(client("alice"))
    command_id = _command(client("alice"), device_id).get_json()["command_id"]
    own = _device(client("mallory"))
    for path in (f"devices/{device_id}/commands/{command_id}", f"devices/{own}/commands/{command_id}"):
        assert client("mallory").get(path).status_code == 404
        assert client("mallory").post(f"{path}/cancel").status_code == 404
    assert _command(client("mallory"), device_id).status_code == 404
    assert client("mallory").get(f"devices/{device_id}/commands").status_code == 404


def test_nobody_commands_without_signing_in(anybody: Client) -> None:
    assert _command(anybody, "P-101").status_code == 401


def test_who_commanded_what_is_in_the_audit_log(client: SignedIn, system_database: SystemDatabase) -> None:
    device_id = _device(client("alice"))
    command_id = _command(client("oskar"), device_id, params={"speed": 3}).get_json()["command_id"]
    client("alice").post(f"devices/{device_id}/commands/{command_id}/cancel")
    with system_database.transaction() as cursor:
        cursor.execute(
            "SELECT actor, action FROM audit_logs WHERE target = %s ORDER BY audit_id",
            (f"device/{device_id}/command/{command_id}",),
        )
        assert cursor.fetchall() == [
            ("oskar@plant-a.example", "command.create"),
            ("alice@plant-a.example", "command.cancel"),
        ]
