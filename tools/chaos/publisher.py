"""A publisher as a process of its own: sends at a steady rate and knows what the broker acknowledged.

Its session is persistent; what was not acknowledged when a connection broke is sent again, as MQTT wants.
"""

import json
import select
import signal
import socket
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType

from tools.chaos.message import Stream
from tools.chaos.wire import PUBACK, Packets, open_connection, publish_packet, receive_maximum

WINDOW = 1000
_RECONNECT_EVERY_S = 0.2
_TICK_S = 0.005
# How long the end waits for acknowledgements that are still due.
_FINISH_S = 60.0


@dataclass(frozen=True, slots=True)
class Assignment:
    """What one publisher has to do; `topic` has the device id in place of `{}`."""

    url: str
    client_id: str
    topic: str
    devices: list[str]
    base_ms: int
    rate: float
    seconds: float
    result: str

    def as_json(self) -> str:
        """Return what `main` is called with."""
        return json.dumps(asdict(self))


@dataclass(frozen=True, slots=True)
class Sent:
    """What a publisher knows at its end, by message index.

    Attributes:
        count: Messages 0 to count-1 were sent at least once.
        unacknowledged: Messages without an answer.
        refused: Messages that the broker answered with a failure.
        attempts: How often those were sent that were sent more than once.
    """

    count: int
    unacknowledged: list[int]
    refused: list[int]
    attempts: dict[int, int]

    def acknowledged(self) -> set[int]:
        """Return the messages that the broker has taken responsibility for."""
        return set(range(self.count)).difference(self.unacknowledged, self.refused)


def load_sent(path: Path) -> Sent:
    """Read what a publisher wrote."""
    content = json.loads(path.read_text(encoding="utf-8"))
    content["attempts"] = {int(index): count for index, count in content["attempts"].items()}
    return Sent(**content)


@dataclass(slots=True)
class Publisher:
    """Sends the messages of one assignment."""

    assignment: Assignment
    stream: Stream = field(init=False)
    count: int = field(default=0, init=False)
    outstanding: dict[int, int] = field(default_factory=dict, init=False)
    refused: list[int] = field(default_factory=list, init=False)
    attempts: dict[int, int] = field(default_factory=dict, init=False)
    window: int = field(default=WINDOW, init=False)
    is_stopping: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self.stream = Stream(self.assignment.devices, self.assignment.base_ms)

    def run(self) -> None:
        """Send until the time is over or somebody asks for the end, then wait for what is outstanding."""
        started = time.monotonic()
        stop_at = started + self.assignment.seconds
        give_up_at = stop_at + _FINISH_S
        while not self._is_done(stop_at) and time.monotonic() < give_up_at:
            try:
                connection, connack = open_connection(
                    self.assignment.url, self.assignment.client_id, is_clean=False
                )
            except OSError:
                time.sleep(_RECONNECT_EVERY_S)
                continue
            self.window = min(WINDOW, receive_maximum(connack))
            with connection:
                try:
                    self._send_again(connection)
                    self._drive(connection, started, stop_at, give_up_at)
                except OSError:
                    continue

    def _is_done(self, stop_at: float) -> bool:
        return (self.is_stopping or time.monotonic() >= stop_at) and not self.outstanding

    def _send_again(self, connection: socket.socket) -> None:
        for index in self.outstanding.values():
            self.attempts[index] = self.attempts.get(index, 1) + 1
        connection.sendall(
            b"".join(self._packet(index, is_repeat=True) for index in self.outstanding.values())
        )

    def _drive(self, connection: socket.socket, started: float, stop_at: float, give_up_at: float) -> None:
        packets = Packets()
        while time.monotonic() < give_up_at and not self._is_done(stop_at):
            now = time.monotonic()
            if not self.is_stopping and now < stop_at:
                due = int((now - started) * self.assignment.rate) - self.count
                self._send(connection, min(due, self.window - len(self.outstanding)))
            if select.select([connection], [], [], _TICK_S)[0]:
                received = connection.recv(65_536)
                if not received:
                    return
                for kind, body in packets.feed(received):
                    if kind == PUBACK:
                        self._answered(body)

    def _send(self, connection: socket.socket, number: int) -> None:
        if number <= 0:
            return
        new = range(self.count, self.count + number)
        # Counted as sent before they are: a connection that breaks in between may have delivered them.
        self.outstanding.update((_message_id(index), index) for index in new)
        self.count += number
        connection.sendall(b"".join(self._packet(index, is_repeat=False) for index in new))

    def _packet(self, index: int, *, is_repeat: bool) -> bytes:
        topic = self.assignment.topic.format(self.stream.device(index))
        return publish_packet(topic, self.stream.payload(index), _message_id(index), is_repeat=is_repeat)

    def _answered(self, body: bytes) -> None:
        index = self.outstanding.pop(int.from_bytes(body[:2], "big"), None)
        if index is not None and len(body) > 2 and body[2] != 0:
            self.refused.append(index)

    def sent(self) -> Sent:
        """Return what is known at the end."""
        return Sent(self.count, list(self.outstanding.values()), self.refused, self.attempts)


def _message_id(index: int) -> int:
    return index % 65_535 + 1


def main() -> int:
    """Publish what the one argument, an assignment as JSON, asks for."""
    assignment = Assignment(**json.loads(sys.argv[1]))
    publisher = Publisher(assignment)

    def stop(_number: int, _frame: FrameType | None) -> None:
        publisher.is_stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    publisher.run()
    Path(assignment.result).write_text(json.dumps(asdict(publisher.sent())), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
