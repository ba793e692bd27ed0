"""Who has to go, and what becomes of those who will not: real clients on a real server."""

from __future__ import annotations

import http.client
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest
import socketio.exceptions

from tests.api.sockets import (
    Plant,
    bare_websocket,
    close_bare,
    deaf_client,
    plant,
    settled,
    wait_for_the_end,
    wait_until,
)

pytestmark = pytest.mark.services

REVOKED_WITHIN_S = 5.0


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
        client = bare_websocket(running)
        client.send(packet)
        close_bare(client)
    assert vera.subscribe("P-101")["subscribed"] == ["P-101"]
