"""The whole platform in a process of its own, as `./run serve` starts it, on the services of the tests."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.polling import until
from tools.services import ports

PROJECT = Path(__file__).resolve().parents[1]
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True, slots=True)
class Server:
    """A running platform."""

    url: str
    log: Path
    process: subprocess.Popen[bytes]

    def log_text(self) -> str:
        """Everything it has logged."""
        return self.log.read_text(encoding="utf-8", errors="replace")


@contextmanager
def running_server(
    owner_url: str, redis_url: str, mqtt_url: str, *, secret_key: str, **variables: str
) -> Iterator[Server]:
    """Start the platform on a migrated database, wait until it is ready, and stop it in the end."""
    port = ports.choose()
    name = secrets.token_hex(4)
    environment = {
        **os.environ,
        "DATABASE_URL": owner_url,
        "REDIS_URL": redis_url,
        "MQTT_URL": mqtt_url,
        "IIOT_SECRET_KEY": secret_key,
        "IIOT_PORT": str(port),
        # The broker is shared with other tests.
        "IIOT_MQTT_TOPIC_ROOT": f"tests/{name}",
        "IIOT_MQTT_CLIENT_ID": f"tests-{name}",
        **variables,
    }
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "platform.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, str(PROJECT / "app_advanced.py"), "serve"],
                cwd=PROJECT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        server = Server(f"http://{ports.LOOPBACK}:{port}", log, process)
        try:
            until(
                lambda: process.poll() is not None or _is_ready(server.url),
                what="the platform is ready",
                timeout_s=START_TIMEOUT_S,
            )
            assert process.poll() is None, server.log_text()[-3000:]
            yield server
        finally:
            process.terminate()
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _is_ready(url: str) -> bool:
    try:
        with _direct.open(f"{url}/health/ready", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
