"""Publishes commands and waits for what the broker says to each."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from domain.errors import Unavailable
from fleet.command_dispatch import CommandMessage
from mqtt.login import UNSUPPORTED_VERSION, address, set_login
from settings import MqttSettings

_NO_SUBSCRIBER = 0x10


class CommandPublisher:
    """One connection for each batch of commands, on the calling thread.

    Commands are rare, and this way every answer of the broker belongs to exactly one attempt. A broker that
    speaks MQTT 3.1.1 only cannot say whether a device has subscribed: then all that it takes counts.
    """

    def __init__(self, settings: MqttSettings, *, timeout_s: float = 5.0) -> None:
        self._settings = settings
        self._timeout_s = timeout_s
        self._protocol = paho.MQTTv5

    def publish(self, messages: Sequence[CommandMessage]) -> set[str]:
        """Publish and wait for the broker; return the ids of those for which a device has subscribed.

        Raises:
            Unavailable: the broker cannot be reached.
        """
        try:
            return self._publish(messages)
        except (OSError, ValueError) as error:
            raise Unavailable(f"the broker cannot be reached: {error}", retry_after_s=5) from error

    def _publish(self, messages: Sequence[CommandMessage]) -> set[str]:
        greeting: list[ReasonCode] = []
        answers: dict[int, ReasonCode] = {}
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"iiot-commands-{secrets.token_hex(6)}",
            protocol=self._protocol,
            reconnect_on_failure=False,
        )
        client.connect_timeout = self._timeout_s
        client.max_inflight_messages_set(max(20, len(messages)))
        client.on_connect = lambda _client, _data, _flags, reason, _more: greeting.append(reason)
        client.on_publish = lambda _client, _data, mid, reason, _more: answers.update({mid: reason})
        set_login(client, self._settings)
        try:
            client.connect(*address(self._settings), keepalive=30)
            self._loop(client, lambda: bool(greeting))
            if not greeting or greeting[0].is_failure:
                if greeting and greeting[0].value in UNSUPPORTED_VERSION and self._protocol == paho.MQTTv5:
                    self._protocol = paho.MQTTv311
                raise ConnectionRefusedError(f"connecting: {greeting[0] if greeting else 'no answer'}")
            sent = {self._send(client, message): message.command_id for message in messages}
            self._loop(client, lambda: answers.keys() >= sent.keys())
        finally:
            client.disconnect()
            client.loop(timeout=0.0)
        return {
            command_id
            for mid, command_id in sent.items()
            if mid in answers and not answers[mid].is_failure and answers[mid].value != _NO_SUBSCRIBER
        }

    def _send(self, client: paho.Client, message: CommandMessage) -> int:
        options: dict[str, Any] = {}
        if self._protocol == paho.MQTTv5:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.MessageExpiryInterval = message.expires_in_s
            options = {"properties": properties}
        topic = f"{self._settings.topic_root}/{message.device}/commands/{message.command_id}"
        return client.publish(topic, message.payload, qos=1, **options).mid

    def _loop(self, client: paho.Client, is_done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + self._timeout_s
        while not is_done() and time.monotonic() < deadline:
            if client.loop(timeout=0.1) != paho.MQTT_ERR_SUCCESS and not is_done():
                raise ConnectionError("the broker closed the connection")
