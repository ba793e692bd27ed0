"""The plant's devices on a real broker: they connect as themselves, report, answer, and say goodbye."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest

from tools.plant.broker import Broker, BrokerUnreachable, broker_of, connected
from tools.plant.cli import ask, main, trigger_fault
from tools.plant.control_desk import ControlDesk
from tools.plant.model.catalogue import DEVICES, children
from tools.plant.model.plant import Plant
from tools.plant.publisher import Publisher

pytestmark = pytest.mark.services

TENANT = "default"
DEADLINE_S = 20.0


class Watcher:
    """Somebody who may read everything, and keeps it."""

    def __init__(self, broker: Broker, tenant: str) -> None:
        self.status: dict[str, str] = {}
        self.telemetry: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.arrays: dict[str, int] = defaultdict(int)
        self.answers: dict[str, dict[str, Any]] = {}
        self.alerts: list[str] = []
        _, self.client = connected(broker, f"watcher-{secrets.token_hex(6)}")
        self.client.on_message = self._heard
        self.client.subscribe(f"iiot/v1/{tenant}/#", qos=1)

    def _heard(self, _client: mqtt.Client, _userdata: object, message: mqtt.MQTTMessage) -> None:
        _, _, _, device_id, kind, *rest = message.topic.split("/")
        payload = json.loads(message.payload)
        if kind == "status":
            self.status[device_id] = payload["status"]
        elif kind == "telemetry":
            records = payload if isinstance(payload, list) else [payload]
            self.arrays[device_id] += isinstance(payload, list)
            self.telemetry[device_id] += records
        elif kind == "alerts":
            self.alerts.append(device_id)
        elif rest[-1:] == ["response"]:
            self.answers[device_id] = payload

    def until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline, f"waited in vain until {what}; status: {self.status}"
            self.client.loop(0.05)

    def is_everyone(self, status: str) -> bool:
        return len(self.status) == len(DEVICES) and set(self.status.values()) == {status}


@pytest.fixture
def broker(mqtt_url: str) -> Broker:
    return broker_of({"MQTT_URL": mqtt_url})


@pytest.fixture
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One plant at a time, also when tests run in parallel: its devices exist once on a broker."""
    folder = tmp_path_factory.getbasetemp()
    shared = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    with (shared / "demo-plant.lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def running(broker: Broker, label_file: Path, *, device_secret: str = "") -> Iterator[Publisher]:
    """Run the whole plant on a thread; it is offline again at the end."""
    plant = Plant()
    publisher = Publisher(
        broker,
        plant,
        ControlDesk(plant, label_file, time.time),
        tenant=TENANT,
        device_secret=device_secret,
    )
    stop = threading.Event()
    thread = threading.Thread(target=publisher.run, args=(stop,), name="plant-under-test")
    thread.start()
    try:
        yield publisher
    finally:
        stop.set()
        thread.join(DEADLINE_S)
        assert not thread.is_alive()


def test_all_devices_come_online_report_and_leave_in_order(
    broker: Broker, alone: None, tmp_path: Path
) -> None:
    watcher = Watcher(broker, TENANT)
    with running(broker, tmp_path / "labels.jsonl"):
        watcher.until(lambda: watcher.is_everyone("online"), "all are online")
        watcher.until(lambda: len(watcher.telemetry) == len(DEVICES), "all have reported")
    watcher.until(lambda: watcher.is_everyone("offline"), "all are offline")
    for device in DEVICES:
        first = watcher.telemetry[device.device_id][0]
        assert set(first["values"]) == {metric.name for metric in device.metrics}
        assert abs(first["ts"] / 1000 - time.time()) < 60


def test_devices_are_pinned_to_their_own_topics(broker: Broker, alone: None, tmp_path: Path) -> None:
    known = Path(os.environ.get("VAR_DIR", "var")) / "secrets.json"
    if not known.exists():
        pytest.skip("the broker is not ours: it knows no users for the demo's devices")
    secret = json.loads(known.read_text(encoding="utf-8"))["demo_device_secret"]
    watcher = Watcher(broker, TENANT)
    with running(broker, tmp_path / "labels.jsonl", device_secret=secret) as publisher:
        watcher.until(lambda: watcher.is_everyone("online"), "all are online")
        assert publisher.strangers == []
        answer = trigger_fault(broker, "F14")
    assert answer["started"]["asset"] == "P-105"
    assert answer["topic"].endswith("/P-101/telemetry")
    assert answer["broker"] == "Not authorized"


def test_a_fault_starts_on_request_and_shows(
    broker: Broker, alone: None, tmp_path: Path, mqtt_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    environ = {"MQTT_URL": mqtt_url}
    watcher = Watcher(broker, TENANT)
    with running(broker, tmp_path / "labels.jsonl"):
        watcher.until(lambda: watcher.is_everyone("online"), "all are online")
        assert main(["--fault", "F2"], environ) == 0
        assert main(["--fault", "F2"], environ) == 1
        watcher.until(
            lambda: any(
                record["values"].get("suction_pressure", 99.0) < 35.0 for record in watcher.telemetry["P-103"]
            ),
            "the suction pressure of P-103 has fallen",
        )
        assert main(["--list"], environ) == 0
        assert main(["--clear", "F2"], environ) == 0
        assert main(["--fault", "F99"], environ) == 1
    said = capsys.readouterr()
    assert "F2 on P-103: cavitation" in said.out
    assert "ACTIVE until" in said.out
    assert "F2 on P-103 ended" in said.out
    assert "already there" in said.err
    assert "there is no fault F99" in said.err
    assert '"fault": "F2"' in (tmp_path / "labels.jsonl").read_text(encoding="utf-8")


def test_a_gateway_fault_cuts_its_devices_off_and_loses_nothing(
    broker: Broker, alone: None, tmp_path: Path
) -> None:
    behind = {"G-1", *(device.device_id for device in children("G-1"))}
    watcher = Watcher(broker, TENANT)
    with running(broker, tmp_path / "labels.jsonl"):
        watcher.until(lambda: watcher.is_everyone("online"), "all are online")
        assert ask(broker, {"fault": "F11", "speed": 180})["ok"]
        watcher.until(
            lambda: {d for d, status in watcher.status.items() if status == "offline"} == behind,
            "the last wills of the devices behind G-1 have arrived",
        )
        watcher.until(lambda: watcher.is_everyone("online"), "all are online again")
        watcher.until(lambda: watcher.arrays["P-103"] > 0, "what was kept has arrived")
    seconds = sorted({record["ts"] // 1000 for record in watcher.telemetry["P-103"]})
    assert seconds == list(range(seconds[0], seconds[-1] + 1))


def test_a_device_answers_a_command(broker: Broker, alone: None, tmp_path: Path) -> None:
    watcher = Watcher(broker, TENANT)
    with running(broker, tmp_path / "labels.jsonl"):
        watcher.until(lambda: watcher.is_everyone("online"), "all are online")
        watcher.client.publish(
            f"iiot/v1/{TENANT}/M-302/commands/c-1", json.dumps({"name": "stop", "params": {}}), qos=1
        )
        watcher.until(lambda: "M-302" in watcher.answers, "M-302 has answered")
        watcher.until(
            lambda: any(r["values"].get("running") == 0.0 for r in watcher.telemetry["M-302"]), "M-302 stands"
        )
    assert watcher.answers["M-302"] == {"status": "succeeded"}


def test_without_a_plant_there_is_no_answer_but_a_reason(
    broker: Broker, alone: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tools.plant.cli._ANSWER_TIMEOUT_S", 0.5)
    with pytest.raises(BrokerUnreachable, match="no demo plant answers"):
        ask(broker, {"list": True})


def test_a_wrong_password_is_said_to_be_refused(broker: Broker) -> None:
    stranger = Broker(broker.host, broker.port, broker.is_tls, "nobody", "wrong")
    with pytest.raises(BrokerUnreachable, match="refuses"):
        connected(stranger, "stranger")
