"""No token but one that this platform signed for this use opens anything: always 401, never 500."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import jwt
import pytest

from api.sessions import Sessions
from api.tokens import TokenExpired
from settings import Settings
from tests.application import Application
from tests.people import Client, Plants, sign_in

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def secret(settings: Settings) -> str:
    return settings.access.derived_secret("jwt")


@pytest.fixture(scope="module")
def claims(application: Application, plants: Plants) -> dict[str, Any]:
    """What a good access token of alice says."""
    token = sign_in(application.app, "alice").token or ""
    session_id = jwt.decode(token, options={"verify_signature": False})["session_id"]
    now = int(time.time())
    return {
        "sub": plants.user_ids["alice"],
        "tenant_id": plants.plant_a,
        "token_version": 1,
        "session_id": session_id,
        "generation": 1,
        "type": "access",
        "iss": "iiot-platform",
        "aud": "iiot-api",
        "iat": now,
        "nbf": now,
        "exp": now + 300,
        "jti": str(uuid4()),
        "fresh": False,
    }


def _status(application: Application, token: str) -> int:
    return Client(application.app, token).get("auth/me").status_code


def _part(value: object) -> str:
    return _base64(json.dumps(value).encode())


def _base64(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).decode().rstrip("=")


def _signed(claims: dict[str, Any], secret: str, algorithm: str = "HS256") -> str:
    """A token that the library would refuse to make."""
    signing_input = f"{_part({'alg': algorithm, 'typ': 'JWT'})}.{_part(claims)}"
    signature = jwt.get_algorithm_by_name(algorithm).sign(signing_input.encode(), secret.encode())
    return f"{signing_input}.{_base64(signature)}"


def test_the_control_token_is_accepted(application: Application, claims: dict[str, Any], secret: str) -> None:
    assert _status(application, jwt.encode(claims, secret, "HS256")) == 200


@pytest.mark.parametrize(
    "change",
    [
        {"type": "refresh"},
        {"type": None},
        {"iss": "somebody-else"},
        {"aud": "another-api"},
        {"aud": ["another-api"]},
        {"exp": 1_700_000_000},
        {"exp": None},
        {"exp": "never"},
        {"nbf": 4_000_000_000},
        {"iat": 4_000_000_000},
        {"sub": None},
        {"sub": 17},
        {"sub": "not a user"},
        {"sub": "00000000-0000-4000-8000-000000000000"},
        {"tenant_id": None},
        {"tenant_id": "1"},
        {"tenant_id": True},
        {"tenant_id": 2**40},
        {"tenant_id": -1},
        {"token_version": 0},
        {"token_version": 2},
        {"token_version": None},
        {"token_version": 1.0},
        {"session_id": None},
        {"session_id": 7},
        {"session_id": "no session"},
        {"session_id": "00000000-0000-4000-8000-000000000000"},
        {"generation": None},
        {"generation": "1"},
        {"generation": 2**40},
        {"generation": -1},
    ],
    ids=str,
)
def test_a_signed_token_with_a_wrong_claim_is_refused(
    application: Application, claims: dict[str, Any], secret: str, change: dict[str, Any]
) -> None:
    changed = {name: value for name, value in (claims | change).items() if value is not None}
    assert _status(application, _signed(changed, secret)) == 401


def test_a_token_for_another_tenants_number_is_refused(
    application: Application, claims: dict[str, Any], secret: str, plants: Plants
) -> None:
    assert _status(application, jwt.encode(claims | {"tenant_id": plants.plant_b}, secret, "HS256")) == 401


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "", "HS384", "RS256", "hs256"])
def test_a_token_of_another_algorithm_is_refused(
    application: Application, claims: dict[str, Any], algorithm: str
) -> None:
    unsigned = f"{_part({'alg': algorithm, 'typ': 'JWT'})}.{_part(claims)}"
    assert _status(application, f"{unsigned}.") == 401
    assert _status(application, f"{unsigned}.{_part('signature')}") == 401


def test_another_hmac_with_the_right_secret_is_refused(
    application: Application, claims: dict[str, Any], secret: str
) -> None:
    assert _status(application, _signed(claims, secret, "HS512")) == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"kid": "../../../dev/null"},
        {"kid": "' OR 1=1 --"},
        {"jku": "https://example.com/keys"},
        {"jwk": {"kty": "oct", "k": "c2VjcmV0"}},
        {"x5u": "https://example.com/certificate"},
        {"crit": ["unknown"]},
    ],
    ids=str,
)
def test_headers_that_point_to_other_keys_change_nothing(
    application: Application, claims: dict[str, Any], headers: dict[str, Any]
) -> None:
    token = jwt.encode(claims, "another secret that is long enough to be one", "HS256", headers=headers)
    assert _status(application, token) == 401


@pytest.mark.parametrize(
    "change",
    [
        lambda token: token + ".",
        lambda token: token + "." + token,
        lambda token: token + "\x00",
        lambda token: token + "AA",
        lambda token: token + "=",
        lambda token: token.replace(".", "=.", 1),
        lambda token: token.rpartition(".")[0] + ".",
        lambda token: token.rpartition(".")[0],
        lambda token: "." + token,
        lambda token: token.replace(".", ".."),
        lambda token: token + "A" * 1_000_000,
        lambda token: token.upper(),
    ],
)
def test_a_good_token_with_something_more_or_less_is_refused(
    application: Application, claims: dict[str, Any], secret: str, change: Callable[[str], str]
) -> None:
    assert _status(application, change(jwt.encode(claims, secret, "HS256"))) == 401


def test_a_token_inside_a_token_is_refused(
    application: Application, claims: dict[str, Any], secret: str
) -> None:
    inner = jwt.encode(claims, secret, "HS256")
    signing_input = f"{_part({'alg': 'HS256', 'cty': 'JWT'})}.{_base64(inner.encode())}"
    signature = jwt.get_algorithm_by_name("HS256").sign(signing_input.encode(), secret.encode())
    assert _status(application, f"{signing_input}.{_base64(signature)}") == 401


def test_every_flipped_character_breaks_the_signature(
    application: Application, claims: dict[str, Any], secret: str
) -> None:
    token = jwt.encode(claims, secret, "HS256")
    for place in range(0, len(token) - 1, 7):
        flipped = "A" if token[place] != "A" else "B"
        assert _status(application, token[:place] + flipped + token[place + 1 :]) == 401


@pytest.mark.parametrize(
    "token",
    ["x", "a.b", "a.b.c", "a.b.c.d", "..", "\xe4.\xf6.\xfc", "e30.e30.e30", "A" * 3000, "a b", "."],
)
def test_what_is_no_token_is_refused(application: Application, token: str) -> None:
    assert _status(application, token) == 401


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer ", "Basic YWxpY2U6c2VjcmV0", "bearer", "Token abc"],
)
def test_a_request_without_a_bearer_token_is_refused(application: Application, header: str) -> None:
    answer = Client(application.app, None).get("auth/me", headers={"Authorization": header})
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.content_type == "application/problem+json"


def test_a_principal_knows_when_its_token_ends(
    application: Application, claims: dict[str, Any], secret: str
) -> None:
    principal = application.services.sessions.authenticate(jwt.encode(claims, secret, "HS256"))
    assert principal.expires_at.timestamp() == claims["exp"]
    assert principal.may("platform:read")


def test_a_token_that_expires_while_it_is_remembered_is_refused(
    application: Application, claims: dict[str, Any], secret: str
) -> None:
    token = jwt.encode(claims | {"exp": int(time.time()) + 2}, secret, "HS256")
    sessions = application.services.sessions
    sessions.authenticate(token)
    deadline = time.monotonic() + 4
    while _is_accepted(sessions, token):
        assert time.monotonic() < deadline


def _is_accepted(sessions: Sessions, token: str) -> bool:
    try:
        sessions.authenticate(token)
    except TokenExpired:
        return False
    return True


def test_the_answers_of_one_person_never_leak_into_anothers(application: Application) -> None:
    alice, mallory = sign_in(application.app, "alice"), sign_in(application.app, "mallory")
    for _ in range(3):
        assert alice.get("auth/me").get_json()["user"]["email"] == "alice@plant-a.example"
        assert mallory.get("auth/me").get_json()["user"]["email"] == "mallory@plant-b.example"
