"""Fixtures of the API's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.api.sockets import Plant, plant


@pytest.fixture
def running() -> Iterator[Plant]:
    """A server with sockets, quick enough for a test."""
    with plant(IIOT_BROADCAST_INTERVAL_S="0.1") as running:
        yield running
