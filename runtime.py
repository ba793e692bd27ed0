"""The parts of the platform and the threads they own: built in one place, started and stopped in order."""

from __future__ import annotations

import gc
import time
from datetime import UTC, datetime, timedelta

from flask import Flask

from alerting.desk import AlertDesk
from alerting.timers import alert_timers
from api import Services, register_api
from api.history import History
from api.passwords import Passwords
from api.realtime import Realtime, create_socketio
from api.sessions import Sessions
from api.tokens import Tokens
from cache import LatestCache, RedisClient
from fleet.broker_access import BrokerAccess
from fleet.command_dispatch import CommandDispatcher
from fleet.commands import Commands
from fleet.credentials import Credentials
from fleet.registry import Registry
from health import HealthMonitor
from ingest.batch import Intake
from ingest.buffer import Buffer
from ingest.limits import IngestLimits
from ingest.pipeline import Pipeline
from ingest.registry import Registry as KnownDevices
from ingest.topics import TopicLayout
from ingest.writer import Writer, WriterOptions
from mqtt.command_line import CommandPublisher
from mqtt.dynamic_security import DynamicSecurity
from mqtt_client import MqttClient
from observability import Heartbeats, get_logger
from scheduler import Job, Scheduler, maintain_partitions
from settings import Settings
from storage.devices import existing_device_ids
from storage.pool import AppDatabase, Pool, PoolOptions, SystemDatabase

log = get_logger("runtime")

_PARTITIONS_EVERY = timedelta(hours=1)


def app_database(settings: Settings) -> AppDatabase:
    """The pool of the role that serves requests."""
    return AppDatabase(_pool(settings, settings.app_database_url, "app", settings.database.app_pool_size))


def system_database(settings: Settings) -> SystemDatabase:
    """The pool of the role for background work."""
    size = settings.database.system_pool_size
    return SystemDatabase(_pool(settings, settings.system_database_url, "system", size))


def _pool(settings: Settings, url: str, name: str, size: int) -> Pool:
    options = PoolOptions(
        size=size,
        wait_s=settings.database.pool_wait_s,
        connect_timeout_s=settings.database.connect_timeout_s,
        statement_timeout_s=settings.database.statement_timeout_s,
    )
    return Pool(url, name=name, options=options)


