"""Reading recordings, and what replaying them promises."""

from __future__ import annotations

import hashlib
import json
import os
import random
from pathlib import Path

import pytest

from domain.unit import canonical, dimension
from tools.recording import Channel, RecordingRefused, Row, metric_name, open_recording, time_ms
from tools.replay import SKAB, SKAB_LABELS, Checksum, main, shift_ms

HEADER = (
    "datetime;Accelerometer1RMS;Accelerometer2RMS;Current;Pressure;Temperature;Thermocouple;Voltage;"
    "Volume Flow RateRMS;anomaly;changepoint"
)


def water_loop(folder: Path, rows: int = 300) -> Path:
    """A real file of the water loop where there is one, else one of the same shape."""
    benchmarks = os.environ.get("IIOT_BENCHMARK_DATA")
    if benchmarks:
        return Path(benchmarks) / "skab" / "valve1" / "0.csv"
    numbers = random.Random(7)
    path = folder / "loop.csv"
    lines = [
        f"2020-03-09 10:{14 + second // 60:02d}:{second % 60:02d};"
        + ";".join(f"{numbers.uniform(0.0, 250.0):.6g}" for _ in range(8))
        + ";0.0;0.0"
        for second in range(rows)
    ]
    path.write_text("\n".join([HEADER, *lines]) + "\n", encoding="utf-8")
    return path


def csv_file(folder: Path, text: str) -> Path:
    path = folder / "data.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_water_loop_file_is_read_row_for_row(tmp_path: Path) -> None:
    path = water_loop(tmp_path)
    recording = open_recording(path, channels=SKAB)
    rows = list(recording.rows())
    assert len(rows) == len(path.read_text(encoding="utf-8").splitlines()) - 1
    assert recording.skipped.described() == ""
    assert all(len(row.values) == 8 for row in rows)
    assert rows[0].ts_ms == time_ms("2020-03-09T10:14:33Z" if "skab" in str(path) else "2020-03-09T10:14:00Z")


def test_the_preset_names_units_and_leaves_the_labels_out() -> None:
    assert len(SKAB) == 8
    for channel in SKAB:
        assert canonical(channel.unit) == channel.unit
        assert dimension(channel.unit) is not None
        assert channel.metric == metric_name(channel.metric)
        assert channel.column not in SKAB_LABELS


def test_what_cannot_be_published_is_counted(tmp_path: Path) -> None:
    path = csv_file(
        tmp_path,
        "time,a,b\n"
        "2026-01-01T00:00:00Z,1.5,2\n"
        "2026-01-01T00:00:01Z,,x\n"
        "2026-01-01T00:00:02Z,NaN,3\n"
        "2026-01-01T00:00:02Z,4,4\n"
        "yesterday,1,1\n"
        "2026-01-01T00:00:03Z,,5\n",
    )
    recording = open_recording(path)
    rows = list(recording.rows())
    assert [dict(row.values) for row in rows] == [{"a": 1.5, "b": 2.0}, {"b": 3.0}, {"b": 5.0}]
    assert recording.skipped.empty_cells == 2
    assert recording.skipped.bad_cells == 2
    assert recording.skipped.empty_rows == 1
    assert recording.skipped.repeated_times == 1
    assert recording.skipped.bad_times == 1
    list(recording.rows())
    assert recording.skipped.bad_times == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01 00:00:01", 1000),
        ("1970-01-01T00:00:01.250Z", 1250),
        ("1970-01-01T02:00:01+02:00", 1000),
        ("1700000000", 1_700_000_000_000),
        ("1700000000.5", 1_700_000_000_500),
        ("1700000000123", 1_700_000_000_123),
    ],
)
def test_times_are_read_in_their_usual_spellings(text: str, expected: int) -> None:
    assert time_ms(text) == expected


@pytest.mark.parametrize("text", ["", "now", "nan", "inf", "2026-13-01"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        time_ms(text)


@pytest.mark.parametrize(
    ("column", "metric"),
    [
        ("Volume Flow RateRMS", "volume_flow_rate_rms"),
        ("Accelerometer1RMS", "accelerometer1_rms"),
        ("Air temperature [K]", "air_temperature_k"),
        ("already_snake", "already_snake"),
        ("°", "value"),
    ],
)
def test_columns_become_snake_case(column: str, metric: str) -> None:
    assert metric_name(column) == metric


def test_the_delimiter_and_the_time_column_are_found(tmp_path: Path) -> None:
    recording = open_recording(csv_file(tmp_path, "Timestamp\tx\n0\t1\n"))
    assert (recording.delimiter, recording.time_column) == ("\t", "Timestamp")
    assert recording.channels == (Channel("x", "x"),)


@pytest.mark.parametrize(
    ("text", "channels", "complaint"),
    [
        ("a,b\n1,2\n", (), "no column for the time"),
        ("time,a\n0,1\n", (Channel("b", "b"),), "no column b"),
        ("time,A b,a_b\n0,1,1\n", (), "distinct"),
        ("", (), "no column for the time"),
    ],
)
def test_a_file_that_cannot_be_replayed_is_refused(
    tmp_path: Path, text: str, channels: tuple[Channel, ...], complaint: str
) -> None:
    with pytest.raises(RecordingRefused, match=complaint):
        open_recording(csv_file(tmp_path, text), channels=channels)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingRefused, match="cannot be read"):
        open_recording(tmp_path / "nothing.csv")


@pytest.mark.parametrize(("speed", "first"), [(1.0, 500_000), (60.0, 500_000 - 59_000), (0.0, 440_000)])
def test_the_last_row_is_published_at_its_own_time(speed: float, first: int) -> None:
    """A minute of data, published from 500 s on: nothing lies in the future when it is sent."""
    moved_ms = shift_ms((10_000, 70_000), now_ms=500_000, speed=speed)
    assert 10_000 + moved_ms == first
    takes_ms = 60_000 / speed if speed else 0
    assert 70_000 + moved_ms == 500_000 + takes_ms


def test_the_checksum_is_that_of_the_readings_by_time_and_metric() -> None:
    one, other = Checksum(), Checksum()
    rows = [Row(2000, {"b": 0.1, "a": 1e-7}), Row(1000, {"a": 32.0})]
    for row in rows:
        one.add(row)
    for row in reversed(rows):
        other.add(row)
    expected = hashlib.sha256(b"a 1000 32.0\na 2000 1e-07\nb 2000 0.1\n").hexdigest()
    assert one.hexdigest() == other.hexdigest() == expected
    assert len(one) == 3


def test_values_survive_json_to_the_last_bit(tmp_path: Path) -> None:
    recording = open_recording(water_loop(tmp_path), channels=SKAB)
    for row in recording.rows():
        assert json.loads(json.dumps(dict(row.values))) == row.values


@pytest.mark.parametrize(
    "arguments",
    [[], ["x.csv", "--speed", "-1"], ["x.csv", "--speed", "nan"], ["x.csv", "--map", "nonsense"]],
)
def test_wrong_arguments_end_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments, {}) == 2
    assert "usage" in capsys.readouterr().err


def test_a_broker_that_is_away_ends_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(water_loop(tmp_path, 3))
    assert main([path, "--preset", "skab"], {"MQTT_URL": "mqtt://nobody:nobody@127.0.0.1:9"}) == 1
    assert "no broker" in capsys.readouterr().err
    assert main([path, "--preset", "skab"], {}) == 1
    assert "MQTT_URL" in capsys.readouterr().err
