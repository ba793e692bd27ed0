"""A hundred live screens of everything, served by gunicorn."""

from __future__ import annotations

import json
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests

from settings import WebSettings
from tests.api.socket_load import DEVICES, READINGS_PER_S
from tests.api.sockets import wait_until

pytestmark = [pytest.mark.services, pytest.mark.slow]

CLIENTS = 100
MEASURE_S = 8.0
ROOT = Path(__file__).parents[2]


class Screen:
    """A WebSocket client cheap enough to run a hundred of in one thread."""

    def __init__(self, port: int) -> None:
        self.latencies_s: list[float] = []
        self.last_seq: dict[str, int] = {}
        self.gaps = 0
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.socket.sendall(
            b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: plant\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        head = b""
        while b"\r\n\r\n" not in head:
            head += self.socket.recv(4096)
        assert b" 101 " in head
        self._rest = head.partition(b"\r\n\r\n")[2]
        self.send(b'40{"token":"token-vera"}')
        self.send(b'42["subscribe",{"devices":["*"]}]')

    def send(self, message: bytes) -> None:
        self.socket.sendall(bytes([0x81, 0x80 | len(message), 0, 0, 0, 0]) + message)

    def read(self, *, is_measured: bool) -> None:
        """Take what has arrived."""
        self._rest += self.socket.recv(65_536)
        now = time.time()
        while (message := self._next()) is not None:
            if message == b"2":
                self.send(b"3")
            elif message.startswith(b'42["telemetry_update"'):
                self._take(json.loads(message[2:])[1], now if is_measured else None)

    def _next(self) -> bytes | None:
        if len(self._rest) < 4:
            return None
        size, start = self._rest[1], 2
        if size == 126:
            size, start = int.from_bytes(self._rest[2:4]), 4
        if len(self._rest) < start + size:
            return None
        message, self._rest = self._rest[start : start + size], self._rest[start + size :]
        return message

    def _take(self, update: dict[str, object], now: float | None) -> None:
        device_id, seq, readings = str(update["device_id"]), update["seq"], update["readings"]
        assert isinstance(seq, int)
        assert isinstance(readings, list)
        self.gaps += self.last_seq.get(device_id, seq - 1) != seq - 1
        self.last_seq[device_id] = seq
        if now is not None:
            self.latencies_s += [now - reading["value"] for reading in readings]


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
    threads = WebSettings().threads
    arguments = ["-b", f"127.0.0.1:{number}", "-k", "gthread", "--threads", str(threads)]
    arguments += [
        "--worker-connections",
        str(threads + 100),
        "--no-control-socket",
        "--graceful-timeout",
        "1",
    ]
    arguments += ["tests.api.socket_load:application()"]
    with (tmp_path / "gunicorn.log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", *arguments], cwd=ROOT, stdout=log, stderr=log
        )
        try:
            wait_until(lambda: _answers(number), timeout_s=20)
            yield number
        finally:
            server.terminate()
            server.wait(20)


def _answers(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/ping", timeout=5).ok
    except requests.ConnectionError:
        return False


def test_a_hundred_screens_follow_twenty_devices(port: int) -> None:
    screens = [Screen(port) for _ in range(CLIENTS)]
    selector = selectors.DefaultSelector()
    for screen in screens:
        selector.register(screen.socket, selectors.EVENT_READ, screen)
    server = _worker(port)
    _follow(selector, 2.0, is_measured=False)
    cpu_before_s, client_before_s = sum(server.cpu_times()[:2]), time.process_time()
    _follow(selector, MEASURE_S, is_measured=True)
    cpu_s, client_s = sum(server.cpu_times()[:2]) - cpu_before_s, time.process_time() - client_before_s
    http_ms = _time_of_ping_ms(port, selector)
    resident_mb = server.memory_info().rss / 1e6
    latencies_s = sorted(latency for screen in screens for latency in screen.latencies_s)
    for screen in screens:
        screen.socket.close()
    count = len(latencies_s)
    p50_ms, p99_ms = latencies_s[count // 2] * 1000, latencies_s[count * 99 // 100] * 1000
    sys.stdout.write(
        f"{CLIENTS} screens, {DEVICES} devices x {READINGS_PER_S} readings/s:"
        f" {count / MEASURE_S:,.0f} readings/s delivered,"
        " publish to screen"
        f" p50 {p50_ms:.0f} ms p99 {p99_ms:.0f} ms;"
        f" CPU {cpu_s / MEASURE_S:.2f} cores (clients {client_s / MEASURE_S:.2f});"
        f" HTTP meanwhile {http_ms:.0f} ms; resident {resident_mb:.0f} MB\n"
    )
    assert sum(screen.gaps for screen in screens) == 0
    assert count >= 0.95 * CLIENTS * DEVICES * READINGS_PER_S * MEASURE_S
    assert p50_ms < 1000


def _follow(selector: selectors.BaseSelector, for_s: float, *, is_measured: bool) -> None:
    until = time.monotonic() + for_s
    while time.monotonic() < until:
        for key, _ in selector.select(timeout=0.1):
            key.data.read(is_measured=is_measured)


def _time_of_ping_ms(port: int, selector: selectors.BaseSelector) -> float:
    took_ms = []
    for _ in range(5):
        started = time.perf_counter()
        assert requests.get(f"http://127.0.0.1:{port}/ping", timeout=10).ok
        took_ms.append((time.perf_counter() - started) * 1000)
        _follow(selector, 0.1, is_measured=False)
    return sorted(took_ms)[2]


def _worker(port: int) -> psutil.Process:
    listeners = [
        connection.pid
        for connection in psutil.net_connections("tcp4")
        if connection.status == psutil.CONN_ESTABLISHED and connection.laddr.port == port and connection.pid
    ]
    return psutil.Process(max(set(listeners), key=listeners.count))