class Runtime:
    """Builds every part from the settings; `start` and `stop` are called once each."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.heartbeats = Heartbeats()
        self.app_database = app_database(settings)
        self.system_database = system_database(settings)
        self.redis = RedisClient(settings.redis, heartbeats=self.heartbeats)
        self.latest = LatestCache(self.redis, ttl_s=settings.redis.latest_ttl_s)
        self.layout = TopicLayout(settings.mqtt.topic_root)
        self.app = Flask("iiot")
        self.sessions = Sessions(
            tokens=Tokens(self.app, settings.access),
            passwords=Passwords(),
            app_database=self.app_database,
            system_database=self.system_database,
            refresh_token_s=settings.access.refresh_token_s,
        )
        self.socketio = create_socketio(settings)
        self.realtime = Realtime(
            self.socketio,
            authenticate=self.sessions.authenticate,
            devices_of=lambda tenant_id, ids: existing_device_ids(self.app_database, tenant_id, ids),
            settings=settings,
            heartbeats=self.heartbeats,
        )
        self.broker_access = BrokerAccess(
            self.system_database,
            DynamicSecurity(settings.mqtt),
            secret_of=settings.access.derived_secret,
            heartbeats=self.heartbeats,
        )
        self.dispatcher = CommandDispatcher(
            self.system_database,
            CommandPublisher(settings.mqtt),
            clock=lambda: datetime.now(UTC),
            heartbeats=self.heartbeats,
        )
        self._build_ingest(settings)
        self.scheduler = Scheduler(
            self.system_database,
            jobs=[
                Job(
                    "telemetry partitions",
                    _PARTITIONS_EVERY,
                    maintain_partitions(
                        timedelta(days=settings.ingest.partitions_ahead_days),
                        timedelta(seconds=settings.ingest.lateness_s) + timedelta(days=1),
                    ),
                ),
                Job(
                    "alert timers",
                    timedelta(seconds=settings.alerts.timers_s),
                    alert_timers(self.realtime.alerts_changed, lambda: datetime.now(UTC)),
                ),
            ],
            heartbeats=self.heartbeats,
        )
        self.health = HealthMonitor(
            database=self.system_database,
            buffer=self.buffer,
            writer=self.writer,
            broker=self.broker,
            redis=self.redis,
            heartbeats=self.heartbeats,
        )
        self._register_routes(settings)

    def _build_ingest(self, settings: Settings) -> None:
        ingest = settings.ingest
        self.buffer = Buffer(max_items=ingest.buffer_messages, max_bytes=ingest.buffer_bytes)
        known = KnownDevices()
        limits = IngestLimits(
            auto_register=settings.auto_register,
            future_limit_s=ingest.future_limit_s,
            lateness_s=ingest.lateness_s,
            message_bytes=ingest.message_bytes,
            message_readings=ingest.message_readings,
            metrics_per_device=ingest.metrics_per_device,
        )
        self.writer = Writer(
            self.system_database,
            buffer=self.buffer,
            intake=Intake(known, limits, self.layout, settings.mqtt.client_id),
            options=WriterOptions(ingest.batch_messages, ingest.batch_bytes, ingest.linger_s),
            latest=self.latest,
            audience=self.realtime,
            heartbeats=self.heartbeats,
        )
        self.pipeline = Pipeline(
            self.system_database,
            buffer=self.buffer,
            registry=known,
            layout=self.layout,
            commit_wait_s=ingest.commit_wait_s,
        )
        self.broker = MqttClient(
            settings.mqtt,
            subscriptions=self.layout.subscriptions,
            intake=self.pipeline,
            heartbeats=self.heartbeats,
            tell_connected=self.broker_access.wake,
        )
        self.writer.on_settled(self.broker.acknowledge)
        self.buffer.on_room(self.broker.resume)

    def _register_routes(self, settings: Settings) -> None:
        register_api(
            self.app,
            Services(
                settings=settings,
                app_database=self.app_database,
                sessions=self.sessions,
                registry=Registry(self.app_database, metrics_per_device=settings.ingest.metrics_per_device),
                history=History(
                    self.app_database,
                    future_limit=timedelta(seconds=settings.ingest.future_limit_s),
                    clock=lambda: datetime.now(UTC),
                ),
                pipeline=self.pipeline,
                latest=self.latest,
                health=self.health,
                commands=Commands(
                    self.app_database, clock=lambda: datetime.now(UTC), dispatch=self.dispatcher.wake
                ),
                credentials=Credentials(
                    self.app_database, self.broker_access, topic_root=settings.mqtt.topic_root
                ),
                alerts=AlertDesk(
                    self.app_database,
                    clock=lambda: datetime.now(UTC),
                    shelve_max=timedelta(seconds=settings.alerts.shelve_max_s),
                    announce=self.realtime.alerts_changed,
                ),
            ),
        )
        self.socketio.init_app(self.app)

    def start(self) -> None:
        """Start every thread; from then on readings flow."""
        # What the start made stays: the collector need not go through all of it for every burst of messages.
        gc.collect()
        gc.freeze()
        self.redis.start()
        self.scheduler.start()
        self.realtime.start()
        self.writer.start()
        self.broker.start()
        self.broker_access.start()
        self.dispatcher.start()
        self.health.start()
        log.info("platform_started", environment=self.settings.environment)

    def stop(self, timeout_s: float = 8.0) -> bool:
        """Stop in the order in which readings flow, storing and acknowledging what is here already.

        Returns whether everything ended within `timeout_s`; what did not is safe in the broker.
        """
        deadline = time.monotonic() + timeout_s

        def remaining_s() -> float:
            return max(0.1, deadline - time.monotonic())

        self.broker.pause()
        self.health.stop(1.0)
        self.scheduler.stop()
        self.dispatcher.stop(remaining_s())
        is_drained = self.writer.stop(remaining_s())
        is_disconnected = self.broker.stop(remaining_s())
        self.broker_access.stop(remaining_s())
        self.realtime.stop(remaining_s())
        self.redis.stop(remaining_s())
        self.app_database.close()
        self.system_database.close()
        log.info("platform_stopped", drained=is_drained, disconnected=is_disconnected)
        return is_drained and is_disconnected
