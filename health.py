"""What `/health` says: a look at every part, taken every few seconds so that answers cost nothing."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

from api import ComponentHealth
from cache import RedisClient
from domain.errors import Unavailable
from ingest.buffer import Buffer
from ingest.writer import HEARTBEAT as WRITER_HEARTBEAT
from ingest.writer import Writer
from mqtt_client import MqttClient
from observability import Heartbeats, get_logger
from storage.locks import ping
from storage.pool import SystemDatabase

log = get_logger("health")

_LOOK_EVERY_S = 2.0
# A loop that has been silent for this many times its own limit will not come back by itself.
_HOPELESS = 4
EXIT_HUNG = 70


class HealthMonitor:
    """Owns the thread that looks; ends the process when one of its own loops hangs for good.

    A supervisor (`./run`, systemd, gunicorn's arbiter) then starts it anew; nothing that was acknowledged
    is lost by that.
    """

    def __init__(
        self,
        *,
        database: SystemDatabase,
        buffer: Buffer,
        writer: Writer,
        broker: MqttClient,
        redis: RedisClient,
        heartbeats: Heartbeats,
        end_process: Callable[[int], None] = os._exit,
    ) -> None:
        self._database = database
        self._buffer = buffer
        self._writer = writer
        self._broker = broker
        self._redis = redis
        self._heartbeats = heartbeats
        self._end_process = end_process
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._database_health = ComponentHealth("database", "down", "not looked at yet")

    def start(self) -> None:
        """Look once, then keep looking."""
        self._look_at_database()
        self._thread = threading.Thread(target=self._run, name="health", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Stop looking."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def report(self) -> list[ComponentHealth]:
        """The state of every part, as last seen."""
        return [self._database_health, self._writer_health(), self._broker_health(), self._cache_health()] + [
            ComponentHealth(beat.name, "down", f"silent for {beat.age_s:.0f} s")
            for beat in self._heartbeats.report()
            if not beat.is_alive and beat.name != WRITER_HEARTBEAT
        ]

    def _run(self) -> None:
        while not self._stopping.wait(_LOOK_EVERY_S):
            self._look_at_database()
            for beat in self._heartbeats.report():
                if beat.age_s > _HOPELESS * beat.limit_s:
                    log.error("loop_hangs", loop=beat.name, silent_s=round(beat.age_s))
                    self._end_process(EXIT_HUNG)

    def _look_at_database(self) -> None:
        started = time.monotonic()
        try:
            with self._database.transaction() as cursor:
                ping(cursor)
        except Unavailable as error:
            self._database_health = ComponentHealth("database", "down", error.detail)
        else:
            elapsed_ms = (time.monotonic() - started) * 1000
            self._database_health = ComponentHealth("database", "ok", f"answers in {elapsed_ms:.0f} ms")

    def _writer_health(self) -> ComponentHealth:
        waiting = f"{len(self._buffer)} messages wait"
        away_s = self._writer.database_away_s
        if away_s is not None:
            return ComponentHealth("writer", "degraded", f"PostgreSQL away for {away_s:.0f} s; {waiting}")
        beats = {beat.name: beat for beat in self._heartbeats.report()}
        beat = beats.get(WRITER_HEARTBEAT)
        if beat is None or not beat.is_alive:
            return ComponentHealth("writer", "down", "the writer shows no life")
        if self._buffer.is_full:
            return ComponentHealth("writer", "degraded", f"the buffer is full; {waiting}")
        return ComponentHealth("writer", "ok", waiting)

    def _broker_health(self) -> ComponentHealth:
        state = self._broker.state
        if state.is_connected:
            return ComponentHealth("broker", "ok", f"{state.detail}, connected for {state.since_s:.0f} s")
        return ComponentHealth("broker", "degraded", f"away for {state.since_s:.0f} s: {state.detail}")

    def _cache_health(self) -> ComponentHealth:
        if self._redis.is_healthy:
            return ComponentHealth("cache", "ok", "answers")
        return ComponentHealth("cache", "degraded", "away; answers come from PostgreSQL")
