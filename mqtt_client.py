"""The MQTT edge: connect, back off, subscribe, hand over, acknowledge after the commit, publish.

One thread of our own drives paho's external-loop functions (`loop_read`, `loop_write`, `loop_misc`). That
gives what paho's own thread cannot: while the buffer is full we simply do not read, so that TCP pushes back
to the broker while acknowledgements and pings still flow; and acknowledgements are sent by the thread that
counts connections, so that one of an earlier connection is never sent on a later one.
"""

from __future__ import annotations

import random
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, cast

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from domain.errors import Unavailable
from ingest.buffer import Item, Message, SessionLost
from mqtt.login import DROPPED_TOPIC, UNSUPPORTED_VERSION, address, set_login
from mqtt.packets import PacketSocket, Publish
from observability import (
    Heartbeats,
    broker_connected,
    broker_dropped,
    get_logger,
    ingest_pauses,
    messages_dropped,
    messages_received,
    possible_gaps,
)
from settings import MqttSettings

log = get_logger("mqtt")

HEARTBEAT = "mqtt network"
_NEVER_EXPIRES = 0xFFFFFFFF
_CONNECT_TIMEOUT_S = 5.0
_GOODBYE_S = 1.0


class Intake(Protocol):
    """Where messages go."""

    @property
    def is_full(self) -> bool:
        """Whether reading from the broker has to pause."""

    def accept(self, items: Sequence[Item]) -> None:
        """Take messages, in order; must return at once."""


@dataclass(frozen=True, slots=True)
class BrokerState:
    """What `/health` says about the broker."""

    is_connected: bool
    since_s: float
    detail: str


class _Client(paho.Client):
    """paho's client over a `PacketSocket`."""

    def _create_socket(self) -> Any:
        sock: Any = super()._create_socket()
        return PacketSocket(sock, has_properties=self.protocol == paho.MQTTv5)

    def ping(self) -> None:
        """Show the broker that we live, without expecting to read its answer soon."""
        self._send_pingreq()
        self._ping_t = 0.0


