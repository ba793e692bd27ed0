"""Secrets that people send are in no log, answer, metric or audit entry; no text forges a line."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
from flask import Flask

from api import register_routes
from api.document import document_of
from storage.pool import SystemDatabase
from tests.conftest import SECRET_KEY
from tests.people import PASSWORD, PEOPLE, Plants
from tests.server import Server, running_server

pytestmark = [pytest.mark.services, pytest.mark.slow]

_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
JSON = {"Content-Type": "application/json"}
CANARY = "canary-4f1c9a77"
METRICS_TOKEN = f"{CANARY}-metrics-token-of-the-test"


@pytest.fixture(scope="module")
def talkative(owner_url: str, redis_url: str, mqtt_url: str, plants: Plants) -> Iterator[Server]:
    """The platform, logging all that it can."""
    said = {"IIOT_LOG_LEVEL": "debug", "IIOT_LOG_FORMAT": "json", "IIOT_METRICS_TOKEN": METRICS_TOKEN}
    with running_server(owner_url, redis_url, mqtt_url, secret_key=SECRET_KEY, **said) as running:
        yield running


@pytest.fixture(scope="module")
def token(talkative: Server) -> str:
    """What alice signed in with; a wrong password was tried before."""
    assert _sign_in(talkative, CANARY) == ""
    found = _sign_in(talkative, PASSWORD)
    assert found
    return found


def _send(
    server: Server, method: str, path: str, body: bytes | None, headers: dict[str, str]
) -> tuple[int, str]:
    request = urllib.request.Request(server.url + path, body, headers, method=method)  # noqa: S310
    try:
        with _direct.open(request, timeout=30) as answer:
            return answer.status, answer.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode(errors="replace")


def _sign_in(server: Server, password: str) -> str:
    body = json.dumps({"email": PEOPLE["alice"].email, "password": password}).encode()
    status, text = _send(server, "POST", "/api/v1/auth/login", body, {"Content-Type": "application/json"})
    return str(json.loads(text)["access_token"]) if status == 200 else ""


def test_no_secret_of_any_request_is_kept(
    talkative: Server,
    token: str,
    system_database: SystemDatabase,
    owner_url: str,
    record_property: Callable[[str, object], None],
) -> None:
    app = Flask("secrets")
    register_routes(app)
    sent = 0
    for path, methods in document_of(app)["paths"].items():
        address = path.replace("{", "").replace("}", "")
        for method in methods:
            if path.endswith("/logout"):
                continue
            for headers in (
                {"Authorization": f"Bearer {CANARY}.{CANARY}.{CANARY}"},
                {"Authorization": f"Basic {CANARY}", "Cookie": f"session={CANARY}"},
                {"X-API-Key": CANARY, "Authorization": f"Bearer {token}"},
            ):
                for body in (
                    json.dumps({"password": CANARY, "token": CANARY, "secret": {"key": CANARY}}).encode(),
                    f'{{"password": "{CANARY}'.encode(),
                ):
                    given = None if method == "get" else body
                    status, text = _send(
                        talkative,
                        method.upper(),
                        address,
                        given,
                        {**headers, "Content-Type": "application/json"},
                    )
                    assert status < 500, f"{method} {path}: {text[:300]}"
                    assert CANARY not in text, f"{method} {path}: {text[:300]}"
                    sent += 1
    log = talkative.log_text()
    database_password = urlsplit(owner_url).password
    secrets = [CANARY, token, PASSWORD, SECRET_KEY, *([database_password] if database_password else [])]
    assert [secret for secret in secrets if secret in log] == []
    _, metrics = _send(talkative, "GET", "/metrics", None, {"Authorization": f"Bearer {METRICS_TOKEN}"})
    assert CANARY not in metrics
    with system_database.transaction() as cursor:
        cursor.execute("SELECT count(*) FROM audit_logs a WHERE strpos(a::text, %s) > 0", (CANARY,))
        assert cursor.fetchall() == [(0,)]
    record_property("requests", sent)
    record_property("lines of the log", log.count("\n"))


@pytest.mark.parametrize(
    "text", ["a\nforged", "a\r\nforged", "a\x1b[31mforged", "a\u2028forged", "a\x85forged"], ids=ascii
)
def test_no_text_of_a_user_forges_a_line_of_the_log(talkative: Server, token: str, text: str) -> None:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    for body in (
        {"device_id": "forge-1", "name": text, "location": text},
        {"device_id": text, "name": "x"},
        {text: 1},
    ):
        status, _ = _send(talkative, "POST", "/api/v1/devices", json.dumps(body).encode(), headers)
        assert status < 500
    for line in talkative.log_text().splitlines():
        if line.strip():
            assert line.lstrip().startswith("{"), line
            assert "\x1b" not in line
