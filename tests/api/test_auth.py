"""Signing in, staying in, and getting out again."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import pytest

from storage.pool import SystemDatabase
from tests.application import Application
from tests.people import PASSWORD, PEOPLE, Client, Plants, sign_in

pytestmark = pytest.mark.services

SignedIn = Callable[[str], Client]


def _login(anybody: Client, **body: Any) -> Any:
    return anybody.post("auth/login", json=body)


def test_alice_signs_in_and_sees_who_she_is(anybody: Client, client: SignedIn, plants: Plants) -> None:
    answer = _login(anybody, email="Alice@Plant-A.example", password=PASSWORD)
    assert answer.status_code == 200
    body = answer.get_json()
    assert body["token_type"] == "Bearer"
    assert body["expires_in"] == 900
    assert body["user"] == {
        "user_id": plants.user_ids["alice"],
        "email": "alice@plant-a.example",
        "name": "Alice",
        "tenant": {"tenant_id": plants.plant_a, "slug": "plant-a", "name": "Plant A"},
        "roles": ["admin"],
        "permissions": body["user"]["permissions"],
    }
    assert "telemetry:write" in body["user"]["permissions"]
    assert client("alice").get("auth/me").get_json() == {"user": body["user"]}


@pytest.mark.parametrize(
    ("email", "password"),
    [
        (PEOPLE["alice"].email, "wrong password!"),
        ("nobody@plant-a.example", PASSWORD),
        ("not an address", "x"),
    ],
)
def test_a_refused_sign_in_says_nothing_about_the_reason(anybody: Client, email: str, password: str) -> None:
    answer = anybody.post(
        "auth/login", json={"email": email, "password": password}, headers={"X-Request-ID": "same"}
    )
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.get_json() == {
        "type": "urn:iiot:problem:login-refused",
        "title": "The e-mail address or the password is wrong.",
        "status": 401,
        "detail": "check both; where several tenants know the address, name the tenant as well",
        "instance": "/api/v1/auth/login",
        "request_id": "same",
    }


def test_an_unknown_address_takes_as_long_as_a_wrong_password(anybody: Client) -> None:
    times_s: dict[str, list[float]] = {PEOPLE["vera"].email: [], "nobody@plant-a.example": []}
    # In turns, so that whatever else the machine does slows both down alike.
    for _ in range(11):
        for email, measured in times_s.items():
            began_at = time.perf_counter()
            _login(anybody, email=email, password="wrong password!")
            measured.append(time.perf_counter() - began_at)
    known_s, unknown_s = (median(measured) for measured in times_s.values())
    # Without the password check an answer takes less than a tenth.
    assert 0.5 < unknown_s / known_s < 2


def test_an_address_of_two_tenants_needs_the_tenant(
    anybody: Client, system_database: SystemDatabase, plants: Plants, password_hash: str
) -> None:
    with system_database.transaction() as cursor:
        for tenant_id in (plants.plant_a, plants.plant_b):
            cursor.execute(
                "INSERT INTO users (tenant_id, email, password_hash) VALUES (%s, 'both@example.com', %s)",
                (tenant_id, password_hash),
            )
    assert _login(anybody, email="both@example.com", password=PASSWORD).status_code == 401
    answer = _login(anybody, email="both@example.com", password=PASSWORD, tenant="plant-b")
    assert answer.get_json()["user"]["tenant"]["slug"] == "plant-b"


def test_a_refresh_token_makes_a_new_pair_and_opens_nothing_else(application: Application) -> None:
    anybody = Client(application.app, None)
    pair = _login(anybody, email=PEOPLE["vera"].email, password=PASSWORD).get_json()
    refreshing = Client(application.app, pair["refresh_token"])
    assert refreshing.get("auth/me").status_code == 401
    answer = refreshing.post("auth/refresh")
    assert answer.status_code == 200
    renewed = Client(application.app, answer.get_json()["access_token"])
    assert renewed.get("auth/me").status_code == 200
    assert renewed.post("auth/refresh").status_code == 401


def test_logout_ends_all_sessions_at_once(application: Application) -> None:
    here, there = sign_in(application.app, "oskar"), sign_in(application.app, "oskar")
    assert there.get("auth/me").status_code == 200
    assert here.post("auth/logout").status_code == 204
    assert here.get("auth/me").status_code == 401
    assert there.get("auth/me").status_code == 401
    assert sign_in(application.app, "oskar").get("auth/me").status_code == 200


def test_a_deactivated_person_is_out(
    application: Application, system_database: SystemDatabase, plants: Plants
) -> None:
    dave = sign_in(application.app, "dave")
    with system_database.transaction() as cursor:
        cursor.execute("UPDATE users SET is_active = false WHERE user_id = %s", (plants.user_ids["dave"],))
    # Never used before, so nothing is remembered of the token.
    assert dave.get("auth/me").status_code == 401
    anybody = Client(application.app, None)
    assert _login(anybody, email=PEOPLE["dave"].email, password=PASSWORD).status_code == 401


@pytest.mark.slow
def test_a_remembered_person_is_out_within_five_seconds(
    application: Application, system_database: SystemDatabase, plants: Plants
) -> None:
    mallory = sign_in(application.app, "mallory")
    assert mallory.get("auth/me").status_code == 200
    with system_database.transaction() as cursor:
        cursor.execute("UPDATE users SET is_active = false WHERE user_id = %s", (plants.user_ids["mallory"],))
    deadline = time.monotonic() + 5.0
    while mallory.get("auth/me").status_code != 401:
        assert time.monotonic() < deadline


def test_a_new_password_replaces_the_old_one_and_ends_other_sessions(
    application: Application, system_database: SystemDatabase, plants: Plants, password_hash: str
) -> None:
    new = "another fixture has none"
    vera, elsewhere = sign_in(application.app, "vera"), sign_in(application.app, "vera")
    answer = vera.put("auth/password", json={"current_password": PASSWORD, "new_password": new})
    assert answer.status_code == 200
    assert elsewhere.get("auth/me").status_code == 401
    assert vera.get("auth/me").status_code == 401
    assert Client(application.app, answer.get_json()["access_token"]).get("auth/me").status_code == 200
    anybody = Client(application.app, None)
    assert _login(anybody, email=PEOPLE["vera"].email, password=PASSWORD).status_code == 401
    assert sign_in(application.app, "vera", password=new).get("auth/me").status_code == 200
    with system_database.transaction() as cursor:
        cursor.execute(
            "UPDATE users SET password_hash = %s WHERE user_id = %s",
            (password_hash, plants.user_ids["vera"]),
        )


@pytest.mark.parametrize(
    ("current", "new", "pointer"),
    [
        ("wrong password!", "long enough to be new", "/current_password"),
        (PASSWORD, "short", None),
        (PASSWORD, "aaaaaaaaaaaaaaaaaaaa", None),
        (PASSWORD, "x" * 300, None),
    ],
)
def test_a_password_changes_only_with_the_old_one_and_to_a_good_one(
    client: SignedIn, current: str, new: str, pointer: str | None
) -> None:
    answer = client("alice").put("auth/password", json={"current_password": current, "new_password": new})
    assert answer.status_code == 422
    assert [item["pointer"] for item in answer.get_json().get("errors", [])] == ([pointer] if pointer else [])
