"""Socket.IO listeners on plain sockets, as a process: many connections, little processor time.

`python -m benchmarks.sockets '{"host": ...}'` as `benchmarks.flood`; a second line ends it.
"""

import base64
import json
import os
import select
import socket
import sys
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from benchmarks.figures import spread_ms
from benchmarks.payloads import DEVICES, device_id

_TEXT_FRAME = 0x81
_PING, _PONG = "2", "3"
# "40" asks for the connection, and the answer begins with the same.
_SIGN_IN, _ANSWER, _EVENT = "40", "43", "42"
_SIGN_IN_WITHIN_S = 20.0


@dataclass(slots=True)
class Listener:
    """One connection that listens to one device."""

    connection: socket.socket
    token: str
    device: str
    is_subscribed: bool = False
    frames: int = 0
    held: bytearray = field(default_factory=bytearray)

    def send(self, text: str) -> None:
        """Send one text frame, masked as a client has to."""
        body = text.encode()
        size = len(body)
        length = bytes((0x80 | size,)) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[place % 4] for place, byte in enumerate(body))
        self.connection.sendall(bytes((_TEXT_FRAME,)) + length + mask + masked)

    def texts(self) -> list[str]:
        """Read what is there; return the complete frames."""
        received = self.connection.recv(262_144)
        if not received:
            raise ConnectionError("the platform closed a socket")
        self.held += received
        found = []
        while len(self.held) >= 2:
            size, start = self.held[1] & 0x7F, 2
            if size == 126:
                size, start = int.from_bytes(self.held[2:4], "big"), 4
            elif size == 127:
                size, start = int.from_bytes(self.held[2:10], "big"), 10
            if len(self.held) < start + size:
                break
            if self.held[0] != _TEXT_FRAME:
                raise ConnectionError("the platform closed a socket")
            found.append(self.held[start : start + size].decode())
            del self.held[: start + size]
        return found

    def take(self, text: str) -> str | None:
        """Answer what has to be answered; return the text of an event."""
        if text == _PING:
            self.send(_PONG)
        elif text.startswith(_SIGN_IN):
            self.send('420["subscribe",' + json.dumps({"devices": [self.device]}) + "]")
        elif text.startswith(_ANSWER):
            self.is_subscribed = True
        elif text.startswith(_EVENT):
            self.frames += 1
            return text[len(_EVENT) :]
        return None


def open_listener(host: str, port: int, token: str, device: str) -> Listener:
    """Open a WebSocket to the platform."""
    connection = socket.create_connection((host, port), 10)
    key = base64.b64encode(os.urandom(16)).decode()
    connection.sendall(
        f"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += connection.recv(4096)
    head, _, rest = answer.partition(b"\r\n\r\n")
    if b" 101 " not in head.splitlines()[0]:
        raise ConnectionError(head.decode())
    listener = Listener(connection, token, device)
    listener.held += rest
    listener.send(_SIGN_IN + json.dumps({"token": token}))
    return listener


def listen(host: str, port: int, token: str, count: int) -> dict[str, Any]:
    """Listen to as many devices, the first of them the probe, until a second line arrives."""
    opened = [open_listener(host, port, token, device_id(number % DEVICES)) for number in range(count)]
    listeners = {listener.connection.fileno(): listener for listener in opened}
    poll = select.epoll()
    for number in listeners:
        poll.register(number, select.EPOLLIN)
    _subscribe_all(poll, listeners)
    print("READY", flush=True)
    sys.stdin.readline()
    poll.register(sys.stdin.fileno(), select.EPOLLIN)
    delays: list[float] = []
    while sys.stdin.fileno() not in (ready := [number for number, _ in poll.poll(5)]):
        for listener in map(listeners.__getitem__, ready):
            events = [listener.take(text) for text in listener.texts()]
            if listener is opened[0]:
                arrived = time.time()
                delays += [delay for event in events if event for delay in event_delays(event, arrived)]
    return {"sockets": count, "frames": sum(listener.frames for listener in opened), **spread_ms(delays)}


def _subscribe_all(poll: select.epoll, listeners: dict[int, Listener]) -> None:
    deadline = time.monotonic() + _SIGN_IN_WITHIN_S
    while not all(listener.is_subscribed for listener in listeners.values()):
        if time.monotonic() > deadline:
            raise TimeoutError("not every socket could subscribe")
        for number, _ in poll.poll(1):
            for text in listeners[number].texts():
                listeners[number].take(text)


def event_delays(event: str, arrived: float) -> list[float]:
    """Return for each message in an event the seconds from its time, which is when it was sent."""
    name, update = json.loads(event)
    if name != "telemetry_update":
        return []
    return [
        arrived - datetime.fromisoformat(reading["ts"]).timestamp()
        for reading in update["readings"]
        if reading["metric"] == "m0"
    ]


def main() -> int:
    """Do what the one argument says and print the result."""
    print(json.dumps(listen(**json.loads(sys.argv[1]))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
