"""How the tools reach the broker: its URL, a client, and the newest protocol that it speaks."""

import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from tools.services.environment import variable

# Messages that a client has on their way before it waits for acknowledgements.
WINDOW_MESSAGES = 200
_KEEPALIVE_S = 30
_CONNECT_TIMEOUT_S = 5.0


class BrokerUnreachable(Exception):
    """The MQTT broker cannot be reached, or refuses us."""


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the broker is, and who we are there.

    Attributes:
        host: Its host name.
        port: Its port.
        is_tls: Whether to speak TLS.
        username: User of the URL, None without one.
        password: Password of the URL.
        ca_file: Certificates that the broker's is checked with; None for the system's.
        protocol: The protocol version to speak.
    """

    host: str
    port: int
    is_tls: bool
    username: str | None
    password: str | None
    ca_file: str | None = None
    protocol: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv5

    def client(
        self, client_id: str, *, username: str | None = None, password: str | None = None
    ) -> mqtt.Client:
        """Return an unconnected client; without a user of its own it uses that of the URL."""
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=self.protocol)
        if username is None:
            username, password = self.username, self.password
        if username is not None:
            client.username_pw_set(username, password)
        if self.is_tls:
            client.tls_set(ca_certs=self.ca_file, tls_version=ssl.PROTOCOL_TLS_CLIENT)
        client.max_inflight_messages_set(WINDOW_MESSAGES)
        client.connect_timeout = _CONNECT_TIMEOUT_S
        return client

    def start_connecting(self, client: mqtt.Client) -> None:
        """Open the connection and send CONNECT; the answer arrives in the client's loop.

        Raises:
            OSError: Nobody listens there.
        """
        client.connect(self.host, self.port, keepalive=_KEEPALIVE_S)


def broker_of(environ: Mapping[str, str]) -> Broker:
    """Return the broker of MQTT_URL, or of the file that MQTT_URL_FILE names.

    Raises:
        BrokerUnreachable: The variable is missing, or is no mqtt:// or mqtts:// URL.
        ServiceError: The file cannot be read.
    """
    parts = urlsplit(variable(environ, "MQTT_URL") or "")
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
        raise BrokerUnreachable("MQTT_URL must look like mqtt://user:password@host:port")
    is_tls = parts.scheme == "mqtts"
    return Broker(
        host=parts.hostname,
        port=parts.port or (8883 if is_tls else 1883),
        is_tls=is_tls,
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        ca_file=variable(environ, "IIOT_MQTT_CA_FILE"),
    )


def connected(broker: Broker, client_id: str) -> tuple[Broker, mqtt.Client]:
    """Return a connected client, and the broker with the protocol that it turned out to speak.

    MQTT 5 is tried first, then 3.1.1. The caller drives the client's loop.

    Raises:
        BrokerUnreachable: Nobody listens, or the broker refuses the user.
    """
    reason = ""
    for protocol in (MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311):
        candidate = Broker(
            broker.host,
            broker.port,
            broker.is_tls,
            broker.username,
            broker.password,
            broker.ca_file,
            protocol,
        )
        client = candidate.client(client_id)
        answer: list[ReasonCode] = []

        def on_connect(
            _client: mqtt.Client,
            _userdata: object,
            _flags: mqtt.ConnectFlags,
            code: ReasonCode,
            _properties: Properties | None,
            answer: list[ReasonCode] = answer,
        ) -> None:
            answer.append(code)

        client.on_connect = on_connect
        try:
            candidate.start_connecting(client)
        except OSError as error:
            raise BrokerUnreachable(f"no broker at {broker.host}:{broker.port}: {error}") from error
        deadline = time.monotonic() + _CONNECT_TIMEOUT_S
        while not answer and time.monotonic() < deadline:
            if client.loop(timeout=0.1) != mqtt.MQTT_ERR_SUCCESS:
                break
        client.on_connect = None
        if answer and not answer[0].is_failure:
            return candidate, client
        reason = str(answer[0]) if answer else "it closed the connection"
        if answer and "version" not in reason.lower():
            break
    raise BrokerUnreachable(f"the broker at {broker.host}:{broker.port} refuses the connection: {reason}")
