"""A running ingest on the module's database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import structlog

from storage.pool import SystemDatabase
from tests.ingest.station import Station, running
from tests.people import Plants

StationFactory = Callable[..., Station]


@pytest.fixture(autouse=True, scope="session")
def short_tracebacks() -> None:
    """Log tracebacks without the values of all variables, which take seconds to lay out."""
    plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[structlog.processors.add_log_level, plain])


@pytest.fixture
def make_station(system_database: SystemDatabase, plants: Plants) -> Iterator[StationFactory]:
    """Starts ingests for one test; keyword arguments change their limits."""
    with ExitStack() as stack:

        def make(database: SystemDatabase | None = None, **changed: Any) -> Station:
            station = Station(system_database if database is None else database, **changed)
            return stack.enter_context(running(station))

        yield make


@pytest.fixture(scope="module")
def station(system_database: SystemDatabase, plants: Plants) -> Iterator[Station]:
    """Ingest that registers what it does not know; each test has devices of its own."""
    with running(Station(system_database)) as started:
        yield started


@pytest.fixture(scope="module")
def strict_station(system_database: SystemDatabase, plants: Plants) -> Iterator[Station]:
    """Ingest that knows registered devices and metrics only, as in production."""
    with running(Station(system_database, auto_register=False)) as started:
        yield started
