"""Who may listen, what arrives, and who has to go: real clients on a real server."""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
import simple_websocket
import socketio.exceptions

from observability import REGISTRY
from tests.api.sockets import PLANT_B, Client, Plant, plant, refusal, wait_until

REVOKED_WITHIN_S = 5.0


@pytest.fixture
def running() -> Iterator[Plant]:
    with plant(IIOT_BROADCAST_INTERVAL_S="0.1") as running:
        yield running


def wait_for_value(client: Client, value: float) -> None:
    wait_until(lambda: value in client.values)


def wait_for_the_end(client: Client, *, timeout_s: float = 5.0) -> None:
    wait_until(lambda: client.disconnected_at, timeout_s=timeout_s)


def settled(running: Plant, *devices: tuple[int, str]) -> None:
    """Wait for a marker that follows everything published before."""
    watcher = {1: "token-oskar", 2: "token-mallory"}
    for tenant_id, device_id in devices:
        client = running.client(watcher[tenant_id])
        client.subscribe(device_id)
        running.publish(device_id, -1.0, tenant_id=tenant_id)
        wait_for_value(client, -1.0)


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
        silent = [websocket(running) for _ in range(6)]
        refused = requests.get(f"{running.url}/socket.io/?EIO=4&transport=polling", timeout=5)
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
        assert requests.get(f"{running.url}/ping", timeout=5).text == "pong"
        wait_until(lambda: not running.socketio.has_connections(), timeout_s=8)
        for client in silent:
            close(client)
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


# Having to go -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_a_token_that_ends_on_an_open_socket_ends_it(running: Plant, transport: str) -> None:
    expires_at = datetime.now(UTC) + timedelta(seconds=1.5)
    running.tokens.change("token-vera", expires_at=expires_at)
    vera, oskar = running.client("token-vera", transports=[transport]), running.client("token-oskar")
    wait_until(lambda: vera.disconnected_at, timeout_s=1.5 + REVOKED_WITHIN_S)
    assert timedelta(0) <= datetime.now(UTC) - expires_at < timedelta(seconds=REVOKED_WITHIN_S)
    assert oskar.disconnected_at is None


def test_the_end_of_a_token_counts_while_the_database_is_away(running: Plant) -> None:
    running.tokens.change("token-vera", expires_at=datetime.now(UTC) + timedelta(seconds=1.5))
    vera, oskar = running.client("token-vera"), running.client("token-oskar")
    running.tokens.is_away = True
    wait_until(lambda: vera.disconnected_at, timeout_s=1.5 + REVOKED_WITHIN_S)
    assert oskar.subscribe("P-101")["subscribed"] == ["P-101"]


def test_a_revoked_person_is_cut_from_all_sockets(running: Plant) -> None:
    sockets = [running.client("token-vera") for _ in range(3)]
    oskar = running.client("token-oskar")
    for client in (*sockets, oskar):
        client.subscribe("P-101")
    del running.tokens.principals["token-vera"]
    for client in sockets:
        wait_for_the_end(client, timeout_s=REVOKED_WITHIN_S)
    running.publish("P-101", 1.0)
    wait_until(lambda: oskar.values == [1.0])
    assert all(client.values == [] for client in sockets)


def test_sockets_of_one_token_are_checked_together(running: Plant) -> None:
    for _ in range(10):
        running.client("token-vera")
    asked = running.tokens.asked
    running.realtime.check_rights()
    assert running.tokens.asked - asked <= 2


def test_a_lost_permission_leaves_the_rooms_and_keeps_the_socket(running: Plant) -> None:
    vera = running.client("token-vera")
    vera.subscribe("*")
    running.tokens.change("token-vera", permissions=frozenset({"devices:read"}))
    wait_until(lambda: not running.realtime.is_listening(1, "P-101"), timeout_s=REVOKED_WITHIN_S)
    settled(running, (1, "P-101"))
    assert vera.values == []
    assert vera.subscribe("P-101") == {"error": "the permission telemetry:read is missing"}
    running.tokens.change("token-vera", permissions=frozenset({"telemetry:read"}))
    wait_until(lambda: "error" not in vera.subscribe("P-101"), timeout_s=REVOKED_WITHIN_S)


