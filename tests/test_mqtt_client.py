"""The MQTT client on a real broker: late acknowledgement, back-pressure, reconnection."""

from __future__ import annotations

import secrets
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import IO

import pytest

from domain.errors import Unavailable
from ingest.buffer import Item, Message, SessionLost
from mqtt_client import MqttClient
from observability import Heartbeats, possible_gaps
from tests.broker import OwnBroker, own_broker
from tests.mqtt_line import Line, Publisher, connected, forget_session, mqtt_settings
from tests.polling import until
from tests.tcp_proxy import TcpProxy

pytestmark = pytest.mark.services


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
            _acknowledge(line, inbox.messages)
        return inbox.messages[:-1]


def _acknowledge(line: Line, messages: Sequence[Message]) -> None:
    line.client.acknowledge([(message.epoch, message.mid) for message in messages])


def _wire(url: str) -> Wire:
    label = secrets.token_hex(4)
    return Wire(url, f"client-{label}", f"iiot/v1/{label}/plant-a")


@pytest.fixture
def wire(mqtt_url: str) -> Iterator[Wire]:
    """A client id that the broker of the tests keeps messages for."""
    wire = _wire(mqtt_url)
    wire.settle_in()
    yield wire
    forget_session(mqtt_url, wire.client_id)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnBroker]:
    """A broker that the tests of this module stop and start."""
    with own_broker(tmp_path_factory.mktemp("broker")) as broker:
        yield broker


# Late acknowledgement ------------------------------------------------------------------------------


def test_what_is_not_acknowledged_comes_again_with_the_mark_of_a_redelivery(wire: Wire) -> None:
    wire.publish(b"1", b"2", b"3")
    first, second = Inbox(), Inbox()
    with wire.connect(first):
        until(lambda: len(first.messages) == 3)
    with wire.connect(second) as line:
        until(lambda: len(second.messages) == 3)
        _acknowledge(line, second.messages[:2])
    assert not any(message.is_redelivery for message in first.messages)
    assert all(message.is_redelivery for message in second.messages)
    assert [message.mid for message in second.messages] == [message.mid for message in first.messages]
    assert first.payloads == second.payloads == [b"1", b"2", b"3"]
    assert [message.payload for message in wire.take_everything()] == [b"3"]
    assert wire.take_everything() == []


def test_messages_arrive_as_they_were_published(wire: Wire) -> None:
    inbox = Inbox()
    with wire.connect(inbox), Publisher(wire.url) as publisher:
        for qos in (0, 1, 2):
            publisher.publish(wire.topic(f"P-{qos}"), b"x" * 1000 * qos, qos=qos)
        publisher.flush()
        until(lambda: len(inbox.messages) == 3)
    assert [(message.topic, len(message.payload)) for message in inbox.messages] == [
        (wire.topic("P-0"), 0),
        (wire.topic("P-1"), 1000),
        (wire.topic("P-2"), 2000),
    ]
    assert [message.mid > 0 for message in inbox.messages] == [False, True, True]
    assert {message.epoch for message in inbox.messages} == {1}
    assert not any(message.is_retained for message in inbox.messages)


def test_messages_of_one_moment_have_times_of_arrival_of_their_own(wire: Wire) -> None:
    inbox = Inbox()
    wire.publish(*[b"same"] * 200)
    with wire.connect(inbox) as line:
        until(lambda: len(inbox.messages) == 200)
        _acknowledge(line, inbox.messages)
    times = [message.received_at_us for message in inbox.messages]
    assert sorted(set(times)) == times


def test_an_acknowledgement_of_an_earlier_connection_is_never_sent(wire: Wire) -> None:
    inbox = Inbox()
    wire.publish(b"1", b"2")
    with TcpProxy(wire.url, default_port=1883) as proxy, wire.connect(inbox, url=proxy.url) as line:
        until(lambda: len(inbox.messages) == 2)
        stale = list(inbox.messages)
        proxy.cut()
        until(lambda: not line.client.state.is_connected)
        _acknowledge(line, stale)
        proxy.mend()
        until(lambda: len(inbox.messages) == 4)
        _acknowledge(line, stale)
        fresh = inbox.messages[2:]
        assert [message.mid for message in fresh] == [message.mid for message in stale]
        assert {message.epoch for message in stale} == {1}
        assert {message.epoch for message in fresh} == {2}
        assert inbox.lost_sessions == 0
    assert [message.payload for message in wire.take_everything()] == [b"1", b"2"]


