"""How to reach and sign in to the broker of the settings."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import paho.mqtt.client as paho

from settings import MqttSettings

# Where Mosquitto tells how many messages it has dropped since it started.
DROPPED_TOPIC = "$SYS/broker/publish/messages/dropped"

# The reasons for which MQTT 3.1.1 and MQTT 5 refuse a client of another version.
UNSUPPORTED_VERSION = (0x01, 0x84)


def address(settings: MqttSettings) -> tuple[str, int]:
    """Host and port of the broker."""
    url = urlsplit(settings.url.get_secret_value())
    return url.hostname or "localhost", url.port or (8883 if url.scheme == "mqtts" else 1883)


def set_login(client: paho.Client, settings: MqttSettings) -> None:
    """Give the client its user name, password and TLS files."""
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
