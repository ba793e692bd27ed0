"""One device's own connection to the broker: its user, its last will, its backlog, its commands."""

import contextlib
import json
import random
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from tools.plant.broker import Broker
from tools.plant.reports import Report, encoded

# Messages that a device keeps while it cannot publish: more than half an hour at one a second.
BACKLOG_MESSAGES = 2_000
# Messages on their way before a device keeps further ones to itself.
_WINDOW = 50
# Kept messages travel in arrays of this many.
_FLUSH_MESSAGES = 100
_BACKOFF_FIRST_S, _BACKOFF_MAX_S = 0.5, 30.0

ONLINE, OFFLINE = encoded({"status": "online"}), encoded({"status": "offline"})


class DeviceLink:
    """Publishes what one device reports; driven by the publisher's loop, owns no thread.

    Attributes:
        device_id: The device.
        client: Its MQTT client.
        is_online: Whether the broker has accepted it.
        is_held: Whether its network is down on purpose (a gateway fault); it keeps what it reports.
        retry_at_s: Monotonic time at which it may try to connect again.
        refused: Why it has no connection, empty while nothing is known against it.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        device_id: str,
        topic_root: str,
        client_id: str,
        username: str | None,
        password: str | None,
        on_command: Callable[[str, dict[str, Any]], dict[str, Any]],
    ) -> None:
        """Prepare the client; `on_command` gets the device and the command and returns the answer."""
        self.device_id = device_id
        self.is_online = False
        self.is_held = False
        self.retry_at_s = 0.0
        self.refused = ""
        self._broker = broker
        self._root = f"{topic_root}/{device_id}"
        self._on_command = on_command
        self._backlog: deque[dict[str, Any]] = deque(maxlen=BACKLOG_MESSAGES)
        self._unacknowledged: set[int] = set()
        self._watched: dict[int, Callable[[str], None]] = {}
        self._failures = 0
        self._has_own_user = username is not None
        self.client = broker.client(client_id, username=username, password=password)
        self.client.will_set(f"{self._root}/status", OFFLINE, qos=1, retain=True)
        self.client.on_connect = self._connected
        self.client.on_disconnect = self._disconnected
        self.client.on_publish = self._published
        self.client.on_message = self._commanded

    def connect(self, now_s: float) -> None:
        """Try to connect; what goes wrong only moves the next attempt."""
        self._back_off(now_s)
        try:
            self._broker.start_connecting(self.client)
        except OSError as error:
            self.refused = str(error)

    def send(self, report: Report) -> None:
        """Publish a report, or keep it while the broker does not take it."""
        if not self.is_online or self.is_held or len(self._unacknowledged) >= _WINDOW:
            self._backlog.append(report.payload)
            return
        for _ in range(report.copies):
            self._publish("telemetry", report.encoded())

    def flush(self) -> None:
        """Publish what was kept, oldest first, as arrays."""
        while self._backlog and self.is_online and len(self._unacknowledged) < _WINDOW:
            kept = [self._backlog.popleft() for _ in range(min(_FLUSH_MESSAGES, len(self._backlog)))]
            self._publish("telemetry", encoded(kept))

    def raise_alert(self, payload: dict[str, Any]) -> None:
        """Publish an alert that the device raises itself; without a connection it waits for one."""
        self._publish("alerts", encoded(payload))

    def publish_as(self, topic: str, payload: bytes, on_answer: Callable[[str], None]) -> None:
        """Publish to any topic and hand over the broker's answer; how a spoofing device behaves."""
        message = self.client.publish(topic, payload, qos=1)
        self._watched[message.mid] = on_answer

    def cut(self) -> None:
        """Lose the network without a word, so that the broker publishes the last will."""
        self.is_held = True
        sock = self.client.socket()
        if isinstance(sock, socket.socket):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def restore(self) -> None:
        """Get the network back."""
        self.is_held = False
        self.retry_at_s = 0.0
        self._failures = 0

    def say_goodbye(self) -> None:
        """Publish the status offline, as a device does that is switched off in an orderly way."""
        if self.is_online:
            self._publish("status", OFFLINE, is_retained=True)

    @property
    def has_own_user(self) -> bool:
        """Whether it is known to the broker by its own user, and pinned to its own topics."""
        return self._has_own_user

    @property
    def is_settled(self) -> bool:
        """Whether the broker has acknowledged all that was published."""
        return not self._unacknowledged or not self.is_online

    @property
    def backlog(self) -> int:
        """How many reports are kept."""
        return len(self._backlog)

    def _publish(self, channel: str, payload: bytes, *, is_retained: bool = False) -> None:
        message = self.client.publish(f"{self._root}/{channel}", payload, qos=1, retain=is_retained)
        self._unacknowledged.add(message.mid)

    def _back_off(self, now_s: float) -> None:
        pause_s = min(_BACKOFF_MAX_S, _BACKOFF_FIRST_S * 2**self._failures)
        self._failures = min(self._failures + 1, 10)
        self.retry_at_s = now_s + pause_s * random.uniform(0.5, 1.0)

    def _connected(
        self,
        _client: mqtt.Client,
        _userdata: object,
        _flags: mqtt.ConnectFlags,
        code: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if code.is_failure:
            self.refused = str(code)
            if self._has_own_user:
                # Somebody else's broker does not know the demo's devices; the platform's user may stand in.
                self._has_own_user = False
                self.client.username_pw_set(self._broker.username, self._broker.password)
            return
        self.refused, self._failures, self.is_online = "", 0, True
        self.client.subscribe(f"{self._root}/commands/+", qos=1)
        self._publish("status", ONLINE, is_retained=True)
        self.flush()

    def _disconnected(
        self,
        _client: mqtt.Client,
        _userdata: object,
        _flags: mqtt.DisconnectFlags,
        _code: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        self.is_online = False

    def _published(
        self,
        _client: mqtt.Client,
        _userdata: object,
        mid: int,
        code: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        self._unacknowledged.discard(mid)
        on_answer = self._watched.pop(mid, None)
        if on_answer is not None:
            on_answer(str(code))
        if self._backlog and not self.is_held:
            self.flush()

    def _commanded(self, _client: mqtt.Client, _userdata: object, message: mqtt.MQTTMessage) -> None:
        command_id = message.topic.rsplit("/", 1)[-1]
        try:
            command = json.loads(message.payload)
        except ValueError:
            answer: dict[str, Any] = {"status": "failed", "error": "the command is not JSON"}
        else:
            if isinstance(command, dict):
                answer = self._on_command(self.device_id, command)
            else:
                answer = {"status": "failed", "error": "the command is not an object"}
        self._publish(f"commands/{command_id}/response", encoded(answer))