def test_stopping_sends_the_acknowledgements_that_are_due(wire: Wire) -> None:
    for _ in range(5):
        inbox = Inbox()
        payloads = [str(number).encode() for number in range(100)]
        wire.publish(*payloads)
        with wire.connect(inbox) as line:
            until(partial(inbox.has, 100))
            _acknowledge(line, inbox.messages)
        assert inbox.payloads == payloads
    assert wire.take_everything() == []


def test_after_pausing_nothing_is_read_but_acknowledgements_still_go_out(wire: Wire) -> None:
    inbox = Inbox()
    wire.publish(b"1")
    with wire.connect(inbox) as line:
        until(lambda: len(inbox.messages) == 1)
        line.client.pause()
        wire.publish(b"2")
        _acknowledge(line, inbox.messages)
    assert inbox.payloads == [b"1"]
    assert [message.payload for message in wire.take_everything()] == [b"2"]


# Back-pressure -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_full_intake_pauses_reading_and_outlives_the_keepalive(wire: Wire) -> None:
    inbox = Inbox(full_at=20)
    payloads = [str(number).encode().ljust(20_000) for number in range(400)]
    wire.publish(*payloads)
    with wire.connect(inbox, IIOT_MQTT_KEEPALIVE_S=5) as line:
        until(lambda: inbox.is_full)
        # The broker drops a client that is silent for one and a half times the keepalive.
        until(lambda: line.client.state.since_s > 8.5, timeout_s=15)
        assert line.client.state.is_connected
        assert len(inbox.messages) < 100
        inbox.full_at = 1_000_000
        line.client.resume()
        until(lambda: len(inbox.messages) == 400)
        assert line.client.state.since_s > 8.5
        _acknowledge(line, inbox.messages)
    assert inbox.payloads == payloads
    assert {message.epoch for message in inbox.messages} == {1}


def test_a_connection_is_made_and_kept_while_there_is_no_room(wire: Wire) -> None:
    inbox = Inbox(full_at=0)
    wire.publish(b"1")
    with wire.connect(inbox) as line:
        wire.publish(b"2", b"3")
        inbox.full_at = 1_000_000
        line.client.resume()
        until(lambda: len(inbox.messages) == 3)
        _acknowledge(line, inbox.messages)
    assert inbox.payloads == [b"1", b"2", b"3"]


# Reconnection --------------------------------------------------------------------------------------


def test_a_restart_of_the_broker_loses_nothing(broker: OwnBroker) -> None:
    wire, inbox = _wire(broker.url), Inbox()
    wire.settle_in()
    wire.publish(b"1", b"2")
    with wire.connect(inbox) as line:
        until(lambda: len(inbox.messages) == 2)
        broker.stop()
        until(lambda: not line.client.state.is_connected)
        assert line.client.state.detail
        broker.start()
        line.wait_connected()
        until(lambda: len(inbox.messages) == 4)
        assert inbox.lost_sessions == 0
        assert inbox.messages[-1].epoch == 2
        _acknowledge(line, inbox.messages)
    assert wire.take_everything() == []


def test_a_broker_that_forgot_the_session_is_noticed(broker: OwnBroker) -> None:
    wire, inbox = _wire(broker.url), Inbox()
    wire.settle_in()
    gaps = possible_gaps._value.get()
    with wire.connect(inbox) as line:
        assert inbox.lost_sessions == 0
        broker.stop()
        broker.forget()
        until(lambda: not line.client.state.is_connected)
        broker.start()
        line.wait_connected()
        assert inbox.lost_sessions == 1
        assert possible_gaps._value.get() == gaps + 1

        def hears() -> bool:
            wire.publish(b"hello")
            return bool(inbox.messages)

        until(hears, what="a subscription that was made again")


def test_a_first_connection_is_no_gap(mqtt_url: str) -> None:
    wire, inbox = _wire(mqtt_url), Inbox()
    gaps = possible_gaps._value.get()
    with wire.connect(inbox):
        assert inbox.items == [SessionLost(wire.client_id)]
    assert possible_gaps._value.get() == gaps
    forget_session(mqtt_url, wire.client_id)


