"""The platform as it is shipped, running for a measurement, and the database behind it."""

import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Connection

from benchmarks.payloads import Load
from settings import load_settings
from tools.bootstrap import PROJECT
from tools.chaos.victim import processor_s, resident_mb
from tools.services.child import Child
from tools.services.welcome import is_ready

APP = str(PROJECT / "app_advanced.py")
COLUMNS = "observed_at, value, received_at, ingest_seq, metric_id, tenant_id, quality"
_READY_WITHIN_S = 60.0
_COMMITTED_WITHIN_S = 300.0
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))

_LAST_IS_STORED = """
SELECT 1 FROM latest_values l JOIN metrics m ON m.metric_id = l.metric_id
JOIN devices d ON d.device_key = m.device_key
WHERE d.device_id = %s AND m.name = 'm0' AND l.observed_at >= to_timestamp(%s / 1000.0)
"""


@dataclass(slots=True)
class Platform:
    """A running platform.

    Attributes:
        startup_s: Time from its start until it was ready.
        owner: A connection that may empty tables, but sees no rows.
        system: A connection that sees all rows.
    """

    child: Child
    base_url: str
    startup_s: float
    owner: Connection
    system: Connection
    system_url: str

    def resident_mb(self) -> float:
        """Return the resident memory of its processes in MB."""
        return resident_mb(self.child.pid)

    def processor_s(self) -> float:
        """Return the processor time it has used in seconds."""
        return processor_s(self.child.pid)

    def token(self) -> str:
        """Sign the first administrator in; return the access token."""
        body = {"email": os.environ["IIOT_ADMIN_EMAIL"], "password": os.environ["IIOT_ADMIN_PASSWORD"]}
        return str(self.post("/api/v1/auth/login", body)["access_token"])

    def post(self, path: str, body: object) -> Any:
        """Post JSON and return the answer's."""
        request = urllib.request.Request(  # noqa: S310 - the platform's own address
            self.base_url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with _direct.open(request, timeout=30) as answer:
            return json.loads(answer.read())

    def empty_tables(self) -> None:
        """Delete all readings, so that each measurement begins with the same table."""
        with self.owner.cursor() as cursor:
            cursor.execute("TRUNCATE telemetry, latest_values")

    def wait_until_stored(self, load: Load) -> float:
        """Wait until the last message of a load is committed; return when that was.

        The broker keeps the order of a publisher's messages, so the others are committed then too.
        """
        deadline = time.time() + _COMMITTED_WITHIN_S
        with self.system.cursor() as cursor:
            while time.time() < deadline:
                cursor.execute(_LAST_IS_STORED, (load.last_device(), load.last_ms()))
                if cursor.fetchone():
                    return time.time()
                time.sleep(0.01)
        raise TimeoutError("the load was not stored in time")

    def stored(self) -> int:
        """Return the number of stored readings."""
        with self.system.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM telemetry")
            row = cursor.fetchone()
        return int(row[0]) if row else 0

    def psql(self, command: str) -> None:
        """Run one psql command as the role that the platform writes as."""
        subprocess.run(
            ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", command, self.system_url], check=True
        )


@contextlib.contextmanager
def running_platform() -> Iterator[Platform]:
    """Migrate, add the administrator, start `serve`, wait until it is ready; stop it at the end."""
    environment = dict(os.environ)
    log = Path(environment["VAR_DIR"]) / "log" / "platform.log"
    for command in (["migrate"], ["create-admin", "--if-none"]):
        subprocess.run(
            [sys.executable, APP, *command], check=True, stdout=subprocess.DEVNULL, env=environment
        )
    child = Child("platform", [sys.executable, APP, "serve"], PROJECT, environment, log)
    base_url = f"http://127.0.0.1:{environment['IIOT_PORT']}"
    system_url = load_settings(environment).system_database_url
    child.spawn()
    started = time.monotonic()
    try:
        while not is_ready(base_url):
            if not child.is_running or time.monotonic() - started > _READY_WITHIN_S:
                raise RuntimeError(f"the platform does not start:\n{child.log_tail()}")
            time.sleep(0.02)
        startup_s = time.monotonic() - started
        with (
            contextlib.closing(_connected(environment["DATABASE_URL"])) as owner,
            contextlib.closing(_connected(system_url)) as system,
        ):
            yield Platform(child, base_url, startup_s, owner, system, system_url)
    finally:
        child.stop(20.0)


def _connected(url: str) -> Connection:
    connection = psycopg2.connect(url)
    connection.autocommit = True
    return connection
