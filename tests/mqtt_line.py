"""The platform's MQTT client on a real broker, and publishers as devices are."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from ingest.buffer import Item, Message, SessionLost
from mqtt_client import Intake, MqttClient
from observability import Heartbeats
from settings import MqttSettings
from tests.polling import until


class Publisher:
    """A device that publishes at QoS 1; `flush` returns when the broker has taken everything."""

    def __init__(self, url: str, *, client_id: str = "", protocol: int = paho.MQTTv5) -> None:
        self._parts = urlsplit(url)
        self._sent: list[paho.MQTTMessageInfo] = []
        is_v5 = protocol == paho.MQTTv5
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            clean_session=None if is_v5 else True,
            protocol=protocol,  # type: ignore[arg-type]
        )
        self._client.max_inflight_messages_set(500)
        if self._parts.username:
            self._client.username_pw_set(unquote(self._parts.username), unquote(self._parts.password or ""))

    def __enter__(self) -> Self:
        self._client.connect(self._parts.hostname or "localhost", self._parts.port or 1883)
        self._client.loop_start()
        until(self._client.is_connected, what="a connected publisher")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        self._sent.append(self._client.publish(topic, payload, qos=qos, retain=retain))

    def flush(self) -> None:
        for info in self._sent:
            info.wait_for_publish(timeout=20)
            assert info.is_published()
        self._sent.clear()


class DeviceAtBroker:
    """A device that signs in with its own credential and hears what the broker answers."""

    def __init__(
        self, port: int, username: str, password: str, client_id: str, protocol: int = paho.MQTTv5
    ) -> None:
        self.heard: list[str] = []
        self._port = port
        self._cut = threading.Event()
        self._refusal: str | None = None
        self._answers: dict[int, str] = {}
        self._granted: set[int] = set()
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=protocol,  # type: ignore[arg-type]
            reconnect_on_failure=False,
        )
        self._client.username_pw_set(username, password)
        self._client.on_connect = self._on_connect
        self._client.on_message = lambda _client, _data, message: self.heard.append(message.topic)
        self._client.on_disconnect = lambda *_: self._cut.set()
        self._client.on_publish = lambda _client, _data, mid, reason, _more: self._answers.update(
            {mid: str(reason)}
        )
        self._client.on_subscribe = lambda _client, _data, mid, _reasons, _more: self._granted.add(mid)

    def _on_connect(
        self, _client: object, _data: object, _flags: object, reason: ReasonCode, _more: object
    ) -> None:
        self._refusal = str(reason) if reason.is_failure else ""

    def __enter__(self) -> Self:
        self._client.connect("127.0.0.1", self._port)
        self._client.loop_start()
        until(lambda: self._refusal is not None, what="an answer to CONNECT")
        if self._refusal:
            self._client.loop_stop()
            raise PermissionError(self._refusal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    @property
    def is_connected(self) -> bool:
        return not self._cut.is_set()

    def publish(self, topic: str, payload: bytes = b"{}") -> str:
        """Publish at QoS 1; return what the broker says to it, whether or not anybody listens."""
        mid = self._client.publish(topic, payload, qos=1).mid
        until(lambda: mid in self._answers, what=f"an answer to a message to {topic}")
        return self._answers[mid].replace("No matching subscribers", "Success")

    def subscribe(self, topics: str) -> None:
        """Subscribe; whether the broker grants it or not."""
        mid = self._client.subscribe(topics, 1)[1]
        until(lambda: mid in self._granted, what=f"an answer to the subscription to {topics}")


def mqtt_settings(url: str, client_id: str, **variables: object) -> MqttSettings:
    """Settings of the client; keyword arguments are further environment variables."""
    given = {"MQTT_URL": url, "IIOT_MQTT_CLIENT_ID": client_id, **variables}
    return MqttSettings.model_validate(given)


@dataclass(slots=True)
class Line:
    """A client on the line."""

    client: MqttClient
    heartbeats: Heartbeats

    def wait_connected(self) -> None:
        until(lambda: self.client.state.is_connected, what="a connection to the broker")


@contextmanager
def connected(
    settings: MqttSettings, *, subscriptions: Sequence[str], intake: Intake, is_awaited: bool = True
) -> Iterator[Line]:
    """A started client, connected unless nobody waits for it; stopped at the end."""
    heartbeats = Heartbeats()
    client = MqttClient(settings, subscriptions=subscriptions, intake=intake, heartbeats=heartbeats)
    line = Line(client, heartbeats)
    client.start()
    try:
        if is_awaited:
            line.wait_connected()
        yield line
    finally:
        assert client.stop(timeout_s=10)


def forget_session(url: str, client_id: str) -> None:
    """Have the broker forget the session of a client."""
    with Publisher(url, client_id=client_id):
        pass


@dataclass(slots=True)
class Inbox:
    """Takes messages and shows them; full when the test says so."""

    items: list[Item] = field(default_factory=list)
    full_at: int = 1_000_000

    @property
    def is_full(self) -> bool:
        return len(self.items) >= self.full_at

    def accept(self, items: Sequence[Item]) -> None:
        self.items += items

    @property
    def messages(self) -> list[Message]:
        return [item for item in self.items if isinstance(item, Message)]

    @property
    def payloads(self) -> list[bytes]:
        return [message.payload for message in self.messages]

    def has(self, count: int) -> bool:
        return len(self.messages) == count

    @property
    def lost_sessions(self) -> int:
        return sum(isinstance(item, SessionLost) for item in self.items)


@dataclass(frozen=True, slots=True)
class Wire:
    """A client id with topics of its own on a broker."""

    url: str
    client_id: str
    root: str

    def topic(self, device: str = "P-101") -> str:
        return f"{self.root}/{device}/telemetry"

    def connect(
        self, inbox: Inbox, *, url: str = "", is_awaited: bool = True, **variables: object
    ) -> AbstractContextManager[Line]:
        settings = mqtt_settings(url or self.url, self.client_id, **variables)
        return connected(settings, subscriptions=[self.topic("+")], intake=inbox, is_awaited=is_awaited)

    def publish(self, *payloads: bytes) -> None:
        with Publisher(self.url) as publisher:
            for payload in payloads:
                publisher.publish(self.topic(), payload)
            publisher.flush()

    def settle_in(self) -> None:
        """Have the broker keep from now on what is published, until the client takes it."""
        inbox = Inbox()

        def hears() -> bool:
            self.publish(b"hello")
            return bool(inbox.messages)

        with self.connect(inbox):
            until(hears)
        self.take_everything()

    def take_everything(self) -> list[Message]:
        """Connect, take and acknowledge whatever the broker has for the client."""
        inbox, last = Inbox(), secrets.token_bytes(8)
        self.publish(last)
        with self.connect(inbox) as line:
            until(lambda: last in inbox.payloads, what="the last message")
            acknowledge(line, inbox.messages)
        return inbox.messages[:-1]


def acknowledge(line: Line, messages: Sequence[Message]) -> None:
    line.client.acknowledge([(message.epoch, message.mid) for message in messages])


def new_wire(url: str) -> Wire:
    label = secrets.token_hex(4)
    return Wire(url, f"client-{label}", f"iiot/v1/{label}/plant-a")
