"""A look at a broker, for the doctor: what it is, what it allows, and whether it keeps our session."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from mqtt.login import DROPPED_TOPIC, UNSUPPORTED_VERSION, address, set_login
from settings import MqttSettings


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
        self._client_id = f"iiot-check-{secrets.token_hex(4)}"
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
        set_login(client, self._settings)
        options: dict[str, Any] = {}
        if is_v5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = 0 if is_clean else 60
            options = {"clean_start": is_clean, "properties": properties}
        self._greeting = None
        try:
            client.connect(*address(self._settings), keepalive=30, **options)
            session_present = self._greeted(client)
            if is_clean:
                client.subscribe(DROPPED_TOPIC, 0)
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
            if self.protocol == paho.MQTTv5 and reason.value in UNSUPPORTED_VERSION:
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
