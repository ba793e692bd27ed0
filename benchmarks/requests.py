"""HTTP clients on plain keep-alive sockets, as a process: asks again as soon as it is answered.

`python -m benchmarks.requests '{"host": ...}'` as `benchmarks.flood`; a second line ends it.
"""

import json
import select
import socket
import sys
import time
from dataclasses import dataclass, field
from typing import Any

from benchmarks.figures import spread_ms


@dataclass(slots=True)
class Client:
    """One connection with one request on its way."""

    connection: socket.socket
    request: bytes
    asked_at: float = 0.0
    answer: bytearray = field(default_factory=bytearray)
    length: int | None = None

    def ask(self) -> None:
        """Send the request."""
        self.answer.clear()
        self.length = None
        self.asked_at = time.monotonic()
        self.connection.sendall(self.request)

    def is_answered(self) -> bool:
        """Read what is there; return whether the answer is complete."""
        received = self.connection.recv(262_144)
        if not received:
            raise ConnectionError("the platform closed the connection")
        self.answer += received
        if self.length is None and (head := self.answer.find(b"\r\n\r\n")) >= 0:
            lines = bytes(self.answer[:head]).lower().split(b"\r\n")
            if b" 200 " not in lines[0]:
                raise ConnectionError(f"the answer is {lines[0].decode()}")
            sizes = [int(line[15:]) for line in lines if line.startswith(b"content-length:")]
            self.length = head + 4 + sizes[0]
        return self.length is not None and len(self.answer) >= self.length


def ask_repeatedly(host: str, port: int, path: str, token: str, connections: int) -> dict[str, Any]:
    """Ask until a second line arrives on standard input."""
    request = (f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n").encode()
    clients = {}
    for _ in range(connections):
        connection = socket.create_connection((host, port), 10)
        clients[connection.fileno()] = Client(connection, request)
    print("READY", flush=True)
    sys.stdin.readline()
    poll = select.epoll()
    poll.register(sys.stdin.fileno(), select.EPOLLIN)
    started = time.monotonic()
    for number, client in clients.items():
        poll.register(number, select.EPOLLIN)
        client.ask()
    delays: list[float] = []
    while True:
        for number, _ in poll.poll(5):
            if number == sys.stdin.fileno():
                elapsed = time.monotonic() - started
                return {"requests_per_s": round(len(delays) / elapsed), **spread_ms(delays)}
            client = clients[number]
            if client.is_answered():
                delays.append(time.monotonic() - client.asked_at)
                client.ask()


def main() -> int:
    """Do what the one argument says and print the result."""
    print(json.dumps(ask_repeatedly(**json.loads(sys.argv[1]))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
