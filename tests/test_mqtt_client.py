"""The MQTT client on a real broker: late acknowledgement, back-pressure, reconnection."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from functools import partial

import pytest

from domain.errors import Unavailable
from ingest.buffer import SessionLost
from mqtt_client import MqttClient
from observability import Heartbeats, possible_gaps
from tests.broker import OldBroker, OwnBroker, own_broker
from tests.mqtt_line import Inbox, Publisher, Wire, acknowledge, forget_session, mqtt_settings, new_wire
from tests.polling import until
from tests.tcp_proxy import TcpProxy

pytestmark = pytest.mark.services


@pytest.fixture
def wire(mqtt_url: str) -> Iterator[Wire]:
    """A client id that the broker of the tests keeps messages for."""
    wire = new_wire(mqtt_url)
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
        acknowledge(line, second.messages[:2])
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
        acknowledge(line, inbox.messages)
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
        acknowledge(line, stale)
        proxy.mend()
        until(lambda: len(inbox.messages) == 4)
        acknowledge(line, stale)
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
            acknowledge(line, inbox.messages)
        assert inbox.payloads == payloads
    assert wire.take_everything() == []


def test_after_pausing_nothing_is_read_but_acknowledgements_still_go_out(wire: Wire) -> None:
    inbox = Inbox()
    wire.publish(b"1")
    with wire.connect(inbox) as line:
        until(lambda: len(inbox.messages) == 1)
        line.client.pause()
        wire.publish(b"2")
        acknowledge(line, inbox.messages)
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
        acknowledge(line, inbox.messages)
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
        acknowledge(line, inbox.messages)
    assert inbox.payloads == [b"1", b"2", b"3"]


# Reconnection --------------------------------------------------------------------------------------


def test_a_restart_of_the_broker_loses_nothing(broker: OwnBroker) -> None:
    wire, inbox = new_wire(broker.url), Inbox()
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
        acknowledge(line, inbox.messages)
    assert wire.take_everything() == []


def test_a_broker_that_forgot_the_session_is_noticed(broker: OwnBroker) -> None:
    wire, inbox = new_wire(broker.url), Inbox()
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
    wire, inbox = new_wire(mqtt_url), Inbox()
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
    wire = new_wire(broker.url.replace(":tests-only", ":wrong"))
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
    device = new_wire(wire.url)
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


def test_a_broker_that_does_not_speak_version_5_is_asked_in_3_1_1(wire: Wire) -> None:
    broker, inbox = OldBroker(), Inbox()
    try:
        with wire.connect(inbox, url=broker.url) as line:
            until(lambda: bool(inbox.messages))
            assert line.client.state.detail == "MQTT 3.1.1"
            assert (inbox.messages[0].topic, inbox.payloads[0]) == ("t/1x", b"{}")
            acknowledge(line, inbox.messages[:1])
            assert broker.acknowledged.wait(timeout=5)
        assert broker.versions == [5, 4]
    finally:
        broker.stop()
