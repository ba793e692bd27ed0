"""Poison among good messages, through a real broker: each once in the dead letters, with its reason."""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

import orjson
import pytest

from storage.pool import SystemDatabase
from tests.ingest.poison import POISON, REGISTERED, RETIRED, Poison
from tests.ingest.station import Letter, Station, new_device, now_us, running
from tests.mqtt_line import Publisher, connected, forget_session, mqtt_settings
from tests.people import Plants
from tests.polling import until

pytestmark = pytest.mark.services

GOOD_DEVICES = [f"good-{number}" for number in range(9)]
GOOD_EACH = 700
STRICT = [poison for poison in POISON if poison.is_strict]
OPEN = [poison for poison in POISON if not poison.is_strict]


@dataclass(frozen=True, slots=True)
class Dose:
    """One message as it is published."""

    topic: str
    payload: bytes
    is_retained: bool = False
    is_delete: bool = False


@dataclass(slots=True)
class Plant:
    """One plant under poison; `devices` by the class of poison that each of them sends."""

    station: Station
    tenant_id: int
    mqtt_url: str
    now_ms: int
    devices: dict[str, str]

    def dose(self, poison: Poison, *, device: str | None = None) -> Dose:
        topic = self._topic(
            device or self.devices[poison.name], kind=poison.kind, tenant=poison.tenant or self.station.plant
        )
        return Dose(topic, poison.payload(self.now_ms), poison.is_retained, poison.name == "retained delete")

    def good(self, device: str, number: int) -> Dose:
        document = {"ts": self.now_ms - number, "values": {"p": number}}
        return Dose(self._topic(device), orjson.dumps(document))

    def letters(self, poison: Poison) -> list[Letter]:
        """The dead letters of the device that sends this class of poison."""
        topic = self.dose(poison).topic
        device = self.devices[poison.name]
        return [
            letter
            for letter in self.station.all_letters()
            if letter.topic == topic or (letter.topic == "reading" and letter.device_id == device)
        ]

    def deliver(self, doses: list[Dose]) -> None:
        """Publish everything to a client with a session of its own; return when it is through."""
        station, client_id = self.station, f"poison-{secrets.token_hex(4)}"
        subscriptions = [*station.layout.subscriptions, self._topic("+", kind="odd", tenant="+")]
        before = len(station.acknowledged)
        first_device, last_device = new_device(), new_device()
        for device in (first_device, last_device):
            station.register(self.tenant_id, device, p="")
        probe, last = self.good(first_device, 0), self.good(last_device, 0)
        with Publisher(self.mqtt_url) as publisher:
            # A message counts as retained only for those who subscribe after it.
            self._publish(publisher, [dose for dose in doses if dose.is_retained])
            settings = mqtt_settings(self.mqtt_url, client_id)
            with connected(settings, subscriptions=subscriptions, intake=station.pipeline) as line:
                station.broker = line.client

                def is_subscribed() -> bool:
                    self._publish(publisher, [probe])
                    return len(station.acknowledged) > before

                until(is_subscribed)
                self._publish(publisher, [dose for dose in doses if not dose.is_retained])
                self._publish(publisher, [last])
                until(lambda: bool(station.values(last_device)), timeout_s=40)
            for dose in doses:
                if dose.is_retained:
                    publisher.publish(dose.topic, b"", retain=True)
            publisher.flush()
        forget_session(self.mqtt_url, client_id)

    @staticmethod
    def _publish(publisher: Publisher, doses: list[Dose]) -> None:
        for dose in doses:
            publisher.publish(dose.topic, dose.payload, retain=dose.is_retained or dose.is_delete)
        publisher.flush()

    def _topic(self, device: str, *, kind: str = "telemetry", tenant: str = "") -> str:
        return f"{self.station.layout.root}/{tenant or self.station.plant}/{device}/{kind}"