def test_a_client_that_floods_is_cut(running: Plant) -> None:
    vera, oskar = running.client("token-vera"), running.client("token-oskar")
    deadline = time.monotonic() + 10
    while vera.disconnected_at is None and time.monotonic() < deadline:
        try:
            vera.emit("shout", {"n": 1})
        except socketio.exceptions.BadNamespaceError:
            break
    wait_until(lambda: vera.disconnected_at)
    assert oskar.subscribe("P-101")["subscribed"] == ["P-101"]


def test_a_message_that_is_too_large_ends_its_connection_only(running: Plant) -> None:
    vera, oskar = running.client("token-vera"), running.client("token-oskar")
    vera.emit("subscribe", {"devices": ["x" * 1_000_000]})
    wait_until(lambda: vera.disconnected_at)
    assert oskar.subscribe("P-101")["subscribed"] == ["P-101"]


def test_a_client_that_does_not_read_is_cut_and_frees_its_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("api.realtime._MAX_WAITING_PACKETS", 20)
    with plant(IIOT_BROADCAST_INTERVAL_S="0.01") as running:
        cut_the_deaf(running)


def cut_the_deaf(running: Plant) -> None:
    vera = running.client("token-vera")
    vera.subscribe("P-102")
    with closing(deaf_client(running)) as deaf:
        wait_until(lambda: running.realtime.is_listening(1, "P-101"))
        deadline = time.monotonic() + 20
        while running.realtime.is_listening(1, "P-101"):
            assert time.monotonic() < deadline
            running.publish("P-101", *(float(number) for number in range(400)))
            time.sleep(0.01)
        wait_until(lambda: len(running.socketio.transports()) == 1)
        assert deaf.fileno() >= 0
    running.publish("P-102", 1.0)
    wait_until(lambda: vera.values == [1.0])


def websocket(running: Plant) -> simple_websocket.Client:
    """A bare WebSocket that has not signed in."""
    return simple_websocket.Client(
        f"{running.url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket"
    )


def close(client: simple_websocket.Client) -> None:
    if client.connected:
        client.close()
    client.thread.join(5)
    client.sock.close()


def deaf_client(running: Plant) -> socket.socket:
    """A WebSocket that signs in, subscribes to P-101 and never reads again."""
    host, port = urlsplit(running.url).hostname, urlsplit(running.url).port
    assert host is not None
    assert port is not None
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect((host, port))
    connection.sendall(
        b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: plant\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    # Frames that came with the request would wait in the buffer of the HTTP server.
    while not connection.recv(4096).endswith(b"\r\n\r\n"):
        pass
    for message in (b'40{"token":"token-vera"}', b'42["subscribe",{"devices":["P-101"]}]'):
        connection.sendall(bytes([0x81, 0x80 | len(message), 0, 0, 0, 0]) + message)
    return connection


def test_garbage_ends_at_most_its_own_connection(running: Plant) -> None:
    vera = running.client("token-vera")
    address = urlsplit(running.url)
    for target, body in (
        ("?EIO=4&transport=polling", b"\xff\xfe"),
        ("?EIO=3&transport=polling", b""),
        ("?EIO=4&transport=polling&sid=nobody", b"4x"),
        ("?EIO=4&transport=carrier-pigeon", b""),
    ):
        with closing(http.client.HTTPConnection(address.netloc, timeout=5)) as connection:
            connection.request("POST", f"/socket.io/{target}", body)
            assert 400 <= connection.getresponse().status < 500
    for packet in (
        "9",
        "4",
        "49",
        "451-",
        "42",
        "42[",
        "42{}",
        "42[]",
        "4" + "[" * 5000,
        "45999999999999-[]",
    ):
        client = websocket(running)
        client.send(packet)
        close(client)
    assert vera.subscribe("P-101")["subscribed"] == ["P-101"]
