"""The embedded services, really started: logins, rights, recovery, the fallback broker."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from tools.services import broker_users, external, ports
from tools.services.child import ServiceError
from tools.services.cluster import Cluster
from tools.services.instance import Instance
from tools.services.mosquitto import Broker
from tools.services.place import POINTER, Place, find_place
from tools.services.postgres import Postgres

pytestmark = pytest.mark.services

DEADLINE_S = 20.0
VENDOR = Path(os.environ.get("VAR_DIR", "var/test")).absolute().parent / "vendor"


def eventually(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        threading.Event().wait(0.02)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A folder with a space and an accent in its path."""
    folder = tmp_path / "my plänt" / "var"
    found = find_place(folder)
    yield found
    pointer = folder / POINTER
    if pointer.exists():
        shutil.rmtree(Path(pointer.read_text(encoding="utf-8")))


@pytest.fixture
def cluster(place: Place) -> Iterator[Cluster]:
    made = Cluster(place, VENDOR, Instance(place.folder).secrets(), fresh=True, durable=False)
    made.start()
    yield made
    made.stop()


def ask(cluster: Cluster, question: str) -> str:
    assert cluster.postgres is not None
    psql = str(cluster.postgres.binaries / "psql")
    command = [psql, "-XAtc", question, cluster.postgres.url()]
    answer: str = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return answer.strip()


def client(url: str, user: str, password: str, client_id: str = "") -> mqtt.Client:
    made = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=not client_id)
    made.username_pw_set(user, password)
    made.connect("127.0.0.1", int(url.rpartition(":")[2]))
    made.loop_start()
    eventually(made.is_connected)
    return made


def test_everything_starts_in_a_folder_with_spaces_and_accents(cluster: Cluster) -> None:
    assert ask(cluster, "SHOW server_encoding") == "UTF8"
    assert ask(cluster, "SHOW timezone") == "UTC"
    assert ask(cluster, "SELECT datlocale FROM pg_database WHERE datname = 'iiot'") == "C.UTF-8"
    assert ask(cluster, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") == "f"
    urls = cluster.urls()
    assert external.check_postgres(urls["DATABASE_URL"]).startswith("PostgreSQL ")
    assert external.check_redis(urls["REDIS_URL"]).startswith("Redis 7")
    assert external.check_mqtt(urls["MQTT_URL"]) == "MQTT broker"


def test_nobody_gets_in_without_the_password(cluster: Cluster) -> None:
    urls = cluster.urls()
    with pytest.raises(ServiceError, match="password authentication failed"):
        external.check_postgres(urls["DATABASE_URL"].replace("owner:", "owner:x"))
    with pytest.raises(ServiceError, match="WRONGPASS"):
        external.check_redis(urls["REDIS_URL"].replace("redis://:", "redis://:x"))
    with pytest.raises(ServiceError, match=r"not authorised|wrong user name"):
        external.check_mqtt(urls["MQTT_URL"].replace("platform:", "platform:x"))


def test_a_device_reaches_only_its_own_topics(cluster: Cluster) -> None:
    assert cluster.mqtt is not None
    if cluster.mqtt.is_degraded:
        pytest.skip("rights are checked on Mosquitto")
    url, users = cluster.mqtt.url(), cluster.mqtt.passwords
    heard: list[str] = []
    platform = client(url, "platform", users["platform"])
    platform.on_message = lambda _client, _data, message: heard.append(message.topic)
    platform.subscribe("iiot/v1/#", qos=1)
    device = client(url, "default/P-101", users["default/P-101"])
    cuts: list[object] = []
    device.on_disconnect = lambda *arguments: cuts.append(arguments)
    for topic in ("default/P-102/telemetry", "default/P-101/commands/7", "default/P-101/other"):
        device.publish(f"iiot/v1/{topic}", "{}", qos=1)
    device.publish("iiot/v1/default/P-101/commands/7/response", "{}", qos=1)
    device.publish("iiot/v1/default/P-101/telemetry", "{}", qos=1)
    eventually(lambda: "iiot/v1/default/P-101/telemetry" in heard)
    assert heard == ["iiot/v1/default/P-101/commands/7/response", "iiot/v1/default/P-101/telemetry"]
    assert cuts == [], "a denied publish does not cost the connection"
    for one in (platform, device):
        one.disconnect()
        one.loop_stop()


def test_what_the_broker_confirmed_survives_its_restart(place: Place) -> None:
    users = broker_users.users("platform password", None, "default")
    broker = Broker(place, place.folder / "log/mqtt.log", VENDOR, users, lambda text: None, ports.choose())
    broker.spawn()
    broker.wait_ready()
    try:
        if broker.is_degraded:
            pytest.skip("the fallback broker keeps nothing")
        away = client(broker.url(), "platform", users["platform"], client_id="keeps-its-session")
        away.subscribe("demo/#", qos=1)
        away.disconnect()
        away.loop_stop()
        device = client(broker.url(), "platform", users["platform"])
        sent = [device.publish("demo/x", str(number), qos=1) for number in range(1500)]
        for message in sent:
            message.wait_for_publish(DEADLINE_S)
        device.disconnect()
        device.loop_stop()
        broker.stop()
        broker.spawn()
        broker.wait_ready()
        heard: list[bytes | bytearray] = []
        away = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="keeps-its-session", clean_session=False)
        away.username_pw_set("platform", users["platform"])
        away.on_message = lambda _client, _data, message: heard.append(message.payload)
        away.connect("127.0.0.1", broker.port)
        away.loop_start()
        eventually(lambda: len(heard) == 1500)
        away.disconnect()
        away.loop_stop()
    finally:
        broker.stop()


