"""Publishers and the idle subscriber of the benchmarks, as processes that take little from the rest.

`python -m benchmarks.flood '{"mode": ...}'`: says READY on its output, waits for a line, does its work, and
prints what it measured as JSON.
"""

import json
import random
import select
import socket
import sys
import time
from typing import Any

from benchmarks.payloads import DEVICES, METRICS, TOPIC, Load, device_id, record
from tools.chaos.wire import (
    PUBACK,
    PUBLISH,
    SUBACK,
    Packets,
    open_connection,
    puback_packet,
    publish_packet,
    receive_maximum,
    subscribe_packet,
)

# Unacknowledged messages of a publisher: enough to keep the broker busy, too few to make it drop any.
_WINDOW = 2000
_BURST = 100
_PUBACK_BYTES = 4


def flood(url: str, load: Load) -> dict[str, float]:
    """Publish everything as fast as the broker acknowledges it."""
    packets = load.packets()
    connection, connack = open_connection(url, "bench-publisher", is_clean=True)
    window = min(_WINDOW, receive_maximum(connack))
    _wait_for_go()
    started = time.time()
    sent = received = 0
    total = len(packets)
    with connection:
        while received < total * _PUBACK_BYTES:
            room = window - (sent - received // _PUBACK_BYTES)
            if sent < total and room >= _BURST:
                connection.sendall(b"".join(packets[sent : sent + _BURST]))
                sent = min(total, sent + _BURST)
                if not select.select([connection], [], [], 0)[0]:
                    continue
            received += len(_received(connection))
    return {"started": started, "ended": time.time()}


def pace(url: str, rate: float, seconds: float, probe: int, devices: int = DEVICES) -> dict[str, Any]:
    """Publish ten readings a message at a steady rate; the time of each message is when it was sent.

    About every tenth message is the probe device's; its times are returned, in microseconds since 1970.
    """
    connection, _ = open_connection(url, "bench-pacer", is_clean=True)
    _wait_for_go()
    sent_us: list[int] = []
    dice = random.Random(1)
    started = time.monotonic()
    count = 0
    with connection:
        while (elapsed := time.monotonic() - started) < seconds:
            burst = []
            while count < elapsed * rate:
                # By chance: at even distances the probe's messages would keep step with the batches.
                number = probe if dice.random() < 0.1 else count % devices
                now_us = time.time_ns() // 1000
                if number == probe:
                    sent_us.append(now_us)
                payload = record(now_us / 1000, count, metrics=METRICS).encode()
                burst.append(publish_packet(TOPIC.format(device_id(number)), payload, count % 65_000 + 1))
                count += 1
            if burst:
                connection.sendall(b"".join(burst))
            if select.select([connection], [], [], 0.0005)[0]:
                _received(connection)
    return {"sent_us": sent_us, "messages": count, "seconds": time.monotonic() - started}


def count_messages(url: str, topic: str, total: int) -> dict[str, float]:
    """Subscribe at QoS 1 and do nothing but acknowledge: the broker's own limit."""
    connection, _ = open_connection(url, "bench-idle", is_clean=True)
    connection.sendall(subscribe_packet(topic, qos=1))
    packets = Packets()
    count = 0
    is_subscribed = False
    with connection:
        while count < total:
            answers = []
            for kind, body in packets.feed(_received(connection)):
                if kind == SUBACK and not is_subscribed:
                    is_subscribed = True
                    _wait_for_go()
                elif kind == PUBLISH:
                    count += 1
                    position = 2 + int.from_bytes(body[:2], "big")
                    answers.append(puback_packet(int.from_bytes(body[position : position + 2], "big")))
                elif kind == PUBACK:
                    raise ValueError("nothing was published here")
            if answers:
                connection.sendall(b"".join(answers))
    return {"ended": time.time()}


def _received(connection: socket.socket) -> bytes:
    received = connection.recv(262_144)
    if not received:
        raise ConnectionError("the broker closed the connection")
    return received


def _wait_for_go() -> None:
    print("READY", flush=True)
    sys.stdin.readline()


def main() -> int:
    """Do what the one argument says and print the result."""
    given = json.loads(sys.argv[1])
    mode = given.pop("mode")
    result: dict[str, Any]
    if mode == "flood":
        result = flood(given.pop("url"), Load(**given))
    elif mode == "pace":
        result = pace(**given)
    else:
        result = count_messages(**given)
    print(json.dumps(result), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
