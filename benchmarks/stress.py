"""`./run bench stress`: a plant of 500 devices that sends 5,000 readings a minute, seen by its users.

The figures that the platform was announced with stand beside the measured ones.
"""

import json
import os
import time
import urllib.request
from typing import Any

from benchmarks.figures import spread_ms
from benchmarks.ingest import describe_machine, listeners, tell
from benchmarks.payloads import device_id
from benchmarks.platform_run import Platform, running_platform
from benchmarks.worker import Worker

DEVICES = 500
READINGS_A_MESSAGE = 10
RATE = 5000 / 60 / READINGS_A_MESSAGE
ANNOUNCED = {"api_ms": 45, "websocket_ms": 10}
_PATHS = (
    f"/api/v1/telemetry?device_id={device_id(0)}&metric=m0&limit=100",
    f"/api/v1/devices/{device_id(0)}/latest",
    "/api/v1/devices?limit=100",
)
_ASK_EVERY_S = 0.05


def run(*, is_quick: bool) -> dict[str, Any]:
    """Send for a minute (ten seconds when quick) while a user asks and another listens."""
    seconds = 10.0 if is_quick else 60.0
    with running_platform() as platform:
        introduce(platform)
        token = platform.token()
        with listeners(platform, 1) as listener, pacer(RATE, seconds) as publisher:
            listener.go()
            publisher.go()
            api = {path: spread_ms(times) for path, times in ask(platform, token, seconds).items()}
            sent = publisher.result()
            time.sleep(1.0)
            heard = listener.finish()
        stored = platform.stored()
        resident_mb = round(platform.resident_mb(), 1)
    figures = {
        "machine": describe_machine(),
        "devices": DEVICES,
        "readings_a_minute": round(sent["messages"] * READINGS_A_MESSAGE / sent["seconds"] * 60),
        "stored": stored,
        "api": api,
        "publish_to_socket": heard,
        "resident_mb": resident_mb,
        "announced": ANNOUNCED,
    }
    for path, times in api.items():
        tell(f"  {path.partition('?')[0]}: {times} (announced {ANNOUNCED['api_ms']} ms)")
    tell(f"  publish to socket: {heard} (announced {ANNOUNCED['websocket_ms']} ms)")
    return figures


def introduce(platform: Platform) -> None:
    """Have every device send once."""
    with pacer(500.0, DEVICES / 500.0 + 0.5) as publisher:
        publisher.go()
        sent = publisher.result()["messages"]
    deadline = time.monotonic() + 30.0
    while platform.stored() < sent * READINGS_A_MESSAGE:
        if time.monotonic() > deadline:
            raise TimeoutError("the devices' first messages were not stored in time")
        time.sleep(0.1)
    platform.empty_tables()


def pacer(rate: float, seconds: float) -> Worker:
    """Return a publisher, ready to go, that spreads its messages over all devices."""
    url = os.environ["MQTT_URL"]
    return Worker(
        "benchmarks.flood", mode="pace", url=url, rate=rate, seconds=seconds, probe=0, devices=DEVICES
    )


def ask(platform: Platform, token: str, seconds: float) -> dict[str, list[float]]:
    """Ask each route in turn, as a person's browser would; return the seconds of every answer."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    times: dict[str, list[float]] = {path: [] for path in _PATHS}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for path in _PATHS:
            request = urllib.request.Request(  # noqa: S310 - the platform's own address
                platform.base_url + path, headers={"Authorization": f"Bearer {token}"}
            )
            asked = time.monotonic()
            with opener.open(request, timeout=30) as answer:
                json.loads(answer.read())
            times[path].append(time.monotonic() - asked)
            time.sleep(_ASK_EVERY_S)
    return times
