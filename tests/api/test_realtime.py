"""Socket.IO over a real server and real clients: who gets in, what they hear, when they have to go."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
import socketio
import socketio.exceptions
from flask import Flask
from werkzeug.serving import make_server

from api.realtime import Realtime, create_socketio
from domain.errors import Unauthenticated
from domain.reading import Quality, StoredReadings
from observability import Heartbeats
from rbac import Principal
from settings import Settings, load_settings

pytestmark = pytest.mark.services

DEVICES = {1: {"P-101", "P-102"}, 2: {"X-1"}}
DEADLINE_S = 6.0


@dataclass
class Site:
    """A running server with the people who hold tokens for it."""

    address: str
    realtime: Realtime
    people: dict[str, Principal]
    clients: list[socketio.Client] = field(default_factory=list)
    closers: list[Callable[[], None]] = field(default_factory=list)

    def connect(self, token: str | None, *, query: str = "", transport: str = "websocket") -> Ear:
        ear = Ear(socketio.Client(reconnection=False))
        self.clients.append(ear.client)
        auth = None if token is None else {"token": token}
        ear.client.connect(self.address + query, auth=auth, transports=[transport], wait_timeout=5)
        self._close_later(ear.client)
        return ear

    def _close_later(self, client: socketio.Client) -> None:
        """Have the client's sockets closed: it leaves that to the garbage collector when the server ends."""
        parts = [(client.eio.http, "close"), (getattr(client.eio, "ws", None), "shutdown")]
        self.closers += [getattr(part, name) for part, name in parts if part is not None]

    def refusal(self, token: str | None, *, query: str = "") -> str:
        """What a refused client is told."""
        client = socketio.Client(reconnection=False)
        told: list[str] = []
        client.on("connect_error", lambda answer: told.append(str(answer)))
        with pytest.raises(socketio.exceptions.ConnectionError):
            client.connect(
                self.address + query,
                auth=None if token is None else {"token": token},
                transports=["websocket"],
                wait_timeout=5,
            )
        self._close_later(client)
        return " ".join(told)

    def reading(self, device_id: str, value: float, *, tenant_id: int = 1) -> None:
        row = ("flow", time.time_ns() // 1000, value, int(Quality.GOOD))
        self.realtime.publish([StoredReadings(tenant_id, device_id, [row])])


class Ear:
    """A client and what it heard."""

    def __init__(self, client: socketio.Client) -> None:
        self.client = client
        self.updates: list[dict[str, Any]] = []
        self.changes: list[dict[str, Any]] = []
        client.on("telemetry_update", self.updates.append)
        client.on("device_update", self.changes.append)

    @property
    def values(self) -> list[float]:
        return [reading["value"] for update in self.updates for reading in update["readings"]]

    def subscribe(self, *devices: object) -> dict[str, Any]:
        answer: dict[str, Any] = self.client.call("subscribe", {"devices": list(devices)}, timeout=5)
        return answer


def until(condition: Callable[[], bool], *, within_s: float = DEADLINE_S) -> bool:
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        threading.Event().wait(0.01)
    return True


def principal(
    tenant_id: int, *, lasts: timedelta = timedelta(hours=1), may: str = "telemetry:read"
) -> Principal:
    return Principal(
        user_id=f"user-of-{tenant_id}",
        email="someone@example.com",
        name="Someone",
        tenant_id=tenant_id,
        tenant_slug=f"plant-{tenant_id}",
        tenant_name="A plant",
        roles=("viewer",),
        permissions=frozenset({may}),
        expires_at=datetime.now(UTC) + lasts,
    )


@pytest.fixture
def few_sockets() -> Settings:
    return load_settings(
        {
            "DATABASE_URL": "postgresql://nobody:nothing@127.0.0.1:1/none",
            "REDIS_URL": "redis://127.0.0.1:1/0",
            "MQTT_URL": "mqtt://127.0.0.1:1",
            "IIOT_SECRET_KEY": "a-secret-of-the-tests-0123456789-abcdef",
            "IIOT_MAX_SOCKETS": "5",
            "IIOT_BROADCAST_INTERVAL_S": "0.05",
        }
    )


@pytest.fixture
def site(few_sockets: Settings) -> Iterator[Site]:
    people = {"alice": principal(1), "mallory": principal(2), "guest": principal(1, may="devices:read")}

    def authenticate(token: str) -> Principal:
        if token not in people:
            raise Unauthenticated("nobody carries it")
        return people[token]

    app = Flask("realtime")
    app.add_url_rule("/alive", view_func=lambda: "yes")
    sockets = create_socketio(few_sockets)
    realtime = Realtime(
        sockets,
        authenticate=authenticate,
        devices_of=lambda tenant_id, ids: DEVICES[tenant_id].intersection(ids),
        settings=few_sockets,
        heartbeats=Heartbeats(),
    )
    sockets.init_app(app)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    realtime.start()
    site = Site(f"http://127.0.0.1:{server.server_port}", realtime, people)
    yield site
    realtime.stop(3)
    assert until(lambda: not any(client.connected for client in site.clients))
    for close in site.closers:
        close()
    server.shutdown()
    thread.join(3)
    server.server_close()


@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_a_reading_reaches_those_who_listen_to_its_device(site: Site, transport: str) -> None:
    alice = site.connect("alice", transport=transport)
    assert alice.subscribe("P-101") == {"subscribed": ["P-101"], "unknown": []}
    site.reading("P-102", 1.0)
    site.reading("P-101", 2.0)
    assert until(lambda: alice.values == [2.0])


@pytest.mark.parametrize("token", [None, "", "forged", 5])
def test_nobody_gets_in_without_a_valid_token(site: Site, token: Any) -> None:
    assert "token" in site.refusal(token)


def test_a_token_in_the_address_is_refused(site: Site) -> None:
    assert "address" in site.refusal("alice", query="/?token=alice")


def test_without_the_permission_there_is_no_connection(site: Site) -> None:
    assert "telemetry:read" in site.refusal("guest")


def test_another_tenants_device_is_as_unknown_as_a_missing_one(site: Site) -> None:
    mallory = site.connect("mallory")
    assert mallory.subscribe("P-101", "none") == {"subscribed": [], "unknown": ["P-101", "none"]}


def test_an_administrator_of_another_tenant_hears_nothing_of_plant_a(site: Site) -> None:
    alice, mallory = site.connect("alice"), site.connect("mallory")
    alice.subscribe("*")
    mallory.subscribe("*")
    for value in range(20):
        site.reading("P-101", float(value))
        site.realtime.device_changed(1, "P-101", "online", value)
    site.reading("X-1", -1.0, tenant_id=2)
    assert until(lambda: len(alice.values) == 20 and mallory.values == [-1.0])
    assert mallory.changes == []
    assert alice.changes


def test_who_listens_to_one_and_to_all_hears_each_reading_once(site: Site) -> None:
    alice = site.connect("alice")
    alice.subscribe("*", "P-101")
    for value in range(10):
        site.reading("P-101", float(value))
    site.reading("P-102", 99.0)
    assert until(lambda: len(alice.values) >= 11)
    assert sorted(alice.values) == [*map(float, range(10)), 99.0]
    assert [update["seq"] for update in alice.updates if update["device_id"] == "P-101"] == list(
        range(1, len(alice.updates))
    )


def test_who_unsubscribes_hears_no_more(site: Site) -> None:
    alice = site.connect("alice")
    alice.subscribe("P-101", "P-102")
    assert alice.client.call("unsubscribe", {"devices": ["P-101"]}) == {"unsubscribed": ["P-101"]}
    site.reading("P-101", 1.0)
    site.reading("P-102", 2.0)
    assert until(lambda: alice.values == [2.0])
    assert not site.realtime.is_listening(1, "P-101")


@pytest.mark.parametrize(
    "devices", ["P-101", None, [1], [""], ["a/b"], ["../etc"], ["P-101"] * 1001, [None], {"P-101": 1}]
)
def test_a_malformed_subscription_is_answered_and_changes_nothing(site: Site, devices: object) -> None:
    alice = site.connect("alice")
    assert "error" in alice.client.call("subscribe", {"devices": devices}, timeout=5)
    assert alice.subscribe("P-101")["subscribed"] == ["P-101"]


def test_a_socket_ends_with_its_token(site: Site) -> None:
    site.people["alice"] = principal(1, lasts=timedelta(seconds=1))
    alice = site.connect("alice")
    assert until(lambda: not alice.client.connected)


def test_a_socket_ends_when_its_person_is_signed_out(site: Site) -> None:
    alice = site.connect("alice")
    alice.subscribe("*")
    del site.people["alice"]
    assert until(lambda: not alice.client.connected)
    assert not site.realtime.is_listening(1, "P-101")


def test_a_socket_ends_when_its_person_may_no_longer_read(site: Site) -> None:
    alice = site.connect("alice")
    site.people["alice"] = replace(site.people["alice"], permissions=frozenset())
    assert until(lambda: not alice.client.connected)


def test_one_socket_too_many_is_refused_while_http_still_answers(site: Site) -> None:
    for _ in range(5):
        site.connect("alice")
    assert "too many" in site.refusal("alice")
    assert requests.get(f"{site.address}/alive", timeout=5).text == "yes"
    site.clients[0].disconnect()
    assert until(lambda: site.connect("alice").client.connected)


def test_a_page_of_another_origin_may_not_open_a_socket(site: Site) -> None:
    answer = requests.get(
        f"{site.address}/socket.io/?EIO=4&transport=polling",
        headers={"Origin": "https://evil.example"},
        timeout=5,
    )
    assert answer.status_code == 400


def test_a_client_that_reads_nothing_is_cut_off(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.realtime._MAX_WAITING_PACKETS", 20)
    lazy = site.connect("alice")
    lazy.subscribe("*")
    (transport,) = site.realtime._transports().values()
    for _ in range(100):
        transport.queue.put(None.__class__)
    site.realtime.sweep()
    assert until(lambda: not site.realtime.is_listening(1, "P-101"))


def test_a_transport_that_never_signs_in_is_closed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.realtime._SIGN_IN_WITHIN_S", 0.5)
    requests.get(f"{site.address}/socket.io/?EIO=4&transport=polling", timeout=5)
    assert site.realtime._transports()
    assert until(lambda: not site.realtime._transports())
