"""A fresh server, and processes that use it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cache import LatestCache
from tests.cache.support import Process, Server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def start_process(server: Server) -> Iterator[Callable[[], Process]]:
    started: list[Process] = []

    def start() -> Process:
        process = Process(server)
        started.append(process)
        process.wait_until_healthy()
        return process

    yield start
    for process in started:
        process.client.stop(5)


@pytest.fixture
def process(start_process: Callable[[], Process]) -> Process:
    return start_process()


@pytest.fixture
def cache(process: Process) -> LatestCache:
    return process.cache
