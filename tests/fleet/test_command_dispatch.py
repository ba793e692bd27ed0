"""Commands on their way to devices at a real broker, over restarts of the platform and of the broker."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from domain.audit import Actor
from fleet.command_dispatch import CommandDispatcher
from fleet.commands import Commands, CommandUnderWay, Request
from fleet.registry import DeviceSpec, Registry
from ingest.buffer import Message
from mqtt.command_line import CommandPublisher
from observability import Heartbeats
from storage.commands import Command
from storage.pool import AppDatabase, SystemDatabase
from tests.application import Application
from tests.broker import PASSWORD, OwnBroker, own_broker
from tests.mqtt_line import DeviceAtBroker, mqtt_settings
from tests.people import Plants
from tests.polling import until

pytestmark = pytest.mark.services


class Control:
    """The control room of plant A, whose clock the test moves."""

    def __init__(
        self,
        broker: OwnBroker,
        app: AppDatabase,
        system: SystemDatabase,
        plants: Plants,
        running: Application,
    ) -> None:
        self.broker = broker
        self.tenant_id = plants.plant_a
        self.ahead = timedelta()
        self._system = system
        self._pipeline = running.services.pipeline
        self._registry = Registry(app, metrics_per_device=10)
        self.commands = Commands(app, clock=self.now, dispatch=lambda: None)
        self.actor = Actor(plants.plant_a, "oskar@plant-a.example")
        self.dispatcher = self.restarted()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def restarted(self) -> CommandDispatcher:
        """A dispatcher that knows nothing but what is in PostgreSQL."""
        line = CommandPublisher(mqtt_settings(self.broker.url, "tests"), timeout_s=2.0)
        return CommandDispatcher(self._system, line, clock=self.now, heartbeats=Heartbeats())

    def command(self, device_id: str, *, ttl_s: float = 60.0) -> str:
        request = Request("start", {"speed": 40}, timedelta(seconds=ttl_s))
        return self.commands.create(device_id, request, self.actor)[0].command_id

    def add(self, device_id: str) -> str:
        self._registry.create(self.tenant_id, device_id, DeviceSpec(name=device_id))
        return device_id

    def device(self, device_id: str) -> DeviceAtBroker:
        """The device at the broker, as the platform's user: whose own rights are another test's."""
        return DeviceAtBroker(self.broker.port, "platform", PASSWORD, f"device-{device_id}")

    def look(self, device_id: str, command_id: str) -> Command:
        return self.commands.find(self.tenant_id, device_id, command_id)

    def answers(self, device_id: str, command_id: str, **answer: Any) -> None:
        """Have the ingest hear the device's answer."""
        message = Message(
            epoch=0,
            mid=1,
            topic=f"iiot/v1/plant-a/{device_id}/commands/{command_id}/response",
            payload=json.dumps({**answer, "n": time.monotonic_ns()}).encode(),
            is_redelivery=False,
            is_retained=False,
            received_at_us=time.time_ns() // 1000,
        )
        self._pipeline.accept([message])

    def until_state(self, device_id: str, command_id: str, state: str) -> None:
        until(lambda: self.look(device_id, command_id).state == state, what=f"a command that is {state}")


@pytest.fixture
def control(
    tmp_path_factory: pytest.TempPathFactory,
    app_database: AppDatabase,
    system_database: SystemDatabase,
    plants: Plants,
    application: Application,
) -> Iterator[Control]:
    with own_broker(tmp_path_factory.mktemp("broker")) as broker:
        yield Control(broker, app_database, system_database, plants, application)


def _topic(device_id: str, command_id: str) -> str:
    return f"iiot/v1/plant-a/{device_id}/commands/{command_id}"


def test_a_command_goes_out_and_comes_back_succeeded(control: Control) -> None:
    pump = control.add("C-1")
    with control.device(pump) as device:
        device.subscribe(f"iiot/v1/plant-a/{pump}/commands/+")
        command_id = control.command(pump)
        assert control.dispatcher.run_once() == 1
        until(lambda: device.heard == [_topic(pump, command_id)], what="the command")
    assert control.look(pump, command_id).state == "delivered"
    control.answers(pump, command_id, status="accepted")
    control.until_state(pump, command_id, "accepted")
    control.answers(pump, command_id, status="succeeded", speed=40)
    control.until_state(pump, command_id, "succeeded")
    command = control.look(pump, command_id)
    assert command.attempts == 1
    assert json.loads(command.answer_json or "{}")["speed"] == 40
    assert None not in (command.sent_at, command.delivered_at, command.accepted_at, command.finished_at)


