"""Credentials of devices at a real broker: who gets in, what they may do, and how fast they are out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import paho.mqtt.client as paho
import pytest

from domain.audit import Actor
from domain.broker_user import BrokerUser
from fleet.broker_access import BrokerAccess
from fleet.credentials import Credentials, IssuedCredential
from fleet.registry import DeviceSpec, Registry
from mqtt.dynamic_security import DynamicSecurity, NoDynamicSecurity
from observability import Heartbeats
from storage.pool import AppDatabase, SystemDatabase
from tests.broker import OwnBroker, own_broker
from tests.mqtt_line import DeviceAtBroker, mqtt_settings
from tests.people import Plants
from tests.polling import until

pytestmark = pytest.mark.services

_SECRET = "the platform's secret key of this test: "


class Site:
    """Plant A's devices, the broker, and what keeps the two together."""

    def __init__(self, broker: OwnBroker, app: AppDatabase, system: SystemDatabase, plants: Plants) -> None:
        self.broker = broker
        self.plants = plants
        self.driver = DynamicSecurity(mqtt_settings(broker.url, "tests"), timeout_s=1.0)
        self.access = BrokerAccess(system, self.driver, secret_of=_SECRET.__add__, heartbeats=Heartbeats())
        self.credentials = Credentials(app, self.access, topic_root="iiot/v1")
        self.registry = Registry(app, metrics_per_device=10)
        self.actor = Actor(plants.plant_a, "alice@plant-a.example")

    def device(self, device_id: str) -> IssuedCredential:
        self.registry.create(self.plants.plant_a, device_id, DeviceSpec(name=device_id))
        return self.issue(device_id)

    def issue(self, device_id: str) -> IssuedCredential:
        return self.credentials.issue("plant-a", device_id, self.actor)

    def connect(self, issued: IssuedCredential, protocol: int = paho.MQTTv5) -> DeviceAtBroker:
        return DeviceAtBroker(
            self.broker.port, issued.username, issued.password, f"{issued.username}-{protocol}", protocol
        )


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory,
    app_database: AppDatabase,
    system_database: SystemDatabase,
    plants: Plants,
) -> Iterator[Site]:
    with own_broker(tmp_path_factory.mktemp("broker")) as broker:
        yield Site(broker, app_database, system_database, plants)


def test_a_device_gets_in_and_publishes_below_its_own_topic_only(site: Site) -> None:
    issued = site.device("P-1")
    assert issued.is_in_force
    with site.connect(issued) as device:
        assert device.publish("iiot/v1/plant-a/P-1/telemetry") == "Success"
        assert device.publish("iiot/v1/plant-a/P-1/commands/7/response") == "Success"
        refused = [
            "iiot/v1/plant-a/P-2/telemetry",
            "iiot/v1/plant-b/P-1/telemetry",
            "iiot/v1/plant-a/P-1/commands/7",
            "iiot/v1/plant-a/P-1/telemetry/more",
            "iiot/v1/plant-a/P-1",
            "/iiot/v1/plant-a/P-1/telemetry",
            "$SYS/broker/uptime",
            "$CONTROL/dynamic-security/v1",
        ]
        assert {topic: device.publish(topic) for topic in refused} == dict.fromkeys(refused, "Not authorized")


@pytest.mark.parametrize("topics", ["#", "+/+/+/+/+/+", "iiot/v1/plant-a/P-4/commands/+", "$share/g/iiot/#"])
def test_a_device_hears_its_own_commands_and_nobody_elses(site: Site, topics: str) -> None:
    suffix = str(abs(hash(topics)) % 10_000)
    own, other = site.device(f"P-3-{suffix}"), site.device(f"P-4-{suffix}")
    with site.connect(own) as device, site.connect(other) as neighbour:
        device.subscribe(topics.replace("P-4", f"P-4-{suffix}"))
        device.subscribe(own.topics.subscribe[0])
        neighbour.publish(f"iiot/v1/{other.username}/telemetry")
        site.broker.publish(f"iiot/v1/{other.username}/commands/1", b"{}")
        site.broker.publish(f"iiot/v1/{own.username}/commands/2", b"{}")
        until(lambda: bool(device.heard), what="its own command")
        assert set(device.heard) == {f"iiot/v1/{own.username}/commands/2"}


