"""What answers tell browsers: nothing is sniffed, framed or run that is not ours; exact origins may read."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask

from settings import SettingsError
from storage.pool import AppDatabase, SystemDatabase
from tests.application import Application, running_application
from tests.conftest import SettingsFactory
from tests.people import Client, Plants

pytestmark = pytest.mark.services

BOARD = "https://board.example"


@pytest.fixture(scope="module")
def shared(
    make_settings: SettingsFactory, app_database: AppDatabase, system_database: SystemDatabase, plants: Plants
) -> Iterator[Flask]:
    """The API behind TLS, which one foreign origin may call."""
    settings = make_settings(IIOT_ALLOWED_ORIGINS=BOARD, IIOT_HSTS_S="31536000")
    with running_application(settings, app_database, system_database) as running:
        yield running.app


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/api/v1/docs"),
        ("GET", "/api/v1/openapi.json"),
        ("GET", "/console/app.js"),
        ("GET", "/console/none.js"),
        ("GET", "/health"),
        ("GET", "/metrics"),
        ("GET", "/api/v1/devices"),
        ("POST", "/api/v1/auth/login"),
        ("PATCH", "/api/v1/devices"),
        ("OPTIONS", "/api/v1/devices"),
        ("GET", "/nowhere"),
    ],
)
def test_every_answer_forbids_sniffing_framing_and_foreign_code(
    application: Application, method: str, path: str
) -> None:
    headers = application.app.test_client().open(path, method=method).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    policy = dict(part.strip().partition(" ")[::2] for part in headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["frame-ancestors"] == "'none'"
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert "*" not in headers["Content-Security-Policy"]
    assert "Set-Cookie" not in headers
    assert "Strict-Transport-Security" not in headers


def test_browsers_insist_on_tls_where_it_is_said_to_be_there(shared: Flask) -> None:
    headers = shared.test_client().get("/").headers
    assert headers["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains"


def test_a_listed_origin_may_read_answers(shared: Flask) -> None:
    headers = shared.test_client().get("/api/v1/devices", headers={"Origin": BOARD}).headers
    assert headers["Access-Control-Allow-Origin"] == BOARD
    assert "Access-Control-Allow-Credentials" not in headers
    assert "Origin" in headers["Vary"]


def test_a_listed_origin_may_ask_before_it_writes(shared: Flask) -> None:
    asked = {"Origin": BOARD, "Access-Control-Request-Method": "PUT"}
    answer = shared.test_client().options("/api/v1/devices/P-1", headers=asked)
    assert answer.status_code == 200
    assert "PUT" in answer.headers["Access-Control-Allow-Methods"]
    assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "https://board.example.evil.example",
        "https://evilboard.example",
        "https://sub.board.example",
        "https://board.example:8443",
        "http://board.example",
        "https://board.example/",
        "HTTPS://BOARD.EXAMPLE",
        "https://board.example, https://evil.example",
        "https://board.example%00.evil.example",
        "*",
        "",
    ],
)
def test_no_other_origin_may(shared: Flask, origin: str) -> None:
    for method in ("GET", "OPTIONS"):
        asked = {"Origin": origin, "Access-Control-Request-Method": "GET"}
        answer = shared.test_client().open("/api/v1/devices", method=method, headers=asked)
        assert not [name for name, _ in answer.headers if name.startswith("Access-Control-")]
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_without_a_list_no_origin_may(anybody: Client) -> None:
    headers = anybody.get("devices", headers={"Origin": BOARD}).headers
    assert "Access-Control-Allow-Origin" not in headers


@pytest.mark.parametrize(
    "origins",
    [
        "*",
        "null",
        "board.example",
        "https://board.example/",
        "https://*.board.example",
        "https://a@b.example",
    ],
)
def test_origins_that_are_not_exact_do_not_start(make_settings: SettingsFactory, origins: str) -> None:
    with pytest.raises(SettingsError, match="IIOT_ALLOWED_ORIGINS"):
        make_settings(IIOT_ALLOWED_ORIGINS=origins)


@pytest.mark.parametrize("method", ["TRACE", "TRACK", "CONNECT", "PATCH", "DEBUG", "PROPFIND"])
def test_other_methods_are_off(application: Application, method: str) -> None:
    answer = application.app.test_client().open("/api/v1/devices", method=method)
    assert answer.status_code == 405
    assert "Allow" in answer.headers


@pytest.mark.parametrize(
    "headers",
    [
        {"X-HTTP-Method-Override": "DELETE"},
        {"X-HTTP-Method": "DELETE"},
        {"X-Method-Override": "DELETE"},
        {"X-Original-URL": "/api/v1/auth/logout"},
        {"X-Rewrite-URL": "/api/v1/auth/logout"},
    ],
    ids=lambda headers: next(iter(headers)),
)
def test_headers_change_neither_method_nor_route(application: Application, headers: dict[str, str]) -> None:
    answer = application.app.test_client().get("/health/live", headers=headers)
    assert answer.get_json() == {"status": "ok"}


@pytest.mark.parametrize(
    "name",
    ["..%2f..%2fsettings.py", "../settings.py", "a%00.js", "x" * 5000 + ".js", "package.json", "%ff.js"],
)
def test_only_the_consoles_own_files_are_served(application: Application, name: str) -> None:
    assert application.app.test_client().get(f"/console/{name}").status_code in {404, 308}
