"""Receivers of webhooks: real servers on the loopback network that behave well or badly, and count."""

from __future__ import annotations

import socket
import socketserver
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network

from webhook import Guard

HOUSE = ip_network("127.77.0.0/16")
"""The part of the loopback network that the tests' deployment allows: its plant-internal receivers."""


def guard(**options: object) -> Guard:
    """A guard that lets the plant's own receivers be reached."""
    return Guard(allowed_networks=(HOUSE,), **options)  # type: ignore[arg-type]


@dataclass
class Received:
    """One request as it came in."""

    head: str
    body: bytes

    @property
    def headers(self) -> dict[str, str]:
        lines = self.head.split("\r\n")[1:]
        return {name.lower(): text.strip() for name, _, text in (line.partition(":") for line in lines)}


Behave = Callable[[socket.socket], None]


@dataclass
class Receiver:
    """A listener with its count of connections and bytes."""

    host: str
    port: int
    behave: Behave
    requests: list[Received] = field(default_factory=list)
    connections: int = 0
    bytes_in: int = 0

    @property
    def authority(self) -> str:
        return f"{self.host}:{self.port}"


def answering(status_line: str, *headers: str, body: bytes = b"ok") -> Behave:
    """Answer at once."""
    lines = [f"HTTP/1.1 {status_line}", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]
    answer = "\r\n".join(lines).encode() + body

    def behave(link: socket.socket) -> None:
        link.sendall(answer)

    return behave


def resetting(link: socket.socket) -> None:
    """End the connection with a reset."""
    link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    link.close()


def read_request(link: socket.socket, receiver: Receiver) -> None:
    raw = b""
    while b"\r\n\r\n" not in raw:
        piece = link.recv(65_536)
        if not piece:
            return
        receiver.bytes_in += len(piece)
        raw += piece
    head, _, body = raw.partition(b"\r\n\r\n")
    request = Received(head.decode("latin-1"), body)
    length = int(request.headers.get("content-length", "0"))
    while len(request.body) < length:
        piece = link.recv(65_536)
        if not piece:
            return
        receiver.bytes_in += len(piece)
        request.body += piece
    receiver.requests.append(request)


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """Broken connections are what these tests are about."""


@contextmanager
def receiving(
    behave: Behave, *, host: str = "127.77.0.1", port: int = 0, context: ssl.SSLContext | None = None
) -> Iterator[Receiver]:
    """A receiver on a thread of its own."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            receiver.connections += 1
            self.request.settimeout(20)
            link = context.wrap_socket(self.request, server_side=True) if context else self.request
            try:
                read_request(link, receiver)
                receiver.behave(link)
            finally:
                link.close()

    class Server(_Server):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

    with Server((host, port), Handler) as server:
        receiver = Receiver(host, server.server_address[1], behave)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join(5)
