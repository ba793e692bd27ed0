"""The three data services of one instance together: start, URLs, death, stop.

For programs that need services of their own (chaos runs, benchmarks): start from the main thread, because the
kernel's parent-death signal follows the thread that started a child.
"""

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tools.services import broker_users, external
from tools.services.child import Child, ServiceError
from tools.services.mosquitto import DEFAULT_MAX_QUEUED_BYTES, Broker
from tools.services.place import Place
from tools.services.postgres import Postgres
from tools.services.valkey import Valkey

URL_NAMES = ("DATABASE_URL", "REDIS_URL", "MQTT_URL")
CHECKS: Mapping[str, Callable[[str], str]] = {
    "DATABASE_URL": external.check_postgres,
    "REDIS_URL": external.check_redis,
    "MQTT_URL": external.check_mqtt,
}
STOP_TIMEOUT_S = 15.0
ROOM_NEEDED_BYTES = 300 * 1024 * 1024


@dataclass(slots=True)
class Cluster:
    """PostgreSQL, Redis and MQTT of one instance; those named in `external_urls` are only checked.

    `fresh` instances (tests, measurements) take random ports; without `durable` the database trades safety
    for speed.
    """

    place: Place
    vendor: Path
    secrets: Mapping[str, str]
    external_urls: Mapping[str, str] = field(default_factory=dict)
    tenant: str = "default"
    with_demo_devices: bool = True
    fresh: bool = False
    durable: bool = True
    max_queued_bytes: int = DEFAULT_MAX_QUEUED_BYTES
    announce: Callable[[str], object] = lambda text: None
    postgres: Postgres | None = field(default=None, init=False)
    redis: Valkey | None = field(default=None, init=False)
    mqtt: Broker | None = field(default=None, init=False)

    def start(self) -> dict[str, str]:
        """Start what is not external, check what is, and return the three URLs.

        Raises:
            ServiceError: when one of them cannot be used; those already started are stopped.
        """
        for name in URL_NAMES:
            if name in self.external_urls:
                self.announce(f"{name}: {CHECKS[name](self.external_urls[name])}, external")
        if (
            len(self.external_urls) < len(URL_NAMES)
            and shutil.disk_usage(self.place.data).free < ROOM_NEEDED_BYTES
        ):
            raise ServiceError(
                f"Less than 300 MB are free for {self.place.data}. Remedy: make room, or set VAR_DIR."
            )
        self._build()
        try:
            started = [service for service in (self.redis, self.mqtt, self.postgres) if service is not None]
            for service in started:
                service.spawn()
            for service in started:
                service.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self.urls()

    def _build(self) -> None:
        logs = self.place.folder / "log"
        preferred = {"preferred_port": 0} if self.fresh else {}
        if "REDIS_URL" not in self.external_urls:
            self.redis = Valkey(self.place, logs / "redis.log", self.secrets["redis_password"], **preferred)
        if "MQTT_URL" not in self.external_urls:
            demo_secret = self.secrets["demo_device_secret"] if self.with_demo_devices else None
            passwords = broker_users.users(self.secrets["mqtt_password"], demo_secret, self.tenant)
            self.mqtt = Broker(
                self.place,
                logs / "mqtt.log",
                self.vendor,
                passwords,
                self.announce,
                max_queued_bytes=self.max_queued_bytes,
                **preferred,
            )
        if "DATABASE_URL" not in self.external_urls:
            self.postgres = Postgres(
                self.place,
                logs / "postgres.log",
                self.secrets["postgres_password"],
                durable=self.durable,
                **preferred,
            )

    def urls(self) -> dict[str, str]:
        """Return the three URLs."""
        embedded = {
            "DATABASE_URL": self.postgres.url() if self.postgres else "",
            "REDIS_URL": self.redis.url() if self.redis else "",
            "MQTT_URL": self.mqtt.url() if self.mqtt else "",
        }
        return {**embedded, **self.external_urls}

    def children(self) -> dict[str, Child]:
        """Return the running services' processes by name."""
        services = {"postgres": self.postgres, "redis": self.redis, "mqtt": self.mqtt}
        return {
            name: service.child
            for name, service in services.items()
            if service is not None and service.child is not None
        }

    def search_path(self) -> str:
        """Return a PATH for commands beside them: the project's Python first, psql and its kin last."""
        folders = [str(Path(sys.prefix) / "bin"), os.environ.get("PATH", os.defpath)]
        if self.postgres is not None:
            folders.append(str(self.postgres.binaries))
        return os.pathsep.join(folders)

    def stop(self) -> None:
        """Stop everything that was started here, all at once."""
        children = list(self.children().values())
        for child in children:
            child.ask_to_stop()
        for child in children:
            child.wait_stopped(STOP_TIMEOUT_S)
