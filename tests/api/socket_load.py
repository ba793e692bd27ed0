"""A server for load: 20 devices of 10 readings a second, whose values say when they were published.

gunicorn serves `application()`, as in production.
"""

from __future__ import annotations

import threading
import time

from flask import Flask

from domain.reading import Quality, StoredReadings
from tests.api.sockets import PLANT_A, Plant, load

DEVICES = 20
READINGS_PER_S = 10


def application() -> Flask:
    """Start the sockets and the publisher."""
    running = Plant(load())
    running.realtime.start()
    threading.Thread(target=_publish, args=(running,), daemon=True).start()
    return running.app


def _publish(running: Plant) -> None:
    step_s = 1 / (DEVICES * READINGS_PER_S)
    next_at = time.monotonic()
    number = 0
    while True:
        next_at += step_s
        time.sleep(max(0.0, next_at - time.monotonic()))
        device_id = f"D-{number % DEVICES}"
        # As from a batch: one reading in one go, measured against the clock that the clients share.
        reading = ("published", int(time.time() * 1_000_000), time.time(), int(Quality.GOOD))
        if running.realtime.is_listening(PLANT_A, device_id):
            running.realtime.publish([StoredReadings(PLANT_A, device_id, [reading])])
        number += 1
