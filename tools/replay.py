"""Publishes a CSV file of real sensor data over MQTT, row by row, at any speed.

`./run replay FILE --preset skab` replays a file of the Skoltech water loop, `--map` maps other files.
"""

import argparse
import hashlib
import os
import secrets
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from tqdm import tqdm

from tools.plant.broker import WINDOW_MESSAGES, Broker, BrokerUnreachable, broker_of, connected
from tools.plant.reports import encoded
from tools.recording import Channel, Recording, RecordingRefused, Row, open_recording
from tools.services.child import ServiceError

_STALLED_S = 60.0

SKAB = (
    Channel("Accelerometer1RMS", "accelerometer_1_rms", "g"),
    Channel("Accelerometer2RMS", "accelerometer_2_rms", "g"),
    Channel("Current", "current", "A"),
    Channel("Pressure", "pressure", "bar"),
    Channel("Temperature", "temperature", "°C"),
    Channel("Thermocouple", "thermocouple", "°C"),
    Channel("Voltage", "voltage", "V"),
    Channel("Volume Flow RateRMS", "volume_flow_rate_rms", "L/min"),
)
# Labels of the data set, not measurements.
SKAB_LABELS = ("anomaly", "changepoint")


class ReplayStalled(Exception):
    """The broker has stopped acknowledging."""


class Checksum:
    """SHA-256 over the readings, one line `metric ts_ms repr(value)` each, by time and then by metric.

    Whoever reads the same readings from the database in that order gets the same digest.
    """

    def __init__(self) -> None:
        """Start empty."""
        self._lines: list[tuple[int, str, float]] = []

    def add(self, row: Row) -> None:
        """Count the readings of a row."""
        self._lines += [(row.ts_ms, metric, value) for metric, value in row.values.items()]

    def __len__(self) -> int:
        return len(self._lines)

    def hexdigest(self) -> str:
        """Return the digest of all readings so far."""
        digest = hashlib.sha256()
        for ts_ms, metric, value in sorted(self._lines):
            digest.update(f"{metric} {ts_ms} {value!r}\n".encode())
        return digest.hexdigest()


@dataclass(slots=True)
class Replayed:
    """What a replay published.

    Attributes:
        rows: Messages that the broker has acknowledged.
        readings: Readings in them.
        checksum: Digest of these readings, see `Checksum`.
        first_ms: Time of the first reading as published, milliseconds since 1970.
        last_ms: Time of the last one.
        refused: Rows that the broker refused, with the reason of the last.
    """

    rows: int = 0
    readings: int = 0
    checksum: str = ""
    first_ms: int = 0
    last_ms: int = 0
    refused: dict[str, int] = field(default_factory=dict)


def shift_ms(rows: Sequence[int], *, now_ms: int, speed: float) -> int:
    """Return by how much recorded times move so that the last row is published at its own time.

    Args:
        rows: Recorded times of the first and the last row, milliseconds since 1970.
        now_ms: The time at which the first row is published.
        speed: Recorded seconds per second; 0: as fast as the broker takes it.
    """
    first, last = rows
    takes_ms = round((last - first) / speed) if speed else 0
    return now_ms + takes_ms - last


