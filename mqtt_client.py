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
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, cast
from urllib.parse import unquote, urlsplit

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from domain.errors import Unavailable
from ingest.buffer import Item, Message, SessionLost
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
_BROKER_DROPPED_TOPIC = b"$SYS/broker/publish/messages/dropped"
_NEVER_EXPIRES = 0xFFFFFFFF
_CONNECT_TIMEOUT_S = 5.0
_UNSUPPORTED_VERSION = 1
_PUBLISH = 0x30
_PUBACK = b"\x40\x02"


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


@dataclass(frozen=True, slots=True)
class Publish:
    """A PUBLISH packet at QoS 0 or 1 as it came over the wire; `message_id` is 0 at QoS 0."""

    topic: bytes
    payload: bytes
    message_id: int
    is_redelivery: bool
    is_retained: bool


class PacketSocket:
    """The socket under paho: splits what arrives into packets and keeps the PUBLISH packets for us.

    paho spends some thirty microseconds and several system calls on each PUBLISH. Here they are read in large
    pieces, and only the other packets are handed to paho, one at a time, through `recv`. What paho writes
    is gathered until `flush`. Fewer system calls matter beyond their own cost: each gives up the
    interpreter lock, which a busy interpreter returns late.
    """

    def __init__(self, sock: socket.socket, *, has_properties: bool) -> None:
        self._sock = sock
        self._has_properties = has_properties
        self._incoming = bytearray()
        self._serving = b""
        self._outgoing = bytearray()

    def read(self, on_other_packet: Callable[[], None]) -> list[Publish]:
        """Read what has arrived; call `on_other_packet` for each packet that paho has to `recv`.

        Raises:
            OSError: the connection is gone, or the broker sent what is no packet.
        """
        try:
            data = self._sock.recv(262_144)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return []
        if not data:
            raise ConnectionError("the broker closed the connection")
        self._incoming += data
        found: list[Publish] = []
        position = 0
        while (bounds := self._packet_at(position)) is not None:
            body, end = bounds
            first = self._incoming[position]
            if first & 0xF0 == _PUBLISH and not first & 0x04:
                found.append(self._publish(first, body, end))
            else:
                self._serving = bytes(self._incoming[position:end])
                on_other_packet()
            position = end
        del self._incoming[:position]
        return found

    def _packet_at(self, position: int) -> tuple[int, int] | None:
        """Where the body of the packet at `position` starts and ends; None until it is complete."""
        incoming = self._incoming
        length = 0
        for count in range(4):
            index = position + 1 + count
            if index >= len(incoming):
                return None
            byte = incoming[index]
            length |= (byte & 0x7F) << 7 * count
            if byte < 0x80:
                end = index + 1 + length
                return (index + 1, end) if end <= len(incoming) else None
        raise ConnectionError("the broker sent a malformed packet")

    def _publish(self, first: int, body: int, end: int) -> Publish:
        incoming = self._incoming
        position = body + 2 + (incoming[body] << 8 | incoming[body + 1])
        topic = bytes(incoming[body + 2 : position])
        message_id = 0
        if first & 0x06:
            message_id = incoming[position] << 8 | incoming[position + 1]
            position += 2
        if self._has_properties:
            length = shift = 0
            while True:
                byte = incoming[position]
                position += 1
                length |= (byte & 0x7F) << shift
                shift += 7
                if byte < 0x80:
                    break
            position += length
        if position > end:
            raise ConnectionError("the broker sent a malformed packet")
        return Publish(
            topic, bytes(incoming[position:end]), message_id, bool(first & 0x08), bool(first & 0x01)
        )

    def recv(self, size: int) -> bytes:
        """Give paho a part of the packet that it has to handle."""
        if not self._serving:
            raise BlockingIOError
        piece, self._serving = self._serving[:size], self._serving[size:]
        return piece

    def pending(self) -> int:
        """Decrypted bytes that wait inside the TLS layer, where `select` cannot see them."""
        return self._sock.pending() if isinstance(self._sock, ssl.SSLSocket) else 0

    def send(self, data: bytes) -> int:
        """Gather what paho writes."""
        self._outgoing += data
        return len(data)

    def acknowledge(self, message_ids: Sequence[int]) -> None:
        """Gather a PUBACK for each message id; the same bytes in MQTT 3.1.1 and 5."""
        self._outgoing += b"".join([_PUBACK + message_id.to_bytes(2, "big") for message_id in message_ids])

    def flush(self) -> bool:
        """Write what has gathered; return whether everything is out."""
        while self._outgoing:
            try:
                sent = self._sock.send(self._outgoing)
            except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
                return False
            del self._outgoing[:sent]
        return True

    def fileno(self) -> int:
        """The file descriptor, for `select`."""
        return self._sock.fileno()

    def setblocking(self, flag: bool) -> None:
        """As `socket.setblocking`."""
        self._sock.setblocking(flag)

    def close(self) -> None:
        """Write what has gathered, if it goes at once, and close."""
        with suppress(OSError):
            self.flush()
        self._sock.close()


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
    ) -> None:
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
            return not self._thread.is_alive()
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
        with suppress(BlockingIOError):  # The pipe is full of wake-ups already.
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
        _set_login(client, self._settings)
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
        client.connect(*_address(self._settings), keepalive=self._settings.keepalive_s, **options)

    def _drive(self, client: _Client) -> None:
        """Run the connection until it ends."""
        answer_due = time.monotonic() + _CONNECT_TIMEOUT_S
        stop_sent = False
        misc_at = 0.0
        while True:
            sock = cast(PacketSocket | None, client.socket())
            if sock is None:
                return
            self._send_due(client, sock)
            is_flushed = sock.flush()
            is_paused = self._check_pause() or self._is_draining
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
            if self._stopping.is_set() and not stop_sent:
                stop_sent = True
                client.disconnect()

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
        if publish.topic == _BROKER_DROPPED_TOPIC:
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
            if reason.value in (_UNSUPPORTED_VERSION, 0x84) and self._protocol == paho.MQTTv5:
                log.warning("mqtt_falls_back_to_3_1_1")
                self._protocol = paho.MQTTv311
            return
        self._epoch += 1
        self._settled.clear()
        if not flags.session_present:
            if self._had_session:
                possible_gaps.inc()
                log.error(
                    "mqtt_session_lost", detail="the broker forgot the session; messages may be missing"
                )
            self._intake.accept([SessionLost(self._settings.client_id)])
        self._had_session = True
        self._subscribe(client)
        self._is_connected = True
        self._state_since = time.monotonic()
        self._detail = "MQTT 5" if self._protocol == paho.MQTTv5 else "MQTT 3.1.1"
        broker_connected.set(1)
        log.info("mqtt_connected", protocol=self._detail, session_present=flags.session_present)

    def _subscribe(self, client: paho.Client) -> None:
        if self._protocol == paho.MQTTv5:
            # Retained messages only for a subscription that is new, not at every reconnect.
            options = SubscribeOptions(qos=1, retainHandling=1)
            client.subscribe([(topic, options) for topic in self._subscriptions])
            client.subscribe([(_BROKER_DROPPED_TOPIC.decode(), SubscribeOptions(qos=0))])
        else:
            client.subscribe([(topic, 1) for topic in self._subscriptions])
            client.subscribe([(_BROKER_DROPPED_TOPIC.decode(), 0)])

    def _on_disconnect(
        self,
        client: paho.Client,
        userdata: object,
        flags: paho.DisconnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        self._note_disconnected(f"disconnected: {reason}")

    def _note_disconnected(self, detail: str) -> None:
        if self._is_connected:
            log.warning("mqtt_disconnected", detail=detail)
            self._state_since = time.monotonic()
        self._is_connected = False
        self._detail = detail
        broker_connected.set(0)


def _address(settings: MqttSettings) -> tuple[str, int]:
    url = urlsplit(settings.url.get_secret_value())
    return url.hostname or "localhost", url.port or (8883 if url.scheme == "mqtts" else 1883)


def _set_login(client: paho.Client, settings: MqttSettings) -> None:
    url = urlsplit(settings.url.get_secret_value())
    if url.username:
        client.username_pw_set(unquote(url.username), unquote(url.password or ""))
    if url.scheme == "mqtts":
        client.tls_set(
            ca_certs=_text(settings.ca_file),
            certfile=_text(settings.client_certificate_file),
            keyfile=_text(settings.client_key_file),
        )


def _text(path: object) -> str | None:
    return None if path is None else str(path)


@dataclass(frozen=True, slots=True)
class BrokerFacts:
    """What the doctor finds out about a broker.

    Attributes:
        protocol: The newest protocol it speaks with us.
        keeps_sessions: Whether it keeps the session of a client that is away, and so its messages.
        dropped: How many messages it has dropped since it started; None where it does not tell.
        max_packet_bytes: The largest packet it takes; None where it names no limit.
    """

    protocol: str
    keeps_sessions: bool
    dropped: int | None
    max_packet_bytes: int | None


def probe(settings: MqttSettings, *, timeout_s: float = 5.0) -> BrokerFacts:
    """Look at the broker under a client id of its own, so that the platform's session is left alone.

    Raises:
        OSError: it cannot be reached, refuses the login, or is no broker; the text says which.
    """
    visitor = _Visitor(settings, timeout_s)
    try:
        visitor.visit(is_clean=False)
    except _VersionRefused:
        visitor.protocol = paho.MQTTv311
        visitor.visit(is_clean=False)
    keeps_sessions = visitor.visit(is_clean=False)
    visitor.visit(is_clean=True)
    return BrokerFacts(
        protocol=_PROTOCOL_NAMES[visitor.protocol],
        keeps_sessions=keeps_sessions,
        dropped=visitor.dropped,
        max_packet_bytes=visitor.max_packet_bytes,
    )


_PROTOCOL_NAMES = {paho.MQTTv5: "MQTT 5", paho.MQTTv311: "MQTT 3.1.1"}
_TOLD_WITHIN_S = 1.0


class _VersionRefused(ConnectionError):
    """The broker does not speak this version of MQTT."""


class _Visitor:
    """Connects, looks and disconnects, on the calling thread."""

    def __init__(self, settings: MqttSettings, timeout_s: float) -> None:
        self.protocol = paho.MQTTv5
        self.dropped: int | None = None
        self.max_packet_bytes: int | None = None
        self._settings = settings
        self._timeout_s = timeout_s
        self._client_id = f"iiot-check-{random.randrange(2**32):08x}"  # noqa: S311
        self._greeting: tuple[bool, ReasonCode] | None = None

    def visit(self, *, is_clean: bool) -> bool:
        """Connect once; return whether the broker remembered us.

        A clean visit leaves no session behind, and reads what the broker says about itself.
        """
        is_v5 = self.protocol == paho.MQTTv5
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            clean_session=None if is_v5 else is_clean,
            protocol=self.protocol,
            reconnect_on_failure=False,
        )
        client.connect_timeout = self._timeout_s
        client.on_connect = self._on_connect
        client.on_message = self._on_message
        _set_login(client, self._settings)
        options: dict[str, Any] = {}
        if is_v5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = 0 if is_clean else 60
            options = {"clean_start": is_clean, "properties": properties}
        self._greeting = None
        try:
            client.connect(*_address(self._settings), keepalive=30, **options)
            session_present = self._greeted(client)
            if is_clean:
                client.subscribe(_BROKER_DROPPED_TOPIC.decode(), 0)
                self._loop(client, lambda: self.dropped is not None, _TOLD_WITHIN_S)
        finally:
            client.disconnect()
            client.loop(timeout=0.0)
        return session_present

    def _greeted(self, client: paho.Client) -> bool:
        self._loop(client, lambda: self._greeting is not None, self._timeout_s)
        if self._greeting is None:
            raise ConnectionError("no MQTT broker answers there")
        session_present, reason = self._greeting
        if reason.is_failure:
            if self.protocol == paho.MQTTv5 and reason.value in (_UNSUPPORTED_VERSION, 0x84):
                raise _VersionRefused
            raise ConnectionRefusedError(f"the broker refused the connection: {reason}")
        return session_present

    def _loop(self, client: paho.Client, is_done: Callable[[], bool], limit_s: float) -> None:
        deadline = time.monotonic() + limit_s
        while not is_done() and time.monotonic() < deadline:
            if client.loop(timeout=0.1) != paho.MQTT_ERR_SUCCESS and not is_done():
                raise ConnectionError("the broker closed the connection")

    def _on_connect(
        self,
        client: paho.Client,
        userdata: object,
        flags: paho.ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        self._greeting = (flags.session_present, reason)
        self.max_packet_bytes = getattr(properties, "MaximumPacketSize", None)

    def _on_message(self, client: paho.Client, userdata: object, message: paho.MQTTMessage) -> None:
        with suppress(ValueError):
            self.dropped = int(message.payload)
