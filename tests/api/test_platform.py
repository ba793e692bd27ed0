"""Health, metrics, and what every answer has in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from api import ComponentHealth
from settings import Settings
from storage.pool import AppDatabase, Pool, PoolOptions, SystemDatabase
from tests.application import Application, all_well, running_application
from tests.conftest import SettingsFactory
from tests.people import Client, Plants, sign_in

pytestmark = pytest.mark.services

SignedIn = Callable[[str], Client]


@pytest.fixture
def health(application: Application) -> Iterator[Callable[[str, str], None]]:
    """Sets the state of one part; all is well again afterwards."""

    def become(name: str, status: str) -> None:
        application.health.parts = [
            ComponentHealth(part.name, status if part.name == name else "ok", part.detail)  # type: ignore[arg-type]
            for part in all_well()
        ]

    yield become
    application.health.parts = all_well()


def test_a_well_platform_is_live_ready_and_ok(anybody: Client) -> None:
    assert anybody.get("/health/live").get_json() == {"status": "ok"}
    assert anybody.get("/health/ready").status_code == 200
    answer = anybody.get("/health")
    assert answer.status_code == 200
    assert answer.get_json()["status"] == "ok"


@pytest.mark.parametrize(
    ("part", "status", "ready", "overall"),
    [
        ("database", "down", 503, "down"),
        ("migrations", "down", 503, "down"),
        ("writer", "down", 503, "down"),
        ("broker", "down", 200, "degraded"),
        ("cache", "down", 200, "degraded"),
        ("database", "degraded", 200, "degraded"),
    ],
)
def test_readiness_needs_what_serving_needs(
    anybody: Client, health: Callable[[str, str], None], part: str, status: str, ready: int, overall: str
) -> None:
    health(part, status)
    assert anybody.get("/health/ready").status_code == ready
    answer = anybody.get("/health")
    assert answer.get_json()["status"] == overall
    assert answer.status_code == (503 if overall == "down" else 200)
    assert {"name": part, "status": status} in answer.get_json()["components"]


def test_details_are_for_administrators(anybody: Client, client: SignedIn) -> None:
    for reader in (anybody, client("vera"), client("oskar")):
        assert all("detail" not in part for part in reader.get("/health").get_json()["components"])
    for part in client("alice").get("/health").get_json()["components"]:
        assert part["detail"] == f"{part['name']} of the test"
    assert Client(anybody._http.application, "no token").get("/health").status_code == 401


def test_metrics_are_open_where_no_token_is_set(anybody: Client) -> None:
    answer = anybody.get("/metrics")
    assert answer.status_code == 200
    assert answer.content_type.startswith("text/plain")
    assert b"iiot_http_request_seconds_count" in answer.get_data()


def test_metrics_ask_for_their_token(
    make_settings: SettingsFactory, app_database: AppDatabase, system_database: SystemDatabase, plants: Plants
) -> None:
    settings = make_settings(IIOT_METRICS_TOKEN="figures for prometheus")
    with running_application(settings, app_database, system_database) as running:
        assert Client(running.app, None).get("/metrics").status_code == 401
        assert Client(running.app, "guess").get("/metrics").status_code == 401
        assert sign_in(running.app, "alice").get("/metrics").status_code == 401
        assert Client(running.app, "figures for prometheus").get("/metrics").status_code == 200


@pytest.mark.parametrize(
    ("given", "is_kept"),
    [
        ("abc-123_X.y", True),
        ("x" * 64, True),
        ("x" * 65, False),
        ("a b", False),
        ("<script>", False),
        ("", False),
    ],
)
def test_a_sane_request_id_is_kept_and_any_other_replaced(anybody: Client, given: str, is_kept: bool) -> None:
    answer = anybody.get("nothing", headers={"X-Request-ID": given})
    assert (answer.headers["X-Request-ID"] == given) == is_kept
    assert answer.get_json()["request_id"] == answer.headers["X-Request-ID"]


def test_what_does_not_exist_is_a_problem_document(anybody: Client) -> None:
    answer = anybody.get("no/such/route", headers={"X-Request-ID": "one"})
    assert answer.status_code == 404
    assert answer.content_type == "application/problem+json"
    assert answer.get_json() == {
        "type": "urn:iiot:problem:not-found",
        "title": "Not Found.",
        "status": 404,
        "detail": "There is no such resource.",
        "instance": "/api/v1/no/such/route",
        "request_id": "one",
    }


def test_a_wrong_method_names_the_right_ones(anybody: Client) -> None:
    answer = anybody.open("PATCH", "devices")
    assert answer.status_code == 405
    assert answer.content_type == "application/problem+json"
    assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS", "POST"}


@pytest.mark.parametrize("method", ["TRACE", "CONNECT"])
def test_methods_of_proxies_are_not_served(anybody: Client, method: str) -> None:
    assert anybody.open(method, "devices").status_code == 405


def test_a_method_override_is_ignored(client: SignedIn) -> None:
    answer = client("alice").get("devices", headers={"X-HTTP-Method-Override": "DELETE"})
    assert answer.status_code == 200


def test_an_unforeseen_failure_tells_the_user_only_an_id(
    application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down() -> list[ComponentHealth]:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(application.health, "report", break_down)
    answer = application.app.test_client().get("/health", headers={"X-Request-ID": "find-me"})
    assert answer.status_code == 500
    assert answer.get_json()["request_id"] == "find-me"
    assert "secret detail" not in answer.get_data(as_text=True)


def test_a_missing_database_is_a_503_with_retry_after(
    settings: Settings, app_database: AppDatabase, system_database: SystemDatabase, plants: Plants
) -> None:
    away = AppDatabase(_pool_without_server())
    with running_application(settings, app_database, system_database) as running:
        token = sign_in(running.app, "alice").token
    with running_application(settings, away, system_database) as running:
        answer = Client(running.app, token).get("devices")
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) >= 1
    assert answer.get_json()["type"] == "urn:iiot:problem:database-unavailable"
    assert "127.0.0.1" not in answer.get_data(as_text=True)


def test_readings_are_answered_503_while_they_cannot_be_stored(
    settings: Settings, app_database: AppDatabase, system_database: SystemDatabase, plants: Plants
) -> None:
    with running_application(settings, app_database, system_database) as running:
        token = sign_in(running.app, "alice").token
    away = SystemDatabase(_pool_without_server())
    with running_application(settings, app_database, away) as running:
        body = {"readings": [{"device_id": "P-1", "metric": "flow", "value": 1}]}
        answer = Client(running.app, token).post("telemetry", json=body)
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) >= 1


def _pool_without_server() -> Pool:
    options = PoolOptions(size=1, wait_s=0.1, connect_timeout_s=1, statement_timeout_s=1)
    return Pool("postgresql://nobody:none@127.0.0.1:9/none", name="away", options=options)


def test_answers_are_not_cached_nor_sniffed(client: SignedIn) -> None:
    headers = client("alice").get("devices").headers
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