def test_attempts_to_connect_become_rarer(wire: Wire) -> None:
    with TcpProxy(wire.url, default_port=1883) as proxy:
        proxy.cut()
        with wire.connect(Inbox(), url=proxy.url, is_awaited=False) as line:
            started = time.monotonic()
            until(lambda: proxy.accepted >= 3)
            # Half to all of 0.5 s, then of 1 s.
            assert time.monotonic() - started > 0.7
            assert not line.client.state.is_connected
            assert [beat.name for beat in line.heartbeats.report()] == ["mqtt network"]
            proxy.mend()
            line.wait_connected()
        assert line.heartbeats.report() == []


def test_a_wrong_password_is_named(broker: OwnBroker) -> None:
    wire = _wire(broker.url.replace(":tests-only", ":wrong"))
    with wire.connect(Inbox(), is_awaited=False) as line:
        until(lambda: "refused" in line.client.state.detail, what="a refusal")
        assert "authori" in line.client.state.detail.lower()
        assert not line.client.state.is_connected


def test_a_broker_that_is_not_there_is_named(wire: Wire) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with wire.connect(Inbox(), url=f"mqtt://127.0.0.1:{port}", is_awaited=False) as line:
        until(lambda: "refused" in line.client.state.detail.lower())


def test_a_client_that_never_started_can_be_stopped() -> None:
    client = MqttClient(
        mqtt_settings("mqtt://127.0.0.1:9", "nobody"),
        subscriptions=[],
        intake=Inbox(),
        heartbeats=Heartbeats(),
    )
    assert client.state.detail == "not started"
    assert client.stop(timeout_s=1)
    client.acknowledge([(1, 1)])


# Publishing ----------------------------------------------------------------------------------------


def test_a_command_reaches_the_device(wire: Wire) -> None:
    device = _wire(wire.url)
    heard = Inbox()
    with device.connect(heard), wire.connect(Inbox()) as line:

        def hears() -> bool:
            line.client.publish(device.topic("P-7"), b"stop")
            return bool(heard.messages)

        until(hears)
    assert heard.messages[0].payload == b"stop"
    forget_session(wire.url, device.client_id)


def test_publishing_while_the_broker_is_away_says_so(wire: Wire) -> None:
    with TcpProxy(wire.url, default_port=1883) as proxy:
        proxy.cut()
        with (
            wire.connect(Inbox(), url=proxy.url, is_awaited=False) as line,
            pytest.raises(Unavailable, match="not connected"),
        ):
            line.client.publish(wire.topic(), b"stop")


# MQTT 3.1.1 ----------------------------------------------------------------------------------------


class OldBroker:
    """Speaks just enough MQTT 3.1.1: refuses version 5, then delivers one message and notes its end."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"mqtt://127.0.0.1:{self._listener.getsockname()[1]}"
        self.versions: list[int] = []
        self.acknowledged = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(timeout=5)

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with connection, connection.makefile("rb") as stream, suppress(OSError):
                    self._talk(connection, stream)

    def _talk(self, connection: socket.socket, stream: IO[bytes]) -> None:
        while head := stream.read(2):
            # Every packet of this conversation is shorter than 128 bytes.
            body = stream.read(head[1])
            match head[0] & 0xF0:
                case 0x10:
                    self.versions.append(body[6])
                    connection.sendall(b"\x20\x02\x00" + (b"\x01" if body[6] == 5 else b"\x00"))
                    if body[6] == 5:
                        return
                case 0x80:
                    connection.sendall(b"\x90\x03" + body[:2] + b"\x01")
                    connection.sendall(b"\x32\x0a\x00\x04t/1x\x00\x07{}")
                case 0x40:
                    assert body == b"\x00\x07"
                    self.acknowledged.set()


def test_a_broker_that_does_not_speak_version_5_is_asked_in_3_1_1(wire: Wire) -> None:
    broker, inbox = OldBroker(), Inbox()
    try:
        with wire.connect(inbox, url=broker.url) as line:
            until(lambda: bool(inbox.messages))
            assert line.client.state.detail == "MQTT 3.1.1"
            assert (inbox.messages[0].topic, inbox.payloads[0]) == ("t/1x", b"{}")
            _acknowledge(line, inbox.messages[:1])
            assert broker.acknowledged.wait(timeout=5)
        assert broker.versions == [5, 4]
    finally:
        broker.stop()
