"""Who may listen, what arrives, and who has to go: real clients on a real server."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from observability import REGISTRY
from tests.api.sockets import (
    PLANT_B,
    Plant,
    bare_websocket,
    close_bare,
    plant,
    refusal,
    settled,
    wait_for_value,
    wait_until,
)

pytestmark = pytest.mark.services


# Getting in ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "auth",
    [
        None,
        {},
        {"token": ""},
        {"token": None},
        {"token": 7},
        {"token": "forged"},
        {"token": "x" * 9000},
        "token-vera",
    ],
)
@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_nobody_gets_in_without_a_valid_token(running: Plant, auth: Any, transport: str) -> None:
    assert "token" in refusal(running.url, auth, transport)


@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_a_token_in_the_address_is_refused(running: Plant, transport: str) -> None:
    for auth in (None, {"token": "token-vera"}):
        assert "not into the address" in refusal(f"{running.url}?token=token-vera", auth, transport)


def test_an_outage_refuses_politely(running: Plant) -> None:
    running.tokens.is_away = True
    assert "not possible at the moment" in refusal(running.url, {"token": "token-vera"})


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (None, 200),
        ("http://HOST", 200),
        ("https://hmi.plant.example", 200),
        ("https://evil.example", 400),
        ("http://HOST.evil.example", 400),
        ("https://hmi.plant.example.evil.example", 400),
        ("null", 400),
    ],
)
def test_only_own_and_allowed_origins_may_connect(origin: str | None, status: int) -> None:
    with plant(IIOT_ALLOWED_ORIGINS="https://hmi.plant.example") as running:
        host = urlsplit(running.url).netloc
        headers = {} if origin is None else {"Origin": origin.replace("HOST", host)}
        answer = requests.get(f"{running.url}/socket.io/?EIO=4&transport=polling", headers=headers, timeout=5)
        assert answer.status_code == status
        assert "Access-Control-Allow-Credentials" not in answer.headers


def test_one_socket_too_many_is_refused_while_http_answers() -> None:
    with plant(IIOT_MAX_SOCKETS="5", IIOT_REQUEST_THREADS="4") as running:
        clients = [running.client("token-vera") for _ in range(5)]
        assert "too many live connections" in refusal(running.url, {"token": "token-vera"})
        assert requests.get(f"{running.url}/ping", timeout=5).text == "pong"
        assert REGISTRY.get_sample_value("iiot_sockets_open") == 5
        clients[0].close()
        wait_until(lambda: REGISTRY.get_sample_value("iiot_sockets_open") == 4)
        assert running.client("token-vera").subscribe("P-101")["subscribed"] == ["P-101"]


def test_transports_that_do_not_sign_in_are_bounded_and_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.realtime._SIGN_IN_WITHIN_S", 0.5)
    with plant(IIOT_MAX_SOCKETS="5", IIOT_REQUEST_THREADS="4") as running:
        silent = [bare_websocket(running) for _ in range(6)]
        refused = requests.get(f"{running.url}/socket.io/?EIO=4&transport=polling", timeout=5)
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
        assert requests.get(f"{running.url}/ping", timeout=5).text == "pong"
        wait_until(lambda: not running.socketio.has_connections(), timeout_s=8)
        for client in silent:
            close_bare(client)
        running.client("token-vera")


# Listening ----------------------------------------------------------------------------------------------


def test_a_subscriber_gets_the_readings_of_its_devices_only(running: Plant) -> None:
    vera = running.client("token-vera")
    assert vera.subscribe("P-101", "P-999") == {"subscribed": ["P-101"], "unknown": ["P-999"]}
    running.publish("P-102", 1.0)
    running.publish("P-101", 2.5)
    wait_until(lambda: vera.updates)
    assert vera.updates == [
        {
            "device_id": "P-101",
            "seq": 1,
            "readings": [
                {
                    "device_id": "P-101",
                    "metric": "flow",
                    "ts": "2023-11-14T22:13:20.000Z",
                    "value": 2.5,
                    "quality": "good",
                }
            ],
        }
    ]


def test_the_polling_transport_listens_too(running: Plant) -> None:
    vera = running.client("token-vera", transports=["polling"])
    vera.subscribe("*")
    running.publish("P-101", 2.5)
    wait_until(lambda: vera.values == [2.5])


def test_a_foreign_device_cannot_be_heard_by_any_name(running: Plant) -> None:
    mallory = running.client("token-mallory")
    assert mallory.subscribe("M-301") == {"subscribed": [], "unknown": ["M-301"]}
    assert mallory.subscribe("P-101", "*") == {"subscribed": ["P-101", "*"], "unknown": []}
    for forged in ("1:P-101", "1:*", "*:*", "../P-101", "", " "):
        assert "error" in mallory.subscribe(forged)
    for event in ("join", "enter_room", "telemetry_update"):
        assert mallory.call(event, {"room": "1:P-101", "devices": ["P-101"]}) == {
            "error": "there is no such event"
        }
    for _ in range(50):
        running.publish("P-101", 1.0)
        running.publish("M-301", 2.0)
        running.realtime.device_changed(1, "P-101", "offline", 0)
    settled(running, (1, "P-101"), (1, "M-301"))
    running.publish("P-101", 3.0, tenant_id=PLANT_B)
    wait_until(lambda: mallory.events)
    assert mallory.values == [3.0]
    assert {event for event, _ in mallory.events} == {"telemetry_update"}


@pytest.mark.parametrize(
    "body",
    [
        None,
        7,
        "P-101",
        [],
        {},
        {"devices": None},
        {"devices": "P-101"},
        {"devices": [1]},
        {"devices": [["P-101"]]},
        {"devices": [{"id": 1}]},
        {"devices": ["x" * 65]},
        {"devices": ["P-101"] * 1001},
    ],
)
def test_a_bad_request_is_answered_and_harms_nothing(running: Plant, body: Any) -> None:
    vera = running.client("token-vera")
    for event in ("subscribe", "unsubscribe"):
        answer = vera.call(event, body)
        assert list(answer) == ["error"]
    assert vera.subscribe("P-101") == {"subscribed": ["P-101"], "unknown": []}


def test_subscribing_twice_and_to_everything_delivers_once_in_sequence(running: Plant) -> None:
    vera = running.client("token-vera")
    assert vera.call("subscribe", {"devices": "*"}) == {"subscribed": ["*"], "unknown": []}
    vera.subscribe("P-101", "P-101", "*")
    vera.subscribe("P-101")
    for number in range(100):
        running.publish("P-101", float(number))
        time.sleep(0.003)
    wait_until(lambda: 99.0 in vera.values)
    assert vera.values == [float(number) for number in range(100)]
    assert [update["seq"] for update in vera.updates] == list(range(1, len(vera.updates) + 1))
    assert len(vera.updates) < 20


def test_the_first_reading_of_a_quiet_device_goes_out_at_once(running: Plant) -> None:
    vera = running.client("token-vera")
    vera.subscribe("*")
    delays_s = []
    for number in range(10):
        published_at = time.monotonic()
        running.publish("P-101", float(number))
        wait_for_value(vera, float(number))
        delays_s.append(vera.arrived_at[-1] - published_at)
        time.sleep(0.12)
    assert sorted(delays_s)[5] < 0.02


def test_unsubscribing_ends_it(running: Plant) -> None:
    vera = running.client("token-vera")
    vera.subscribe("P-101", "P-102")
    assert vera.call("unsubscribe", {"devices": ["P-101", "M-301"]}) == {"unsubscribed": ["P-101", "M-301"]}
    running.publish("P-101", 1.0)
    settled(running, (1, "P-101"))
    running.publish("P-102", 2.0)
    wait_until(lambda: vera.values)
    assert vera.values == [2.0]
    assert running.realtime.is_listening(1, "P-102")
    vera.close()
    wait_until(lambda: not running.realtime.is_listening(1, "P-102"))


def test_a_change_of_a_device_is_told(running: Plant) -> None:
    vera = running.client("token-vera")
    vera.subscribe("P-101")
    running.realtime.device_changed(1, "P-101", "offline", 1_700_000_000_123_000)
    wait_until(lambda: vera.events)
    assert vera.events == [
        (
            "device_update",
            {"device_id": "P-101", "status": "offline", "last_seen": "2023-11-14T22:13:20.123Z"},
        )
    ]
