"""Just enough MQTT on a plain socket to publish fast and to know exactly what was acknowledged.

A client library would cost more processor time than what is measured, and keeps its acknowledgements to
itself.
"""

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

CONNACK, PUBLISH, PUBACK, SUBACK = 2, 3, 4, 9
CONNECT_TIMEOUT_S = 5.0
_SESSION_NEVER_EXPIRES = b"\x11\xff\xff\xff\xff"
_RECEIVE_MAXIMUM = 0x21
# Size of each CONNACK property's value; None: text behind a two-byte length; a pair of texts is not listed.
_PROPERTY_BYTES = {0x11: 4, 0x13: 2, 0x21: 2, 0x22: 2, 0x24: 1, 0x25: 1, 0x27: 4, 0x28: 1, 0x29: 1, 0x2A: 1}
_TEXT_PROPERTIES = frozenset({0x12, 0x1A, 0x1C, 0x1F})


class Refused(OSError):
    """The broker did not accept the connection."""


def length_bytes(length: int) -> bytes:
    """Return MQTT's variable-length form of a number."""
    encoded = bytearray()
    while True:
        length, digit = divmod(length, 128)
        encoded.append(digit | (0x80 if length else 0))
        if not length:
            return bytes(encoded)


def text_bytes(text: str) -> bytes:
    """Return a text with its length before it."""
    encoded = text.encode()
    return struct.pack("!H", len(encoded)) + encoded


def packet(first: int, body: bytes) -> bytes:
    """Return a control packet; `first` is its first byte."""
    return bytes((first,)) + length_bytes(len(body)) + body


def connect_packet(client_id: str, user: str, password: str, *, is_clean: bool) -> bytes:
    """Return an MQTT 5 CONNECT whose session the broker keeps unless `is_clean`; keep-alive is off."""
    properties = b"" if is_clean else _SESSION_NEVER_EXPIRES
    flags = 0xC0 | (0x02 if is_clean else 0x00)
    head = b"\x00\x04MQTT\x05" + bytes((flags, 0, 0, len(properties))) + properties
    return packet(0x10, head + text_bytes(client_id) + text_bytes(user) + text_bytes(password))


def publish_packet(topic: str, payload: bytes, message_id: int, *, is_repeat: bool = False) -> bytes:
    """Return an MQTT 5 PUBLISH at QoS 1 without properties."""
    body = text_bytes(topic) + struct.pack("!HB", message_id, 0) + payload
    return packet(0x3A if is_repeat else 0x32, body)


def subscribe_packet(topic: str, *, qos: int) -> bytes:
    """Return an MQTT 5 SUBSCRIBE to one topic filter."""
    return packet(0x82, b"\x00\x01\x00" + text_bytes(topic) + bytes((qos,)))


def puback_packet(message_id: int) -> bytes:
    """Return a PUBACK with success."""
    return b"\x40\x02" + struct.pack("!H", message_id)


@dataclass(slots=True)
class Packets:
    """Splits a stream of bytes into packets."""

    _held: bytearray = field(default_factory=bytearray)

    def feed(self, received: bytes) -> Iterator[tuple[int, bytes]]:
        """Take bytes from the network; yield (packet type, body) of each packet that is complete."""
        self._held += received
        held, position = self._held, 0
        while True:
            length, shift, index = 0, 0, position + 1
            while index < len(held):
                byte = held[index]
                index += 1
                length |= (byte & 0x7F) << shift
                shift += 7
                if byte < 0x80:
                    break
            else:
                break
            if index + length > len(held):
                break
            yield held[position] >> 4, bytes(held[index : index + length])
            position = index + length
        del held[:position]


def receive_maximum(connack: bytes) -> int:
    """Return how many unacknowledged messages the broker takes from us, 65,535 when it does not say."""
    size, position = connack[2], 3
    end = position + size
    while position < end:
        name = connack[position]
        position += 1
        if name == _RECEIVE_MAXIMUM:
            return int.from_bytes(connack[position : position + 2], "big")
        if name in _TEXT_PROPERTIES:
            position += 2 + int.from_bytes(connack[position : position + 2], "big")
        elif name in _PROPERTY_BYTES:
            position += _PROPERTY_BYTES[name]
        else:
            break
    return 65_535


def open_connection(url: str, client_id: str, *, is_clean: bool) -> tuple[socket.socket, bytes]:
    """Log in to the broker of `url`; return the socket and the CONNACK's body.

    Raises:
        OSError: nobody listens, or the broker refused (`Refused`).
    """
    parts = urlsplit(url)
    address = (parts.hostname or "localhost", parts.port or 1883)
    connection = socket.create_connection(address, CONNECT_TIMEOUT_S)
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        connection.sendall(connect_packet(client_id, user, password, is_clean=is_clean))
        packets = Packets()
        while True:
            received = connection.recv(4096)
            if not received:
                raise Refused("the connection was closed without a CONNACK")
            for kind, body in packets.feed(received):
                if kind == CONNACK and body[1] == 0:
                    return connection, body
                raise Refused(f"the broker answered packet type {kind}, code {body[1]}")
    except BaseException:
        connection.close()
        raise
