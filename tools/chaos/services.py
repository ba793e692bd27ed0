"""PostgreSQL, Redis and the broker of a chaos run: each can be stopped, killed and started again.

Ports lie below the range that the system gives to clients, and stay: a client that tries again and again
could otherwise be given the very port that it tries to reach, and the service could not come back.
"""

import os
import random
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from tools.services import broker_users, ports
from tools.services.child import Child, started
from tools.services.instance import Instance
from tools.services.mosquitto import Broker
from tools.services.place import clear, find_place
from tools.services.postgres import Postgres
from tools.services.valkey import Valkey

_PORTS = range(20_000, 32_000)
_STOP_TIMEOUT_S = 30.0


def low_port() -> int:
    """Return a free port below the range of the clients' ports."""
    while True:
        port = random.choice(_PORTS)
        if ports.is_free(port):
            return port


class Services:
    """The three services, durable, with fresh data in `folder`. Used by the main thread only."""

    def __init__(self, folder: Path, vendor: Path, announce: Callable[[str], object]) -> None:
        self._place = find_place(folder)
        self._instance = Instance(folder)
        self._instance.lock()
        clear(self._place)
        self.secrets = self._instance.secrets()
        logs = folder / "log"
        passwords = broker_users.users(self.secrets["mqtt_password"], None, "default")
        self.postgres = Postgres(
            self._place, logs / "postgres.log", self.secrets["postgres_password"], low_port()
        )
        self.redis = Valkey(self._place, logs / "redis.log", self.secrets["redis_password"], low_port())
        self.broker = Broker(self._place, logs / "mqtt.log", vendor, passwords, announce, low_port())

    def start(self) -> dict[str, str]:
        """Start all three and return their URLs.

        Raises:
            ServiceError: one of them does not start.
        """
        for service in (self.postgres, self.redis, self.broker):
            service.spawn()
        for service in (self.postgres, self.redis, self.broker):
            service.wait_ready()
        return {
            "DATABASE_URL": self.postgres.url(),
            "REDIS_URL": self.redis.url(),
            "MQTT_URL": self.broker.url(),
        }

    def stop_database(self, *, at_once: bool) -> None:
        """Stop PostgreSQL: orderly, or at once so that it has to recover when it starts."""
        child = started(self.postgres.child)
        if at_once:
            os.kill(child.pid, signal.SIGQUIT)
            child.wait_stopped(_STOP_TIMEOUT_S)
        else:
            self.postgres.stop(_STOP_TIMEOUT_S)

    def start_database(self) -> None:
        """Start PostgreSQL again."""
        self.postgres.spawn()
        self.postgres.wait_ready()

    def restart_broker(self, *, kill: bool = False) -> None:
        """Stop the broker, by SIGTERM or SIGKILL, and start it again."""
        child = started(self.broker.child)
        if kill:
            os.kill(child.pid, signal.SIGKILL)
        else:
            child.ask_to_stop()
        child.wait_stopped(_STOP_TIMEOUT_S)
        self.broker.spawn()
        self.broker.wait_ready()

    def stop_redis(self) -> None:
        """Stop Redis, which forgets everything."""
        self.redis.stop(_STOP_TIMEOUT_S)

    def start_redis(self) -> None:
        """Start Redis again."""
        self.redis.spawn()
        self.redis.wait_ready()

    def flush_redis(self) -> None:
        """Have Redis forget everything; while it is stopped there is nothing to forget."""
        parts = urlsplit(self.redis.url())
        if self.redis.child is None or not self.redis.child.is_running:
            return
        with socket.create_connection((parts.hostname, parts.port), 5.0) as connection:
            connection.sendall(f"AUTH {self.secrets['redis_password']}\r\nFLUSHALL\r\n".encode())
            connection.recv(256)

    def stop(self, *, keep_data: bool = False) -> None:
        """Stop all three and delete their data."""
        children: list[Child] = [
            service.child for service in (self.broker, self.redis, self.postgres) if service.child is not None
        ]
        for child in children:
            child.ask_to_stop()
        for child in children:
            child.wait_stopped(_STOP_TIMEOUT_S)
        if not keep_data:
            clear(self._place, keep_logs=True)
