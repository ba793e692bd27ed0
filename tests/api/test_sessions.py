"""A refresh token works once; whoever copies one ends the session for everybody who holds it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from flask import Flask
from pydantic import SecretStr
from werkzeug.test import TestResponse

from api.tokens import TokenRefused, Tokens
from settings import Settings
from storage.pool import SystemDatabase
from tests.application import Application
from tests.people import PASSWORD, PEOPLE, Client, Plants, sign_in
from tests.polling import until

pytestmark = pytest.mark.services

Pair = dict[str, Any]


def _signed_in(application: Application, name: str) -> Pair:
    body = {"email": PEOPLE[name].email, "password": PASSWORD}
    pair: Pair = Client(application.app, None).post("auth/login", json=body).get_json()
    return pair


def _refresh(application: Application, pair: Pair) -> TestResponse:
    return Client(application.app, pair["refresh_token"]).post("auth/refresh")


def _status(application: Application, pair: Pair) -> int:
    return Client(application.app, pair["access_token"]).get("auth/me").status_code


def _session_id(pair: Pair) -> str:
    return str(jwt.decode(pair["refresh_token"], options={"verify_signature": False})["session_id"])


def _audited(database: SystemDatabase, action: str, target: str) -> list[tuple[int, str]]:
    with database.transaction() as cursor:
        cursor.execute(
            "SELECT tenant_id, actor FROM audit_logs WHERE action = %s AND target = %s", (action, target)
        )
        return cursor.fetchall()


def test_a_session_goes_on_from_token_to_token(application: Application) -> None:
    pair = _signed_in(application, "vera")
    first = pair
    for _ in range(5):
        answer = _refresh(application, pair)
        assert answer.status_code == 200
        pair = answer.get_json()
        assert _status(application, pair) == 200
    assert _session_id(pair) == _session_id(first)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_a_copied_refresh_token_ends_the_session_and_is_audited(
    application: Application, system_database: SystemDatabase, plants: Plants, steps: int
) -> None:
    stolen = pair = _signed_in(application, "vera")
    elsewhere = _signed_in(application, "vera")
    for _ in range(steps):
        pair = _refresh(application, pair).get_json()
    assert _status(application, pair) == 200
    answer = _refresh(application, stolen)
    assert answer.status_code == 401
    assert answer.get_json()["type"] == "urn:iiot:problem:refresh-token-reused"
    assert _status(application, pair) == 401
    assert _status(application, stolen) == 401
    assert _refresh(application, pair).status_code == 401
    assert _status(application, elsewhere) == 200
    assert _refresh(application, elsewhere).status_code == 200
    target = f"session/{_session_id(stolen)}"
    assert _audited(system_database, "session.reuse_refused", target) == [
        (plants.plant_a, PEOPLE["vera"].email)
    ]


def test_of_two_requests_at_the_same_moment_one_gets_the_pair_and_the_session_lives(
    application: Application, system_database: SystemDatabase
) -> None:
    pair = _signed_in(application, "oskar")
    answers: list[TestResponse] = []
    with system_database.transaction() as cursor:
        # Holds both requests back until both have begun.
        cursor.execute("SELECT 1 FROM sessions WHERE session_id = %s FOR UPDATE", (_session_id(pair),))
        racing = [
            threading.Thread(target=lambda: answers.append(_refresh(application, pair))) for _ in range(2)
        ]
        for thread in racing:
            thread.start()
        _wait_until_waiting(system_database, 2)
    for thread in racing:
        thread.join(timeout=10)
    assert sorted(answer.status_code for answer in answers) == [200, 401]
    (winner,) = (answer.get_json() for answer in answers if answer.status_code == 200)
    assert _status(application, winner) == 200
    assert _refresh(application, winner).status_code == 200


def _wait_until_waiting(database: SystemDatabase, number: int) -> None:
    def waiting() -> bool:
        with database.transaction() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)"
                " WHERE NOT granted AND datname = current_database()"
            )
            (found,) = cursor.fetchone() or (0,)
        return int(found) >= number

    until(waiting, what="both requests wait")


@pytest.mark.parametrize("ending", ["logout", "password"])
def test_what_ends_all_sessions_ends_their_refresh_tokens(
    application: Application,
    system_database: SystemDatabase,
    plants: Plants,
    password_hash: str,
    ending: str,
) -> None:
    here, there = _signed_in(application, "dave"), _signed_in(application, "dave")
    client = Client(application.app, here["access_token"])
    if ending == "logout":
        assert client.post("auth/logout").status_code == 204
    else:
        change = {"current_password": PASSWORD, "new_password": "a better one for today"}
        assert client.put("auth/password", json=change).status_code == 200
        with system_database.transaction() as cursor:
            cursor.execute(
                "UPDATE users SET password_hash = %s WHERE user_id = %s",
                (password_hash, plants.user_ids["dave"]),
            )
    for pair in (here, there):
        assert _refresh(application, pair).status_code == 401
        assert _status(application, pair) == 401
    action = {"logout": "session.logout", "password": "user.change_password"}[ending]
    assert (plants.plant_a, PEOPLE["dave"].email) in _audited(
        system_database, action, f"user/{plants.user_ids['dave']}"
    )


def test_a_session_of_another_person_does_not_fit(
    application: Application, settings: Settings, plants: Plants
) -> None:
    pair = _signed_in(application, "mallory")
    claims = jwt.decode(pair["access_token"], options={"verify_signature": False})
    forged = claims | {"sub": plants.user_ids["alice"], "tenant_id": plants.plant_a}
    token = jwt.encode(forged, settings.access.derived_secret("jwt"), "HS256")
    assert Client(application.app, token).get("auth/me").status_code == 401


def test_sessions_that_have_run_out_are_forgotten_at_the_next_sign_in(
    application: Application, system_database: SystemDatabase
) -> None:
    pair = _signed_in(application, "vera")
    with system_database.transaction() as cursor:
        cursor.execute(
            "UPDATE sessions SET expires_at = now() - interval '1 s' WHERE session_id = %s",
            (_session_id(pair),),
        )
    assert _refresh(application, pair).status_code == 401
    sign_in(application.app, "vera")
    with system_database.transaction() as cursor:
        cursor.execute("SELECT FROM sessions WHERE session_id = %s", (_session_id(pair),))
        assert cursor.fetchall() == []


@pytest.fixture
def issued() -> Callable[[Tokens], str]:
    def issue(tokens: Tokens) -> str:
        return tokens.issue(
            "access",
            user_id="00000000-0000-4000-8000-000000000001",
            tenant_id=1,
            token_version=1,
            session_id="00000000-0000-4000-8000-000000000002",
            generation=1,
        )

    return issue


def test_a_replaced_key_is_accepted_while_it_is_named_and_signs_nothing(
    settings: Settings, issued: Callable[[Tokens], str]
) -> None:
    old = settings.access
    fresh = SecretStr("another-key-0123456789-abcdefghijklmnopqrstuvwxyz")
    replaced = old.model_copy(update={"secret_key": fresh, "previous_secret_key": old.secret_key})
    forgotten = replaced.model_copy(update={"previous_secret_key": None})
    before, during, after = (Tokens(Flask("test"), access) for access in (old, replaced, forgotten))
    token = issued(before)
    assert during.read(token, "access").tenant_id == 1
    with pytest.raises(TokenRefused):
        after.read(token, "access")
    renewed = issued(during)
    assert jwt.get_unverified_header(renewed)["kid"] != jwt.get_unverified_header(token)["kid"]
    assert after.read(renewed, "access").tenant_id == 1
    with pytest.raises(TokenRefused):
        before.read(renewed, "access")


@pytest.mark.parametrize("kid", ["", "../../../dev/null", "' OR 1=1 --", "x" * 500])
def test_a_key_that_nobody_named_signs_nothing(
    settings: Settings, issued: Callable[[Tokens], str], kid: str
) -> None:
    tokens = Tokens(Flask("test"), settings.access)
    claims = jwt.decode(issued(tokens), options={"verify_signature": False})
    token = jwt.encode(claims, settings.access.derived_secret("jwt"), "HS256", headers={"kid": kid})
    with pytest.raises(TokenRefused):
        tokens.read(token, "access")