class MqttClient:
    """Owns the network thread and the one connection to the broker."""

    def __init__(
        self,
        settings: MqttSettings,
        *,
        subscriptions: Sequence[str],
        intake: Intake,
        heartbeats: Heartbeats,
        tell_connected: Callable[[], None] = lambda: None,
    ) -> None:
        self._tell_connected = tell_connected  # on the network thread: must return at once
        self._settings = settings
        self._subscriptions = list(subscriptions)
        self._intake = intake
        self._heartbeats = heartbeats
        self._epoch = 0
        self._protocol = paho.MQTTv5
        self._settled: deque[tuple[int, int]] = deque()
        self._publications: deque[tuple[str, bytes, bool]] = deque(maxlen=10_000)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)
        self._is_connected = False
        self._state_since = time.monotonic()
        self._detail = "not started"
        self._is_paused = False
        self._is_draining = False
        self._paused_ping_at = 0.0
        self._had_session = False
        self._received_at_us = 0

    # Used by other threads --------------------------------------------------------------------------

    def start(self) -> None:
        """Start the network thread; it connects, and keeps connecting, by itself."""
        self._thread = threading.Thread(target=self._run, name="mqtt-network", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Send the acknowledgements that are due, disconnect and end; the broker keeps the session."""
        self._stopping.set()
        self._wake()
        if self._thread is not None:
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                return False
        self._wake_reader.close()
        self._wake_writer.close()
        return True

    def acknowledge(self, settled: Sequence[tuple[int, int]]) -> None:
        """Have these (epoch, message id) pairs acknowledged, because they are committed."""
        self._settled.extend(settled)
        self._wake()

    def pause(self) -> None:
        """Read nothing more, while acknowledgements still go out; the first step of stopping."""
        self._is_draining = True
        self._wake()

    def resume(self) -> None:
        """Say that the intake has room again."""
        self._wake()

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish at QoS 1 as soon as possible.

        Raises:
            Unavailable: there is no connection to the broker.
        """
        if not self._is_connected:
            raise Unavailable("the MQTT broker is not connected", retry_after_s=5)
        self._publications.append((topic, payload, retain))
        self._wake()

    @property
    def state(self) -> BrokerState:
        """Whether the broker is connected, for how long, and why not."""
        return BrokerState(self._is_connected, time.monotonic() - self._state_since, self._detail)

    def _wake(self) -> None:
        with suppress(OSError):  # The pipe is full of wake-ups already, or the thread has ended.
            self._wake_writer.send(b"\0")

    # The network thread -----------------------------------------------------------------------------

    def _run(self) -> None:
        delay_s = 0.5
        while not self._stopping.is_set():
            self._heartbeats.beat(HEARTBEAT)
            client = self._make_client()
            connected_at = time.monotonic()
            try:
                self._connect(client)
                self._drive(client)
            except (OSError, ValueError) as error:
                self._note_disconnected(str(error) or error.__class__.__name__)
            except Exception as error:  # The thread must outlive whatever a broker sends.
                log.exception("mqtt_connection_failed")
                self._note_disconnected(error.__class__.__name__)
            finally:
                self._close(client)
            if time.monotonic() - connected_at > 10:
                delay_s = 0.5
            self._stopping.wait(delay_s * random.uniform(0.5, 1.0))  # noqa: S311
            delay_s = min(delay_s * 2, self._settings.backoff_max_s)
        self._heartbeats.forget(HEARTBEAT)

    def _make_client(self) -> _Client:
        # A client for every connection: nothing of an earlier one, in-flight state least of all, survives.
        is_v5 = self._protocol == paho.MQTTv5
        client = _Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._settings.client_id,
            clean_session=None if is_v5 else False,
            protocol=self._protocol,
            manual_ack=True,
            reconnect_on_failure=False,
        )
        client.connect_timeout = _CONNECT_TIMEOUT_S
        client.suppress_exceptions = False
        set_login(client, self._settings)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        return client

    def _connect(self, client: _Client) -> None:
        options: dict[str, Any] = {}
        if self._protocol == paho.MQTTv5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = _NEVER_EXPIRES
            properties.ReceiveMaximum = self._settings.receive_maximum
            options = {"clean_start": False, "properties": properties}
        client.connect(*address(self._settings), keepalive=self._settings.keepalive_s, **options)

    def _drive(self, client: _Client) -> None:
        """Run the connection until it ends."""
        answer_due = time.monotonic() + _CONNECT_TIMEOUT_S
        misc_at = 0.0
        while True:
            sock = cast(PacketSocket | None, client.socket())
            if sock is None:
                return
            self._send_due(client, sock)
            is_flushed = sock.flush()
            # The broker's answer to CONNECT is read even while there is no room for messages.
            is_paused = (self._check_pause() or self._is_draining) and self._is_connected
            readers: list[Any] = [self._wake_reader] if is_paused else [self._wake_reader, sock]
            wait_s = 0.0 if sock.pending() and not is_paused else 0.5
            ready, _, _ = select.select(readers, [] if is_flushed else [sock], [], wait_s)
            if self._wake_reader in ready:
                self._drain_wake_ups()
            if not is_paused and (sock in ready or sock.pending()):
                self._read(client, sock)
            now = time.monotonic()
            if now - misc_at > 0.5:
                misc_at = now
                self._heartbeats.beat(HEARTBEAT)
                # While paused the broker's ping answer stays unread, which must not count as its silence.
                if not is_paused and client.loop_misc() != paho.MQTT_ERR_SUCCESS:
                    raise ConnectionError("the broker does not answer")
                if is_paused:
                    self._ping_while_paused(client)
                if not self._is_connected and now > answer_due:
                    raise ConnectionError("the broker did not accept the connection in time")
            if self._stopping.is_set():
                self._send_due(client, sock)
                self._detail = "stopped"
                sock.finish(timeout_s=_GOODBYE_S)
                return

    def _read(self, client: _Client, sock: PacketSocket) -> None:
        def handle_other() -> None:
            if client.loop_read() != paho.MQTT_ERR_SUCCESS:
                raise ConnectionError(self._detail)

        found = sock.read(handle_other)
        if not found:
            return
        messages_received.inc(len(found))
        # A microsecond apart and never back: of two readings without a time of their own, the second would
        # otherwise have the key of the first and be refused.
        received_at_us = max(time.time_ns() // 1000, self._received_at_us + 1)
        self._received_at_us = received_at_us + len(found) - 1
        epoch = self._epoch
        self._intake.accept(
            [
                Message(
                    epoch=epoch,
                    mid=publish.message_id,
                    topic=publish.topic.decode("utf-8", "replace"),
                    payload=publish.payload,
                    is_redelivery=publish.is_redelivery,
                    is_retained=publish.is_retained,
                    received_at_us=received_at_us + place,
                )
                for place, publish in enumerate(found)
                if not self._is_own(publish)
            ]
        )

    def _is_own(self, publish: Publish) -> bool:
        """Handle what is not for the intake: the broker's own count, and QoS 0 while there is no room."""
        if publish.topic == DROPPED_TOPIC.encode():
            with suppress(ValueError):
                broker_dropped.set(int(publish.payload))
            return True
        if not publish.message_id and self._intake.is_full:
            messages_dropped.inc()
            return True
        return False

    def _check_pause(self) -> bool:
        is_full = self._intake.is_full
        if is_full and not self._is_paused:
            ingest_pauses.inc()
            log.warning("ingest_paused", reason="the buffer is full")
            self._paused_ping_at = time.monotonic()
        elif self._is_paused and not is_full:
            log.info("ingest_resumed")
        self._is_paused = is_full
        return is_full

    def _ping_while_paused(self, client: _Client) -> None:
        now = time.monotonic()
        if now - self._paused_ping_at > self._settings.keepalive_s / 2:
            self._paused_ping_at = now
            client.ping()

    def _send_due(self, client: _Client, sock: PacketSocket) -> None:
        if not self._is_connected:
            return
        due = [self._settled.popleft() for _ in range(len(self._settled))]
        sock.acknowledge([message_id for epoch, message_id in due if epoch == self._epoch and message_id])
        while self._publications:
            topic, payload, retain = self._publications.popleft()
            client.publish(topic, payload, qos=1, retain=retain)
        if client.want_write():
            client.loop_write()

    def _drain_wake_ups(self) -> None:
        with suppress(BlockingIOError):
            while len(self._wake_reader.recv(4096)) == 4096:
                pass

    def _close(self, client: _Client) -> None:
        sock = client.socket()
        if sock is not None:
            sock.close()
        self._note_disconnected(self._detail)

    # paho's callbacks, all on the network thread ----------------------------------------------------

    def _on_connect(
        self,
        client: paho.Client,
        userdata: object,
        flags: paho.ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            self._detail = f"the broker refused the connection: {reason}"
            if reason.value in UNSUPPORTED_VERSION and self._protocol == paho.MQTTv5:
                log.warning("mqtt_falls_back_to_3_1_1")
                self._protocol = paho.MQTTv311
            return
        self._epoch += 1
        self._settled.clear()
        if not flags.session_present:
            if self._had_session:
                possible_gaps.inc()
                log.error("mqtt_session_lost", detail="messages may be missing")
            self._intake.accept([SessionLost(self._settings.client_id)])
        self._had_session = True
        self._subscribe(client)
        self._is_connected = True
        self._state_since = time.monotonic()
        self._detail = "MQTT 5" if self._protocol == paho.MQTTv5 else "MQTT 3.1.1"
        broker_connected.set(1)
        self._tell_connected()
        log.info("mqtt_connected", protocol=self._detail, session_present=flags.session_present)

    def _subscribe(self, client: paho.Client) -> None:
        if self._protocol == paho.MQTTv5:
            # Retained messages only for a subscription that is new, not at every reconnect.
            options = SubscribeOptions(qos=1, retainHandling=1)
            client.subscribe([(topic, options) for topic in self._subscriptions])
            client.subscribe([(DROPPED_TOPIC, SubscribeOptions(qos=0))])
        else:
            client.subscribe([(topic, 1) for topic in self._subscriptions])
            client.subscribe([(DROPPED_TOPIC, 0)])

    def _on_disconnect(
        self,
        client: paho.Client,
        userdata: object,
        flags: paho.DisconnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if self._is_connected:  # else the broker has refused us, and the detail says why
            self._note_disconnected(f"disconnected: {reason}")

    def _note_disconnected(self, detail: str) -> None:
        if self._is_connected:
            log.warning("mqtt_disconnected", detail=detail)
            self._state_since = time.monotonic()
        self._is_connected = False
        self._detail = detail
        broker_connected.set(0)