class Replay:
    """Publishes one recording as one device."""

    def __init__(self, client: mqtt.Client, topic: str, recording: Recording) -> None:
        """Publish through a connected client whose loop nobody else runs."""
        self._client = client
        self._topic = topic
        self._recording = recording
        self._units = {channel.metric: channel.unit for channel in recording.channels if channel.unit}
        self._waiting: dict[int, Row] = {}
        self._result = Replayed()
        self._checksum = Checksum()
        client.on_publish = self._acknowledged

    def run(self, *, speed: float, moved_by_ms: int, total: int, is_quiet: bool = False) -> Replayed:
        """Publish every row and wait until the broker has acknowledged all of them.

        Args:
            speed: Recorded seconds per second; 0: as fast as the broker takes it.
            moved_by_ms: What is added to every recorded time.
            total: Number of rows, for the progress bar.
            is_quiet: Show no progress bar.

        Raises:
            ReplayStalled: The broker has not acknowledged anything for a minute.
        """
        began_s = time.monotonic()
        recorded_from: int | None = None
        bar = tqdm(total=total, unit=" rows", file=sys.stderr, disable=True if is_quiet else None)
        with bar:
            for row in self._recording.rows():
                if recorded_from is None:
                    recorded_from = row.ts_ms
                if speed:
                    self._drive_until(began_s + (row.ts_ms - recorded_from) / 1000 / speed)
                self._publish(Row(row.ts_ms + moved_by_ms, row.values))
                self._drive_until_fewer_than(WINDOW_MESSAGES)
                bar.update()
            self._drive_until_fewer_than(1)
        self._result.readings = len(self._checksum)
        self._result.checksum = self._checksum.hexdigest()
        return self._result

    def _publish(self, row: Row) -> None:
        payload: dict[str, Any] = {"ts": row.ts_ms, "values": dict(row.values)}
        units = {metric: unit for metric, unit in self._units.items() if metric in row.values}
        if units:
            payload["unit"] = units
        if not self._result.first_ms:
            self._result.first_ms = row.ts_ms
        self._result.last_ms = row.ts_ms
        self._waiting[self._client.publish(self._topic, encoded(payload), qos=1).mid] = row

    def _acknowledged(
        self,
        _client: mqtt.Client,
        _userdata: object,
        mid: int,
        code: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        row = self._waiting.pop(mid)
        if code.is_failure:
            self._result.refused[str(code)] = self._result.refused.get(str(code), 0) + 1
            return
        self._result.rows += 1
        self._checksum.add(row)

    def _drive_until(self, due_s: float) -> None:
        while (left_s := due_s - time.monotonic()) > 0:
            self._turn(min(left_s, 0.5))

    def _drive_until_fewer_than(self, limit: int) -> None:
        before, deadline = len(self._waiting), time.monotonic() + _STALLED_S
        while len(self._waiting) >= limit:
            self._turn(0.2)
            if len(self._waiting) < before:
                before, deadline = len(self._waiting), time.monotonic() + _STALLED_S
            elif time.monotonic() > deadline:
                raise ReplayStalled(f"the broker has not acknowledged anything for {_STALLED_S:.0f} s")

    def _turn(self, timeout_s: float) -> None:
        """Run the client's loop once; open a lost connection again, paho then repeats what is unanswered."""
        if self._client.loop(timeout_s) != mqtt.MQTT_ERR_SUCCESS:
            time.sleep(min(timeout_s, 0.2))
            try:
                self._client.reconnect()
            except OSError:
                time.sleep(0.5)


def replay(
    recording: Recording,
    broker: Broker,
    *,
    topic: str,
    speed: float,
    keep_time: bool = False,
    is_quiet: bool = False,
) -> Replayed:
    """Publish a recording and return what was acknowledged.

    Args:
        recording: What to publish; its `skipped` tells afterwards what was left out.
        broker: Where to.
        topic: The telemetry topic of the device.
        speed: Recorded seconds per second; 0: as fast as the broker takes it.
        keep_time: Publish the recorded times as they are, instead of moving them to now.
        is_quiet: Show no progress bar.

    Raises:
        BrokerUnreachable: The broker is away or refuses us.
        RecordingRefused: The file holds no row that can be published.
        ReplayStalled: The broker stopped acknowledging.
    """
    first = last = None
    total = 0
    for row in recording.rows():
        first = row.ts_ms if first is None else min(first, row.ts_ms)
        last = row.ts_ms if last is None else max(last, row.ts_ms)
        total += 1
    if first is None or last is None:
        raise RecordingRefused(f"{recording.path} holds no row with a time and a number")
    _, client = connected(broker, f"replay-{secrets.token_hex(6)}")
    moved_by_ms = 0
    if not keep_time:
        moved_by_ms = shift_ms((first, last), now_ms=int(time.time() * 1000), speed=speed)
    try:
        return Replay(client, topic, recording).run(
            speed=speed, moved_by_ms=moved_by_ms, total=total, is_quiet=is_quiet
        )
    finally:
        client.disconnect()
        client.loop(0.1)


def _channel(text: str) -> Channel:
    """Read `column=metric:unit`, the unit may be left out."""
    column, equals, rest = text.rpartition("=")
    metric, _, unit = rest.partition(":")
    if not equals or not column or not metric:
        raise argparse.ArgumentTypeError(f"expected column=metric:unit, not {text!r}")
    return Channel(column, metric, unit)


def _speed(text: str) -> float:
    speed = float(text)
    if not 0 <= speed < float("inf"):
        raise argparse.ArgumentTypeError("the speed must be 0 or a positive number")
    return speed


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="replay", description="Publish a CSV file of sensor data over MQTT."
    )
    parser.add_argument("file", type=Path)
    parser.add_argument(
        "--device", default="replay-1", help="device_id (default: %(default)s; skab-1 with skab)"
    )
    parser.add_argument("--tenant", help="tenant (default: IIOT_TENANT, else default)")
    parser.add_argument(
        "--map",
        dest="channels",
        type=_channel,
        action="extend",
        nargs="+",
        default=[],
        metavar="COLUMN=METRIC:UNIT",
        help="the columns to publish (default: all but the time)",
    )
    parser.add_argument("--preset", choices=["skab"], help="columns and units of a public data set")
    parser.add_argument(
        "--speed",
        type=_speed,
        default=60.0,
        help="recorded seconds per second; 0: as fast as the broker takes it (default: 60)",
    )
    parser.add_argument(
        "--keep-time",
        action="store_true",
        help="keep recorded times; data older than the lateness window goes to dead letters",
    )
    parser.add_argument("--time-column", help="column of the time (default: found by its name)")
    parser.add_argument("--delimiter", default="auto", help="what separates columns (default: %(default)s)")
    return parser  # fmt: skip


