"""A small application with real sockets: tokens from a table, devices of two plants, a real HTTP server."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
import simple_websocket
import socketio
import socketio.exceptions
from flask import Flask
from werkzeug.serving import WSGIRequestHandler, make_server

from api.realtime import Realtime, create_socketio
from domain.errors import Unauthenticated, Unavailable
from domain.reading import Quality, StoredReadings
from observability import Heartbeats
from rbac import Principal
from settings import Settings, load_settings

PLANT_A, PLANT_B = 1, 2
DEVICES = {PLANT_A: {"P-101", "P-102", "M-301"}, PLANT_B: {"P-101", "X-900"}}
# A client's writer outlives its test for a while and complains to a stream that is gone by then.
QUIET = logging.getLogger("tests.sockets")
QUIET.setLevel(logging.CRITICAL)

T0_US = 1_700_000_000_000_000


def principal(name: str, tenant_id: int, *, permissions: Sequence[str] = ("telemetry:read",)) -> Principal:
    return Principal(
        user_id=name,
        email=f"{name}@plant.example",
        name=name,
        tenant_id=tenant_id,
        tenant_slug="plant",
        tenant_name="Plant",
        roles=("viewer",),
        permissions=frozenset(permissions),
        expires_at=datetime.now(UTC) + timedelta(hours=1),
    )


class Tokens:
    """Who carries which token, and whether that can be told at the moment."""

    def __init__(self) -> None:
        self.principals = {
            "token-vera": principal("vera", PLANT_A),
            "token-oskar": principal("oskar", PLANT_A),
            "token-mallory": principal("mallory", PLANT_B),
        }
        self.is_away = False
        self.asked = 0

    def authenticate(self, token: str) -> Principal:
        self.asked += 1
        if self.is_away:
            raise Unavailable("the database is away")
        try:
            return self.principals[token]
        except KeyError:
            raise Unauthenticated("unknown token") from None

    def change(self, token: str, **fields: Any) -> None:
        self.principals[token] = replace(self.principals[token], **fields)


class OneRequest(WSGIRequestHandler):
    """Werkzeug would go on reading HTTP from a connection after its WebSocket has ended."""

    protocol_version = "HTTP/1.0"

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        return None


class Plant:
    """The server with its sockets, and clients of it."""

    def __init__(self, settings: Settings) -> None:
        self.tokens = Tokens()
        self.app = Flask("sockets")
        self.socketio = create_socketio(settings)
        self.realtime = Realtime(
            self.socketio,
            authenticate=self.tokens.authenticate,
            devices_of=lambda tenant_id, ids: DEVICES[tenant_id].intersection(ids),
            settings=settings,
            heartbeats=Heartbeats(),
        )
        self.app.add_url_rule("/ping", view_func=lambda: "pong")
        self.socketio.init_app(self.app)
        self._server = make_server("127.0.0.1", 0, self.app, threaded=True, request_handler=OneRequest)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._clients: list[Client] = []

    def __enter__(self) -> Plant:
        self.realtime.start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._clients:
            client.close()
        self.realtime.stop(5)
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def client(self, token: str | None, **options: Any) -> Client:
        client = Client(self.url, None if token is None else {"token": token}, **options)
        self._clients.append(client)
        return client

    def publish(self, device_id: str, *values: float, tenant_id: int = PLANT_A, metric: str = "flow") -> None:
        readings = [(metric, T0_US, value, int(Quality.GOOD)) for value in values]
        self.realtime.publish([StoredReadings(tenant_id, device_id, readings)])


class Client:
    """A real Socket.IO client that remembers what it was sent."""

    def __init__(self, url: str, auth: object, **options: Any) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.arrived_at: list[float] = []
        self.disconnected_at: float | None = None
        self._socket = socketio.Client(reconnection=False, logger=QUIET, engineio_logger=QUIET)
        for event in ("telemetry_update", "device_update", "alert"):
            self._socket.on(event, lambda data, event=event: self._took(event, data))
        self._socket.on("disconnect", self._went)
        self._socket.connect(url, **{"auth": auth, "transports": ["websocket"], "wait_timeout": 5, **options})

    def _took(self, event: str, data: dict[str, Any]) -> None:
        self.arrived_at.append(time.monotonic())
        self.events.append((event, data))

    def _went(self, *_: object) -> None:
        self.disconnected_at = time.monotonic()

    @property
    def updates(self) -> list[dict[str, Any]]:
        return [data for event, data in self.events if event == "telemetry_update"]

    @property
    def values(self) -> list[float]:
        return [reading["value"] for update in self.updates for reading in update["readings"]]

    def call(self, event: str, body: object = None) -> Any:
        return self._socket.call(event, body, timeout=5)

    def subscribe(self, *devices: str) -> Any:
        return self.call("subscribe", {"devices": list(devices)})

    def emit(self, event: str, body: object = None) -> None:
        self._socket.emit(event, body)

    def close(self) -> None:
        self._socket.disconnect()
        hang_up(self._socket)


def hang_up(client: socketio.Client) -> None:
    """Let go of the connection; the library keeps that of a client that was cut."""
    client.eio.disconnect()
    if client.eio.ws is not None:
        client.eio.ws.shutdown()


def refusal(url: str, auth: object, transport: str = "websocket") -> str:
    """Why a client is not let in; fails where it is."""
    reasons: list[str] = []
    client = socketio.Client(reconnection=False, logger=QUIET, engineio_logger=QUIET)
    client.on("connect_error", lambda data: reasons.append(data["message"]))
    with pytest.raises(socketio.exceptions.ConnectionError):
        client.connect(url, auth=auth, transports=[transport], wait_timeout=5)
    hang_up(client)
    (reason,) = reasons
    return reason


def load(**variables: str) -> Settings:
    """Settings of a platform without its services."""
    environ = {
        "DATABASE_URL": "postgresql://nobody:nobody@127.0.0.1:9/none",
        "REDIS_URL": "redis://:nobody@127.0.0.1:9/0",
        "MQTT_URL": "mqtt://nobody:nobody@127.0.0.1:9",
        "IIOT_SECRET_KEY": "tests-only-R4nd0m-Key-that-is-long-enough-0123456789",
    }
    return load_settings({**environ, **variables})


@contextmanager
def plant(**variables: str) -> Iterator[Plant]:
    """A running plant with these settings."""
    with Plant(load(**variables)) as running:
        yield running


def wait_until(is_true: Callable[[], object], *, timeout_s: float = 5.0) -> float:
    """Wait until it is true; return how many seconds that took."""
    started = time.monotonic()
    while not is_true():
        assert time.monotonic() - started < timeout_s, "waited too long"
        time.sleep(0.005)
    return time.monotonic() - started


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


def bare_websocket(running: Plant) -> simple_websocket.Client:
    """A bare WebSocket that has not signed in."""
    return simple_websocket.Client(
        f"{running.url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket"
    )


def close_bare(client: simple_websocket.Client) -> None:
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
