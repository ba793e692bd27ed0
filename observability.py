"""Structured logs, Prometheus metrics, and the heartbeats that `/health` reads."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

REGISTRY = CollectorRegistry(auto_describe=True)

messages_received = Counter(
    "iiot_mqtt_messages_received_total", "MQTT messages taken from the broker", registry=REGISTRY
)
messages_dropped = Counter(
    "iiot_mqtt_messages_dropped_total",
    "QoS 0 messages dropped because the buffer was full",
    registry=REGISTRY,
)
ingest_pauses = Counter(
    "iiot_ingest_pauses_total",
    "Times reading from the broker paused because the buffer was full",
    registry=REGISTRY,
)
readings_stored = Counter("iiot_readings_stored_total", "Readings committed to PostgreSQL", registry=REGISTRY)
readings_duplicate = Counter(
    "iiot_readings_duplicate_total",
    "Readings that were already stored with the same value",
    registry=REGISTRY,
)
readings_rejected = Counter(
    "iiot_readings_rejected_total",
    "Readings and messages sent to dead letters",
    ["reason"],
    registry=REGISTRY,
)
batch_seconds = Histogram(
    "iiot_ingest_batch_seconds",
    "Time from taking a batch from the buffer to its commit",
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
    registry=REGISTRY,
)
batch_failures = Counter(
    "iiot_ingest_batch_failures_total", "Batches that had to be tried again", ["cause"], registry=REGISTRY
)
buffer_messages = Gauge("iiot_ingest_buffer_messages", "Messages waiting in the buffer", registry=REGISTRY)
buffer_bytes = Gauge("iiot_ingest_buffer_bytes", "Payload bytes waiting in the buffer", registry=REGISTRY)
broker_connected = Gauge("iiot_mqtt_connected", "1 while connected to the broker", registry=REGISTRY)
broker_dropped = Gauge(
    "iiot_mqtt_broker_dropped", "Messages that the broker says it has dropped ($SYS)", registry=REGISTRY
)
possible_gaps = Counter(
    "iiot_mqtt_possible_gaps_total",
    "Times the broker had forgotten the session of the platform",
    registry=REGISTRY,
)
cache_requests = Counter("iiot_cache_requests_total", "Look-ups in the cache", ["result"], registry=REGISTRY)
sockets_open = Gauge("iiot_sockets_open", "Open Socket.IO connections", registry=REGISTRY)
sockets_cut = Counter(
    "iiot_sockets_cut_total", "Sockets that the platform has disconnected", ["cause"], registry=REGISTRY
)
broadcast_readings = Counter(
    "iiot_broadcast_readings_total", "Readings handed to Socket.IO", registry=REGISTRY
)
broadcast_thinned = Counter(
    "iiot_broadcast_thinned_total",
    "Readings left out of a broadcast because newer ones replaced them",
    registry=REGISTRY,
)
request_seconds = Histogram(
    "iiot_http_request_seconds",
    "Time to answer an HTTP request",
    ["route", "status_class"],
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
    registry=REGISTRY,
)
pool_waits = Counter(
    "iiot_database_pool_waits_total", "Times a connection had to be waited for", ["pool"], registry=REGISTRY
)
job_seconds = Histogram(
    "iiot_job_seconds",
    "Time a periodic job took",
    ["job"],
    buckets=(0.01, 0.1, 0.5, 1, 5, 30),
    registry=REGISTRY,
)
job_lag_seconds = Gauge(
    "iiot_job_lag_seconds", "How late the last run of a job started", ["job"], registry=REGISTRY
)
job_failures = Counter("iiot_job_failures_total", "Runs of a job that failed", ["job"], registry=REGISTRY)
job_skips = Counter(
    "iiot_job_skips_total", "Runs that another process was doing already", ["job"], registry=REGISTRY
)


def metrics_page() -> tuple[bytes, str]:
    """The Prometheus text page and its content type."""
    return generate_latest(REGISTRY), CONTENT_TYPE_LATEST


def configure_logging(*, format: Literal["console", "json"], level: str) -> None:
    """Send structlog and the standard library's loggers to standard error in one form."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if format == "json"
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), pad_event_to=30, exception_formatter=structlog.dev.plain_traceback
        )
    )
    tail: list[Any] = [structlog.processors.format_exc_info, renderer] if format == "json" else [renderer]
    structlog.configure(
        processors=[*shared, *tail],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *tail],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)


def get_logger(name: str) -> Any:
    """A structlog logger bound to a component's name."""
    return structlog.get_logger(component=name)


@dataclass(frozen=True, slots=True)
class Beat:
    """The last sign of life of one loop."""

    name: str
    age_s: float
    limit_s: float

    @property
    def is_alive(self) -> bool:
        """Whether the loop has shown life within its limit."""
        return self.age_s <= self.limit_s


class Heartbeats:
    """Signs of life of the threads that the runtime owns. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._beats: dict[str, tuple[float, float]] = {}

    def beat(self, name: str, *, limit_s: float = 30.0) -> None:
        """Record that the loop `name` is alive and should beat again within `limit_s`."""
        with self._lock:
            self._beats[name] = (time.monotonic(), limit_s)

    def forget(self, name: str) -> None:
        """Stop expecting the loop, because it was stopped on purpose."""
        with self._lock:
            self._beats.pop(name, None)

    def report(self) -> list[Beat]:
        """All loops with the age of their last beat, by name."""
        now = time.monotonic()
        with self._lock:
            return [Beat(name, now - at, limit_s) for name, (at, limit_s) in sorted(self._beats.items())]


@contextmanager
def log_context(**values: object) -> Iterator[None]:
    """Add the values to every log line written inside the block."""
    with structlog.contextvars.bound_contextvars(**values):
        yield
