"""MQTT packets on the wire: PUBLISH is read here, everything else is left to paho."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

_PUBLISH = 0x30
_DISCONNECT = b"\xe0\x00"
_MALFORMED = "the broker sent a malformed packet"
_PUBACK = b"\x40\x02"


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
                try:
                    found.append(self._publish(first, body, end))
                except IndexError:
                    raise ConnectionError(_MALFORMED) from None
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
        raise ConnectionError(_MALFORMED)

    def _publish(self, first: int, body: int, end: int) -> Publish:
        incoming = self._incoming
        position = body + 2 + (incoming[body] << 8 | incoming[body + 1])
        topic = bytes(incoming[body + 2 : position])
        message_id = 0
        if first & 0x06:
            message_id = incoming[position] << 8 | incoming[position + 1]
            position += 2
            if not message_id:
                raise ConnectionError(_MALFORMED)
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
            raise ConnectionError(_MALFORMED)
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

    def finish(self, *, timeout_s: float) -> None:
        """Write what has gathered and DISCONNECT, and wait until the broker has read it and closes.

        If we closed first, whatever the broker still sends would be answered with a reset, and a reset may
        overtake acknowledgements that it has not read yet.
        """
        self._outgoing += _DISCONNECT
        deadline = time.monotonic() + timeout_s
        with suppress(OSError):
            self._sock.settimeout(timeout_s)
            self._sock.sendall(self._outgoing)
            self._outgoing.clear()
            self._sock.shutdown(socket.SHUT_WR)
            while self._sock.recv(65_536) and time.monotonic() < deadline:
                pass

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