def _settle(station: Station, mqtt_url: str, plants: Plants, poisons: list[Poison]) -> Plant:
    """Give each class of poison a device of its own."""
    devices = {}
    for number, poison in enumerate(poisons):
        is_known = poison.device in (REGISTERED, RETIRED)
        device = f"device-{number}" if is_known or poison.device is None else poison.device
        devices[poison.name] = device
        if is_known:
            key = station.register(plants.plant_a, device, p="bar", t="")
            if poison.device == RETIRED:
                with station.database.transaction() as cursor:
                    cursor.execute("UPDATE devices SET retired_at = now() WHERE device_key = %s", (key,))
    return Plant(station, plants.plant_a, mqtt_url, now_us() // 1000, devices)


@pytest.fixture(scope="module")
def plant(system_database: SystemDatabase, plants: Plants, mqtt_url: str) -> Iterator[Plant]:
    """A plant in which one message in a hundred was poison, all of it delivered twice."""
    root = f"iiot/v1/{secrets.token_hex(4)}"
    with running(Station(system_database, root=root, message_bytes=200_000)) as station:
        plant = _settle(station, mqtt_url, plants, OPEN)
        doses = [plant.good(device, number) for device in GOOD_DEVICES for number in range(GOOD_EACH)]
        doses += [plant.dose(poison) for poison in OPEN]
        for seed in (1, 2):
            random.Random(seed).shuffle(doses)
            plant.deliver(doses)
        yield plant


@pytest.fixture(scope="module")
def strict_plant(system_database: SystemDatabase, plants: Plants, mqtt_url: str) -> Iterator[Plant]:
    """A plant in production whose devices send what nobody has registered, twice."""
    root = f"iiot/v1/{secrets.token_hex(4)}"
    with running(Station(system_database, root=root, auto_register=False)) as station:
        plant = _settle(station, mqtt_url, plants, STRICT)
        for _ in range(2):
            plant.deliver([plant.dose(poison) for poison in STRICT])
        yield plant


def test_there_are_at_least_forty_classes_of_poison() -> None:
    assert len({poison.name for poison in POISON}) == len(POISON) >= 40


def test_all_good_readings_beside_the_poison_are_stored(plant: Plant) -> None:
    for device in GOOD_DEVICES:
        assert sorted(plant.station.values(device)) == list(range(GOOD_EACH))
    assert not any(letter.device_id in GOOD_DEVICES for letter in plant.station.all_letters())


@pytest.mark.parametrize("poison", OPEN, ids=lambda poison: poison.name)
def test_poison_is_in_the_dead_letters_once_with_its_reason(plant: Plant, poison: Poison) -> None:
    _expect_one_letter(plant, poison)


@pytest.mark.parametrize("poison", STRICT, ids=lambda poison: poison.name)
def test_what_nobody_registered_is_in_the_dead_letters_once(strict_plant: Plant, poison: Poison) -> None:
    _expect_one_letter(strict_plant, poison)


def test_a_device_that_sends_nothing_but_poison_harms_only_itself(plant: Plant) -> None:
    bad, neighbour = new_device(), new_device()
    own = [poison for poison in OPEN if poison.kind == "telemetry" and not poison.is_retained]
    own = [poison for poison in own if poison.device is None and poison.tenant is None]
    plant.station.register(plant.tenant_id, bad, p="")
    doses = [plant.dose(poison, device=bad) for poison in own]
    # What several readings of a message leave behind are letters of their own.
    doses = [dose for dose in doses if not dose.is_delete and b'"n50"' not in dose.payload] * 10
    plant.deliver(
        [dose for number, bad_dose in enumerate(doses) for dose in (bad_dose, plant.good(neighbour, number))]
    )
    assert sorted(plant.station.values(neighbour)) == list(range(len(doses)))
    letters = [letter for letter in plant.station.letters(bad) if letter.topic != "reading"]
    assert {letter.payload[:1000] for letter in letters} == {
        dose.payload[:1000] for dose in doses if b'[{"ts"' not in dose.payload
    }
    assert {letter.occurrences for letter in letters} == {10}


def _expect_one_letter(plant: Plant, poison: Poison) -> None:
    (letter,) = plant.letters(poison)
    assert (letter.reason, letter.metric) == (poison.reason, poison.metric)
    assert letter.detail
    assert letter.occurrences == 2
    if letter.topic != "reading":
        assert poison.payload(plant.now_ms).startswith(letter.payload)
        assert letter.payload_bytes == len(poison.payload(plant.now_ms))