def test_a_command_waits_for_a_device_that_has_not_subscribed(control: Control) -> None:
    pump = control.add("C-2")
    command_id = control.command(pump)
    control.dispatcher.run_once()
    assert control.look(pump, command_id).state == "queued"
    with control.device(pump) as device:
        device.subscribe(f"iiot/v1/plant-a/{pump}/commands/+")
        control.ahead = timedelta(seconds=3)
        control.dispatcher.run_once()
        until(lambda: bool(device.heard), what="the command")
    assert control.look(pump, command_id).state == "delivered"


def test_queued_commands_outlive_the_broker_and_the_platform(control: Control) -> None:
    pumps = [control.add(f"C-3-{number}") for number in range(20)]
    control.broker.stop()
    ids = {pump: control.command(pump) for pump in pumps}
    control.dispatcher.run_once()
    assert {control.look(pump, ids[pump]).state for pump in pumps} == {"queued"}
    control.broker.start()
    with control.device("C-3") as device:
        device.subscribe("iiot/v1/plant-a/+/commands/+")
        control.ahead = timedelta(seconds=3)
        control.restarted().run_once()
        until(lambda: len(device.heard) == 20, what="all commands")
    assert sorted(device.heard) == sorted(_topic(pump, ids[pump]) for pump in pumps)
    assert {control.look(pump, ids[pump]).state for pump in pumps} == {"delivered"}


def test_a_command_that_nobody_took_expires_and_one_without_an_answer_times_out(control: Control) -> None:
    waiting, silent = control.add("C-4"), control.add("C-5")
    with control.device(silent) as device:
        device.subscribe(f"iiot/v1/plant-a/{silent}/commands/+")
        first, second = control.command(waiting, ttl_s=10), control.command(silent, ttl_s=10)
        control.dispatcher.run_once()
        control.ahead = timedelta(seconds=11)
        control.dispatcher.run_once()
    assert control.look(waiting, first).state == "expired"
    assert control.look(silent, second).state == "timed_out"


def test_a_late_answer_is_kept_and_changes_nothing(control: Control) -> None:
    pump = control.add("C-6")
    with control.device(pump) as device:
        device.subscribe(f"iiot/v1/plant-a/{pump}/commands/+")
        command_id = control.command(pump, ttl_s=10)
        control.dispatcher.run_once()
    control.ahead = timedelta(seconds=11)
    control.dispatcher.run_once()
    control.answers(pump, command_id, status="succeeded")
    until(lambda: control.look(pump, command_id).late_answer_json is not None, what="the late answer")
    assert control.look(pump, command_id).state == "timed_out"


def test_another_device_cannot_answer_for_it(control: Control) -> None:
    pump, other = control.add("C-7"), control.add("C-8")
    with control.device(pump) as device:
        device.subscribe(f"iiot/v1/plant-a/{pump}/commands/+")
        command_id = control.command(pump)
        control.dispatcher.run_once()
    control.answers(other, command_id, status="failed")
    control.answers(pump, command_id, status="succeeded")
    control.until_state(pump, command_id, "succeeded")


def test_what_was_sent_cannot_be_cancelled(control: Control) -> None:
    pump = control.add("C-9")
    with control.device(pump) as device:
        device.subscribe(f"iiot/v1/plant-a/{pump}/commands/+")
        command_id = control.command(pump)
        control.dispatcher.run_once()
    with pytest.raises(CommandUnderWay):
        control.commands.cancel(pump, command_id, control.actor)


def test_the_thread_sends_what_is_asked_for_and_stops(control: Control) -> None:
    pump = control.add("C-10")
    with control.device(pump) as device:
        device.subscribe(f"iiot/v1/plant-a/{pump}/commands/+")
        command_id = control.command(pump)
        control.dispatcher.start()
        control.until_state(pump, command_id, "delivered")
    assert control.dispatcher.stop(timeout_s=5)
