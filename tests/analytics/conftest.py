"""Fixtures of the analytics tests."""

from __future__ import annotations

import pytest

from storage.pool import SystemDatabase
from tests.analytics.record import Table
from tests.people import Plants


@pytest.fixture(scope="module")
def table(system_database: SystemDatabase, plants: Plants) -> Table:
    """The telemetry table as plant A fills it."""
    return Table(system_database, plants.plant_a)