def main(argv: Sequence[str], environ: Mapping[str, str] = os.environ) -> int:
    """Run `replay` and return its exit code: 0 all published, 1 not all, 2 wrong arguments."""
    parser = _parser()
    try:
        given = parser.parse_args(argv)
    except SystemExit as wrong:
        return wrong.code if isinstance(wrong.code, int) else 2
    is_skab = given.preset == "skab"
    device = "skab-1" if is_skab and given.device == parser.get_default("device") else given.device
    tenant = given.tenant or environ.get("IIOT_TENANT") or "default"
    root = environ.get("IIOT_MQTT_TOPIC_ROOT") or "iiot/v1"
    try:
        recording = open_recording(
            given.file,
            delimiter=given.delimiter,
            time_column=given.time_column,
            channels=given.channels or (SKAB if is_skab else ()),
            left_out=SKAB_LABELS,
        )
        result = replay(
            recording,
            broker_of(environ),
            topic=f"{root}/{tenant}/{device}/telemetry",
            speed=given.speed,
            keep_time=given.keep_time,
        )
    except (BrokerUnreachable, RecordingRefused, ReplayStalled, ServiceError) as problem:
        print(problem, file=sys.stderr)
        return 1
    _print_result(result, recording, device)
    return 1 if result.refused else 0


def _print_result(result: Replayed, recording: Recording, device: str) -> None:
    print(f"device    {device}")
    print(f"rows      {result.rows}")
    print(f"readings  {result.readings}")
    print(f"from_ms   {result.first_ms}")
    print(f"to_ms     {result.last_ms}")
    print(f"sha256    {result.checksum}")
    skipped = recording.skipped.described()
    if skipped:
        print(f"skipped   {skipped}")
    for reason, rows in result.refused.items():
        print(f"refused   {rows} rows: {reason}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