def test_the_fallback_broker_grants_the_same_rights(place: Place) -> None:
    users = broker_users.users("platform password", "demo secret", "default")
    broker = Broker(place, place.folder / "log/mqtt.log", VENDOR, users, lambda text: None)
    broker.port = ports.choose()
    broker._spawn_fallback(place.private_folder("mqtt"))
    try:
        broker.wait_ready()
        heard: list[str] = []
        platform = client(broker.url(), "platform", users["platform"])
        platform.on_message = lambda _client, _data, message: heard.append(message.topic)
        platform.subscribe("iiot/v1/#", qos=1)
        device = client(broker.url(), "default/P-101", users["default/P-101"])
        device.publish("iiot/v1/default/P-102/telemetry", "{}", qos=1)
        device.publish("iiot/v1/default/P-101/telemetry", "{}", qos=1)
        eventually(lambda: len(heard) > 0)
        assert heard == ["iiot/v1/default/P-101/telemetry"]
        for one in (platform, device):
            one.disconnect()
            one.loop_stop()
    finally:
        broker.stop()
    assert broker.child is not None
    assert broker.child.exit_code == 0


def test_a_lock_file_that_names_a_foreign_process_does_not_stop_postgres(place: Place) -> None:
    def server() -> Postgres:
        return Postgres(
            place, place.folder / "log/postgres.log", "a password", preferred_port=0, durable=False
        )

    first = server()
    first.spawn()
    first.wait_ready()
    first.stop()
    bystander = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    lock_file = first.folder / "postmaster.pid"
    lock_file.write_text(f"{bystander.pid}\n{first.folder}\n0\n1\n\n127.0.0.1\n\n", encoding="utf-8")
    place.give(lock_file)
    again = server()
    again.spawn()
    again.wait_ready()
    again.stop()
    assert bystander.poll() is None
    bystander.communicate(b"\n")


def test_postgres_comes_back_after_a_kill_with_everything_committed(place: Place) -> None:
    cluster = Cluster(place, VENDOR, Instance(place.folder).secrets(), fresh=True)
    cluster.start()
    try:
        assert cluster.postgres is not None
        ask(cluster, "CREATE TABLE kept AS SELECT * FROM generate_series(1, 1000)")
        child = cluster.children()["postgres"]
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        cluster.postgres.spawn()
        cluster.postgres.wait_ready()
        assert ask(cluster, "SELECT count(*) FROM kept") == "1000"
    finally:
        cluster.stop()


def test_secrets_of_another_data_folder_are_explained(place: Place) -> None:
    first = Postgres(place, place.folder / "log/postgres.log", "a password", preferred_port=0, durable=False)
    first.spawn()
    first.wait_ready()
    first.stop()
    other = Postgres(place, place.folder / "log/postgres.log", "another", preferred_port=0, durable=False)
    other.spawn()
    with pytest.raises(ServiceError, match=r"put the old secrets\.json back"):
        other.wait_ready()
    other.stop()


def test_external_services_are_used_as_they_are(cluster: Cluster, tmp_path: Path) -> None:
    urls = cluster.urls()
    told: list[str] = []
    second = find_place(tmp_path / "second")
    borrowed = Cluster(second, VENDOR, {}, external_urls=urls, announce=told.append)
    assert borrowed.start() == urls
    assert borrowed.children() == {}
    borrowed.stop()
    assert len(told) == 3
    assert ask(cluster, "SELECT 1") == "1"
    pointer = second.folder / POINTER
    if pointer.exists():
        shutil.rmtree(Path(pointer.read_text(encoding="utf-8")))
