"""The API with the real ingest behind it; left out are the broker, the sockets and, unless given, Redis."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from flask import Flask

from alerting.desk import AlertDesk
from api import ComponentHealth, Services, register_api
from api.history import History
from api.passwords import Passwords
from api.sessions import Sessions
from api.tokens import Tokens
from cache import LatestCache
from domain.reading import LatestValue, StoredReadings
from domain.transition import AlertChange
from fleet.broker_access import BrokerAccess
from fleet.commands import Commands
from fleet.credentials import Credentials
from fleet.registry import Registry
from ingest.batch import Intake
from ingest.buffer import Buffer
from ingest.limits import IngestLimits
from ingest.pipeline import Pipeline
from ingest.registry import Registry as WriterRegistry
from ingest.topics import TopicLayout
from ingest.writer import Writer, WriterOptions
from mqtt.dynamic_security import DynamicSecurity
from observability import Heartbeats
from settings import Settings
from storage.pool import AppDatabase, SystemDatabase


class CacheAway:
    """The cache while Redis is stopped: every read is a miss."""

    def read(self, tenant_id: int, device_key: int) -> list[LatestValue] | None:
        return None

    def fill(self, tenant_id: int, device_key: int, values: Sequence[LatestValue]) -> None:
        return None

    def advance(self, updates: Iterable[tuple[int, int, LatestValue]]) -> None:
        return None


CACHE_AWAY = CacheAway()


class NobodyListens:
    """The sockets while nobody is connected."""

    def is_listening(self, tenant_id: int, device_id: str) -> bool:
        return False

    def publish(self, batch: list[StoredReadings]) -> None:
        return None

    def device_changed(self, tenant_id: int, device_id: str, status: str, last_seen_us: int) -> None:
        return None

    def alerts_changed(self, changes: Sequence[AlertChange]) -> None:
        return None


@dataclass
class ReportedHealth:
    """Health as a test says it is."""

    parts: list[ComponentHealth]

    def report(self) -> list[ComponentHealth]:
        return self.parts


def all_well() -> list[ComponentHealth]:
    names = ("database", "migrations", "writer", "broker", "cache")
    return [ComponentHealth(name, "ok", f"{name} of the test") for name in names]


@dataclass(frozen=True, slots=True)
class Application:
    """The running parts that tests reach into; `announced` is what commands on alerts have told."""

    app: Flask
    services: Services
    health: ReportedHealth
    announced: list[AlertChange]


@contextmanager
def running_application(
    settings: Settings,
    app_database: AppDatabase,
    system_database: SystemDatabase,
    *,
    latest: LatestCache | CacheAway = CACHE_AWAY,
) -> Iterator[Application]:
    """The API on a plain Flask application, with the writer thread running."""
    layout = TopicLayout(settings.mqtt.topic_root)
    ingest = settings.ingest
    limits = IngestLimits(
        auto_register=settings.auto_register,
        future_limit_s=ingest.future_limit_s,
        lateness_s=ingest.lateness_s,
        message_bytes=ingest.message_bytes,
        message_readings=ingest.message_readings,
        metrics_per_device=ingest.metrics_per_device,
    )
    buffer = Buffer(max_items=ingest.buffer_messages, max_bytes=ingest.buffer_bytes)
    known = WriterRegistry()
    writer = Writer(
        system_database,
        buffer=buffer,
        intake=Intake(known, limits, layout, settings.mqtt.client_id),
        options=WriterOptions(ingest.batch_messages, ingest.batch_bytes, linger_s=0.0),
        latest=latest,
        audience=NobodyListens(),
        heartbeats=Heartbeats(),
    )
    broker_access = BrokerAccess(
        system_database,
        DynamicSecurity(settings.mqtt),
        secret_of=settings.access.derived_secret,
        heartbeats=Heartbeats(),
    )
    app = Flask("tests")
    announced: list[AlertChange] = []
    health = ReportedHealth(all_well())
    services = Services(
        settings=settings,
        app_database=app_database,
        sessions=Sessions(
            tokens=Tokens(app, settings.access),
            passwords=Passwords(),
            app_database=app_database,
            system_database=system_database,
            refresh_token_s=settings.access.refresh_token_s,
        ),
        registry=Registry(app_database, metrics_per_device=ingest.metrics_per_device),
        history=History(
            app_database,
            future_limit=timedelta(seconds=ingest.future_limit_s),
            clock=lambda: datetime.now(UTC),
        ),
        pipeline=Pipeline(
            system_database,
            buffer=buffer,
            registry=known,
            layout=layout,
            commit_wait_s=ingest.commit_wait_s,
        ),
        latest=latest,
        health=health,
        commands=Commands(app_database, clock=lambda: datetime.now(UTC), dispatch=lambda: None),
        credentials=Credentials(app_database, broker_access, topic_root=settings.mqtt.topic_root),
        alerts=AlertDesk(
            app_database,
            clock=lambda: datetime.now(UTC),
            shelve_max=timedelta(seconds=settings.alerts.shelve_max_s),
            announce=announced.extend,
        ),
    )
    register_api(app, services)
    writer.start()
    try:
        yield Application(app, services, health, announced)
    finally:
        assert writer.stop(timeout_s=10)
