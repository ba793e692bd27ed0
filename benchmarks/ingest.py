"""`./run bench ingest`: how fast readings are stored, how soon, and what that costs."""

import platform as machine
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks import latency, throughput
from benchmarks.payloads import device_id
from benchmarks.platform_run import Platform, running_platform
from benchmarks.worker import Worker

RATE = 1000.0
CONNECTIONS = 16
SOCKETS = 100
_ROUTE = f"/api/v1/telemetry?device_id={device_id(0)}&metric=m0&limit=100"


@dataclass(frozen=True, slots=True)
class Options:
    """How much is measured."""

    is_quick: bool = False
    repeats: int = 3
    only: str | None = None
    readings: int | None = None


def run(options: Options) -> dict[str, Any]:
    """Measure everything; return the figures."""
    figures: dict[str, Any] = {"machine": describe_machine()}
    shrink = 10 if options.is_quick else 1
    repeats = 1 if options.is_quick else options.repeats
    with running_platform() as platform:
        figures["startup_s"] = round(platform.startup_s, 2)
        figures["resident_idle_mb"] = round(platform.resident_mb(), 1)
        figures["throughput"] = []
        for readings_each, messages in throughput.FULL.items():
            if options.readings not in (None, readings_each) or options.only == "latency":
                continue
            tell(f"{readings_each} readings a message")
            row = throughput.measure(platform, readings_each, messages // shrink, repeats)
            row["resident_mb"] = round(platform.resident_mb(), 1)
            figures["throughput"].append(row)
            tell(
                f"  {row['end_to_end_per_s']:,}/s end to end, COPY {row['copy_per_s']:,}/s,"
                f" ratio {row['ratio']} (goal {row['ratio_goal']}, floor {row['ratio_floor']});"
                f" {row['messages_per_s']:,} messages/s, broker alone {row['broker_messages_per_s']:,};"
                f" {row['processor_us_a_reading']} us of processor a reading; {row['resident_mb']} MB"
            )
        if options.only == "throughput":
            return figures
        # Registers the devices, where that was not done above.
        throughput.publish_and_wait(platform, throughput.warm_up())
        seconds = 20.0 / shrink
        tell("1,000 messages/s of 10 readings")
        with listeners(platform, 1) as listener:
            listener.go()
            figures["latency"] = latency.measure(platform, rate=RATE, seconds=seconds)
            figures["latency"]["publish_to_socket"] = listener.finish()
        tell(f"  {figures['latency']}")
        figures["under_load"] = measure_under_load(platform, seconds)
        figures["resident_mb"] = round(platform.resident_mb(), 1)
    return figures


def measure_under_load(platform: Platform, seconds: float) -> dict[str, Any]:
    """Measure requests alone, then requests, telemetry as before and a hundred sockets at once."""
    with http_clients(platform) as clients:
        clients.go()
        tell("HTTP alone, 16 connections on 100 rows")
        time.sleep(min(seconds, 10.0))
        alone = clients.finish()
    tell(f"  {alone}")
    tell("the same with 1,000 messages/s of 10 readings and 100 sockets")
    with listeners(platform, SOCKETS) as listener, http_clients(platform) as clients:
        listener.go()
        clients.go()
        both = latency.measure(platform, rate=RATE, seconds=seconds)
        both["http"] = clients.finish()
        both["publish_to_socket"] = listener.finish()
    tell(f"  {both}")
    return {"http_alone": alone, **both}


def http_clients(platform: Platform) -> Worker:
    """Return clients that ask for 100 rows of history, ready to go."""
    parts = urlsplit(platform.base_url)
    return Worker(
        "benchmarks.requests",
        host=parts.hostname,
        port=parts.port,
        path=_ROUTE,
        token=platform.token(),
        connections=CONNECTIONS,
    )


def listeners(platform: Platform, count: int) -> Worker:
    """Return sockets that listen to one device each, ready to go."""
    parts = urlsplit(platform.base_url)
    return Worker(
        "benchmarks.sockets", host=parts.hostname, port=parts.port, token=platform.token(), count=count
    )


def describe_machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    ]
    memory_kb = int(Path("/proc/meminfo").read_text(encoding="ascii").split()[1])
    return {
        "processors": len(models),
        "model": models[0] if models else machine.machine(),
        "memory_gb": round(memory_kb / 1e6, 1),
        "system": machine.platform(),
        "python": machine.python_version(),
    }


def tell(text: str) -> None:
    """Show progress."""
    print(text, file=sys.stderr, flush=True)