def test_a_wrong_password_gets_nobody_in(site: Site) -> None:
    issued = site.device("P-5")
    with pytest.raises(PermissionError, match="Not authorized"):
        DeviceAtBroker(site.broker.port, issued.username, issued.password + "x", "p5").__enter__()


@pytest.mark.parametrize("end", ["revoke", "retire", "replace"])
@pytest.mark.parametrize("protocol", [paho.MQTTv5, paho.MQTTv311])
def test_a_device_is_cut_off_within_two_seconds(
    site: Site, end: str, protocol: int, record_property: Callable[[str, object], None]
) -> None:
    device_id = f"P-6-{end}-{protocol}"
    issued = site.device(device_id)
    with site.connect(issued, protocol) as device:
        began = time.monotonic()
        if end == "revoke":
            site.credentials.revoke(device_id, site.actor)
        elif end == "retire":
            key = site.registry.key(site.plants.plant_a, device_id)
            site.registry.retire(site.plants.plant_a, device_id)
            site.credentials.device_retired(key)
        else:
            site.issue(device_id)
        until(lambda: not device.is_connected, what="the end of the connection", timeout_s=2.0)
        record_property("cut_after_ms", round((time.monotonic() - began) * 1000, 1))
    with pytest.raises(PermissionError):
        site.connect(issued, protocol).__enter__()


def test_a_revoked_device_can_be_given_a_new_credential(site: Site) -> None:
    site.device("P-7")
    site.credentials.revoke("P-7", site.actor)
    with site.connect(site.issue("P-7")) as device:
        assert device.publish("iiot/v1/plant-a/P-7/telemetry") == "Success"


def test_a_broker_that_has_lost_its_users_gets_them_back(site: Site) -> None:
    issued = site.device("P-8")
    site.access.reconcile()
    site.broker.stop()
    site.broker.forget_users()
    site.broker.start()
    assert site.access.reconcile() > 0
    with site.connect(issued) as device:
        assert device.publish("iiot/v1/plant-a/P-8/telemetry") == "Success"
    assert site.access.reconcile() == 0


def test_users_that_nobody_wants_are_removed_and_those_made_by_hand_stay(site: Site) -> None:
    by_hand = DynamicSecurity(mqtt_settings(site.broker.url, "somebody-else"))
    site.driver.put([BrokerUser("plant-x/gone", "1", "secret")])
    by_hand.put([BrokerUser("plant-x/kept", "2", "secret")])
    site.access.reconcile()
    assert "plant-x/gone" not in site.driver.users()
    assert "plant-x/kept" in by_hand.users()


def test_what_the_broker_missed_while_it_was_away_is_made_up_for(site: Site) -> None:
    issued = site.device("P-9")
    site.broker.stop()
    site.credentials.revoke("P-9", site.actor)
    later = site.issue("P-9")
    assert not later.is_in_force
    site.access.start()
    try:
        site.broker.start()
        site.access.wake()
        until(lambda: site.driver.users().get("plant-a/P-9") == later.credential_id, what="the new user")
    finally:
        assert site.access.stop(timeout_s=10)
    with site.connect(later):
        pass
    with pytest.raises(PermissionError):
        site.connect(issued).__enter__()


def test_a_broker_without_the_plugin_is_told_apart(
    tmp_path: Path, app_database: AppDatabase, system_database: SystemDatabase, plants: Plants
) -> None:
    with own_broker(tmp_path, has_plugin=False) as broker:
        site = Site(broker, app_database, system_database, plants)
        with pytest.raises(NoDynamicSecurity):
            site.driver.users()
        assert not site.device("P-10").is_in_force
