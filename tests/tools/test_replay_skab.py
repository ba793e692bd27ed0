"""A water-loop file, replayed into the platform as it is shipped: in PostgreSQL and at a Socket.IO client."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import requests
import socketio

from storage.pool import SystemDatabase
from tests.conftest import SECRET_KEY
from tests.people import PASSWORD, PEOPLE, Plants
from tests.tools.test_replay import water_loop
from tools.plant.broker import broker_of
from tools.recording import Row, open_recording
from tools.replay import SKAB, SKAB_LABELS, Checksum, Replayed, replay
from tools.services import ports
from tools.services.welcome import is_ready

pytestmark = [pytest.mark.services, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 60.0
# Fast, and still slow enough that the broadcast leaves nothing out.
SPEED = 120.0


def until(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        if time.monotonic() > deadline:
            return False
        threading.Event().wait(0.05)
    return True


@pytest.fixture(scope="module")
def platform(
    owner_url: str, plants: Plants, mqtt_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The address of `app_advanced.py serve` on this module's database."""
    port = ports.choose()
    address = f"http://127.0.0.1:{port}"
    environment = {
        **os.environ,
        "DATABASE_URL": owner_url,
        "REDIS_URL": redis_url,
        "MQTT_URL": mqtt_url,
        "IIOT_SECRET_KEY": SECRET_KEY,
        "IIOT_PORT": str(port),
        "IIOT_MQTT_CLIENT_ID": f"skab-test-{secrets.token_hex(4)}",
    }
    log = tmp_path_factory.mktemp("platform") / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "app_advanced.py"), "serve"],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            assert until(lambda: is_ready(address) or process.poll() is not None)
            assert process.poll() is None, log.read_text(encoding="utf-8")
            yield address
        finally:
            process.terminate()
            process.wait(20)


@dataclass
class Heard:
    """What a client was told of one device: (metric, milliseconds since 1970) -> value."""

    device_id: str
    values: dict[tuple[str, int], float] = field(default_factory=dict)

    def take(self, update: dict[str, Any]) -> None:
        if update["device_id"] != self.device_id:
            return
        for reading in update["readings"]:
            ts_ms = round(datetime.fromisoformat(reading["ts"]).timestamp() * 1000)
            self.values[reading["metric"], ts_ms] = reading["value"]

    def checksum(self) -> str:
        checksum = Checksum()
        for (metric, ts_ms), value in self.values.items():
            checksum.add(Row(ts_ms, {metric: value}))
        return checksum.hexdigest()


@contextmanager
def listening(address: str, device_id: str) -> Iterator[Heard]:
    """What vera of plant A hears of a device that is not registered yet, through python-socketio."""
    person = {"email": PEOPLE["vera"].email, "password": PASSWORD}
    answer = requests.post(f"{address}/api/v1/auth/login", json=person, timeout=10)
    heard = Heard(device_id)
    with requests.Session() as session, closing(session):
        client = socketio.Client(reconnection=False, http_session=session)
        client.on("telemetry_update", heard.take)
        token = answer.json()["access_token"]
        client.connect(address, auth={"token": token}, transports=["websocket"], wait_timeout=10)
        try:
            assert client.call("subscribe", {"devices": ["*"]}, timeout=10)["subscribed"] == ["*"]
            yield heard
        finally:
            client.disconnect()
            client.wait()


def stored(database: SystemDatabase, device_id: str) -> Checksum:
    checksum = Checksum()
    with database.transaction() as cursor:
        cursor.execute(
            "SELECT m.name, (extract(epoch FROM t.observed_at) * 1000)::bigint, t.value"
            " FROM telemetry t JOIN metrics m USING (tenant_id, metric_id)"
            " JOIN devices d USING (tenant_id, device_key) WHERE d.device_id = %s",
            (device_id,),
        )
        for metric, ts_ms, value in cursor:
            checksum.add(Row(ts_ms, {metric: value}))
    return checksum


def published(path: Path, mqtt_url: str, device_id: str, *, speed: float) -> Replayed:
    return replay(
        open_recording(path, channels=SKAB, left_out=SKAB_LABELS),
        broker_of({"MQTT_URL": mqtt_url}),
        topic=f"iiot/v1/plant-a/{device_id}/telemetry",
        speed=speed,
        is_quiet=True,
    )


def test_a_file_replayed_at_once_is_stored_with_the_count_and_checksum_of_the_file(
    platform: str, system_database: SystemDatabase, mqtt_url: str, tmp_path: Path
) -> None:
    path = water_loop(tmp_path)
    rows = len(path.read_text(encoding="utf-8").splitlines()) - 1
    sent = published(path, mqtt_url, "loop-at-once", speed=0.0)
    assert sent.readings == 8 * rows
    assert until(lambda: len(stored(system_database, "loop-at-once")) >= sent.readings)
    found = stored(system_database, "loop-at-once")
    assert (len(found), found.hexdigest()) == (sent.readings, sent.checksum)


def test_every_value_of_a_replayed_file_arrives_at_a_listening_client(
    platform: str, system_database: SystemDatabase, mqtt_url: str, tmp_path: Path
) -> None:
    path = water_loop(tmp_path)
    with listening(platform, "loop-live") as heard:
        sent = published(path, mqtt_url, "loop-live", speed=SPEED)
        # All but the last broadcast of a quarter of a second came while it was published.
        assert len(heard.values) > sent.readings * 0.8
        assert until(lambda: len(heard.values) >= sent.readings)
    assert (len(heard.values), heard.checksum()) == (sent.readings, sent.checksum)
    assert stored(system_database, "loop-live").hexdigest() == sent.checksum
