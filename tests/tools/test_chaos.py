"""The chaos run: its parts, and its short form against real services."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tools.chaos.message import TIMED_METRIC, UNTIMED_METRIC, Stream, timed_value
from tools.chaos.oracle import Row, judge
from tools.chaos.publisher import Sent
from tools.chaos.schedule import SHORT, Faults, schedule
from tools.chaos.wire import Packets, length_bytes, packet, publish_packet, receive_maximum

ROOT = Path(__file__).resolve().parents[2]
STREAM = Stream(["left", "right"], base_ms=1_000_000)
COUNT = 40


def sent(
    *,
    unacknowledged: list[int] | None = None,
    refused: list[int] | None = None,
    attempts: dict[int, int] | None = None,
) -> Sent:
    return Sent(COUNT, unacknowledged or [], refused or [], attempts or {})


def row_of(index: int) -> Row:
    if STREAM.is_untimed(index):
        return STREAM.device(index), UNTIMED_METRIC, 5_000_000 + index, float(index)
    return STREAM.device(index), TIMED_METRIC, STREAM.base_ms + index, timed_value(index)


def all_rows() -> list[Row]:
    return [row_of(index) for index in range(COUNT)]


def first(*, is_untimed: bool) -> int:
    return next(index for index in range(COUNT) if STREAM.is_untimed(index) == is_untimed)


def test_a_tenth_of_every_devices_messages_carries_no_time() -> None:
    many = Stream([f"device-{number}" for number in range(25)], base_ms=0)
    untimed = [many.device(index) for index in range(2500) if many.is_untimed(index)]
    assert len(untimed) == 250
    assert {untimed.count(device) for device in many.devices} == {10}


def test_a_payload_says_what_the_oracle_expects() -> None:
    timed = json.loads(STREAM.payload(3))
    assert timed == {"ts": 1_000_003, "values": {TIMED_METRIC: timed_value(3)}}
    untimed = first(is_untimed=True)
    assert json.loads(STREAM.payload(untimed)) == {UNTIMED_METRIC: untimed}


def test_everything_stored_as_sent_is_clean() -> None:
    verdict = judge([(STREAM, sent())], all_rows())
    assert verdict.is_clean
    assert verdict.stored == verdict.acknowledged == COUNT


@pytest.mark.parametrize("is_untimed", [True, False])
def test_an_acknowledged_message_that_is_not_stored_is_lost(is_untimed: bool) -> None:
    missing = first(is_untimed=is_untimed)
    verdict = judge([(STREAM, sent())], [row_of(index) for index in range(COUNT) if index != missing])
    assert verdict.lost == 1


def test_a_message_without_an_answer_may_be_stored_or_not() -> None:
    known = sent(unacknowledged=[7], refused=[9])
    rows = [row for index, row in enumerate(all_rows()) if index != 9]
    assert judge([(STREAM, known)], rows).is_clean
    assert judge([(STREAM, known)], rows[:7] + rows[8:]).is_clean


def test_a_second_row_of_an_untimed_message_is_a_duplicate() -> None:
    untimed = first(is_untimed=True)
    verdict = judge([(STREAM, sent())], [*all_rows(), row_of(untimed)])
    assert verdict.duplicates == 1


def test_an_untimed_message_that_was_sent_twice_may_be_stored_twice() -> None:
    untimed = first(is_untimed=True)
    known = sent(attempts={untimed: 2})
    assert judge([(STREAM, known)], [*all_rows(), row_of(untimed)]).is_clean
    assert judge([(STREAM, known)], [*all_rows(), row_of(untimed), row_of(untimed)]).duplicates == 1


@pytest.mark.parametrize(
    "row",
    [
        ("nobody", TIMED_METRIC, 1_000_000, timed_value(0)),
        ("left", "other", 1_000_000, timed_value(0)),
        ("left", TIMED_METRIC, 1_000_000, 1.5),
        ("right", TIMED_METRIC, 1_000_000, timed_value(0)),
        ("left", TIMED_METRIC, 1_000_000 + COUNT, timed_value(COUNT)),
        ("left", UNTIMED_METRIC, 5_000_000, 0.0),
    ],
    ids=["device", "metric", "value", "foreign device", "never sent", "was timed"],
)
def test_a_row_that_nobody_sent_is_forged(row: Row) -> None:
    assert judge([(STREAM, sent())], [*all_rows(), row]).forged == 1


@pytest.mark.parametrize("faults", [Faults(), SHORT])
@pytest.mark.parametrize("seed", range(20))
def test_a_schedule_holds_what_was_asked_for_within_the_time(seed: int, faults: Faults) -> None:
    events = schedule(seed, faults)
    kinds = [event.kind for event in events]
    assert kinds.count("kill platform") == faults.kills
    assert kinds.count("restart broker") == faults.broker_restarts
    assert kinds.count("kill broker") == 0
    assert all(0 < event.at_s < faults.seconds for event in events)
    database = [event for event in events if "PostgreSQL" in event.kind]
    assert [event.kind for event in database] == [
        "stop PostgreSQL",
        "start PostgreSQL",
        "stop PostgreSQL at once",
        "start PostgreSQL",
    ]
    assert database[1].at_s - database[0].at_s == pytest.approx(faults.database_stop_s)


def test_the_same_seed_gives_the_same_schedule() -> None:
    assert schedule(7, SHORT) == schedule(7, SHORT) != schedule(8, SHORT)


def test_a_stop_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="too short"):
        schedule(1, Faults(seconds=30))


def test_packets_are_found_wherever_the_stream_is_cut() -> None:
    written = publish_packet("a/b", b"x" * 200, 5) + packet(0x40, b"\x00\x05")
    packets = Packets()
    found = [piece for byte in written for piece in packets.feed(bytes((byte,)))]
    assert [kind for kind, _ in found] == [3, 4]
    assert found[0][1].endswith(b"x" * 200)


@pytest.mark.parametrize(("length", "encoded"), [(0, "00"), (127, "7f"), (128, "8001"), (16_384, "808001")])
def test_lengths_are_written_as_mqtt_wants(length: int, encoded: str) -> None:
    assert length_bytes(length).hex() == encoded


def test_the_brokers_receive_maximum_is_found_among_other_properties() -> None:
    assert receive_maximum(bytes.fromhex("0000" + "06" + "22000a" + "210014")) == 20
    assert receive_maximum(bytes.fromhex("0000" + "00")) == 65_535


def run_short_form(name: str, tmp_path: Path, *arguments: str) -> dict[str, Any]:
    """Run `python -m tools.chaos --short` in a folder of its own; return what it reports."""
    var = Path(os.environ.get("VAR_DIR") or ROOT / "var") / name
    report = tmp_path / "report.json"
    command = [sys.executable, "-m", "tools.chaos", "--short", "--json", str(report), *arguments]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "VAR_DIR": str(var)},
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert report.exists(), done.stderr
    figures: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    assert done.returncode == 0, done.stderr + json.dumps(figures)
    return figures


@pytest.mark.services
@pytest.mark.slow
def test_kills_and_stops_lose_nothing_double_nothing_and_invent_nothing(tmp_path: Path) -> None:
    figures = run_short_form("chaos-test", tmp_path, "--seed", "1")
    assert (figures["lost"], figures["duplicates"], figures["forged"]) == (0, 0, 0)
    assert figures["stored"] >= figures["acknowledged"] > 1000
    assert figures["dead_letters"] == {}
    assert figures["hits"]["kill platform"] == 3
    assert figures["unwanted_exits"] == []
    assert figures["resident_peak_mb"] < 200


@pytest.mark.services
@pytest.mark.slow
def test_acknowledging_before_the_commit_is_found_out(tmp_path: Path) -> None:
    figures = run_short_form(
        "chaos-control",
        tmp_path,
        *("--seed", "1", "--control", "--seconds", "20", "--broker-restarts", "0", "--redis-stop", "0"),
    )
    assert figures["lost"] > 0
    assert not figures["passed"]
