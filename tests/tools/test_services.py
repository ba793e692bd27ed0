"""The embedded services: what is decided and written before anything is started."""

import os
import signal
import socket
from pathlib import Path

import pytest

from mqtt.password_file import password_line
from tools.services import broker_users, environment, external, mosquitto, ports, postgres, valkey
from tools.services.child import ServiceError, end_leftover
from tools.services.instance import AlreadyRunning, Instance
from tools.services.postgres import holder_of
from tools.services.supervisor import LONGEST_RESTART_DELAY_S, Restarts
from tools.services.welcome import publish_lines, welcome

SECRETS = {
    "secret_key": "k" * 40,
    "admin_email": "admin@example.com",
    "admin_password": "first",
    "demo_device_secret": "d",
}
URLS = {"DATABASE_URL": "postgresql://a", "REDIS_URL": "redis://b", "MQTT_URL": "mqtt://platform:p%40@c:1884"}


def test_the_preferred_port_is_used_until_somebody_has_it() -> None:
    with socket.socket() as holder:
        holder.bind((ports.LOOPBACK, 0))
        holder.listen()
        taken = holder.getsockname()[1]
        assert not ports.is_free(taken)
        assert ports.choose(taken) != taken
    assert ports.choose(taken) == taken
    assert ports.choose() > 1023


@pytest.mark.parametrize(
    ("content", "running", "expected"),
    [
        (None, {}, (0, False)),
        ("", {}, (0, False)),
        ("not a pid\n", {}, (0, False)),
        ("41\n/x/pg\n", {}, (41, False)),
        ("41\n/x/pg\n", {41: "python other.py"}, (41, False)),
        ("41\n/x/pg\n", {41: "postgres -D /x/pg -c port=1"}, (41, True)),
    ],
    ids=["no file", "empty file", "garbage", "gone or zombie", "number reused", "really ours"],
)
def test_a_lock_file_counts_only_while_its_server_lives(
    tmp_path: Path, content: str | None, running: dict[int, str], expected: tuple[int, bool]
) -> None:
    pid_file = tmp_path / "postmaster.pid"
    if content is not None:
        pid_file.write_text(content, encoding="utf-8")
    assert holder_of(pid_file, Path("/x/pg"), running.get) == expected


def test_a_foreign_process_with_a_left_over_pid_is_not_ended(tmp_path: Path) -> None:
    pid_file = tmp_path / "mosquitto.pid"
    end_leftover(pid_file, "x", signal.SIGKILL)
    pid_file.write_text(str(os.getpid()), encoding="ascii")
    end_leftover(pid_file, "no such program", signal.SIGKILL)


def test_only_the_test_database_trades_safety_for_speed() -> None:
    kept = postgres.server_settings(5432, durable=True, statement_statistics=True)
    assert (kept["fsync"], kept["synchronous_commit"], kept["full_page_writes"]) == ("on", "on", "on")
    assert kept["listen_addresses"] == "127.0.0.1"
    assert kept["unix_socket_directories"] == ""
    assert kept["shared_preload_libraries"] == "pg_stat_statements"
    assert postgres.server_settings(5432, durable=False, statement_statistics=False)["fsync"] == "off"


def test_the_cache_is_bounded_and_writes_nothing() -> None:
    lines = valkey.configuration(6379, "secret").splitlines()
    assert {'save ""', "appendonly no", "maxmemory 64mb", "maxmemory-policy allkeys-lru", 'dir "."'} <= set(
        lines
    )
    assert "bind 127.0.0.1" in lines
    assert 'requirepass "secret"' in lines


def test_the_broker_keeps_what_it_confirmed() -> None:
    lines = set(mosquitto.configuration(1883, max_queued_bytes=1000).splitlines())
    assert {
        "listener 1883 127.0.0.1",
        "allow_anonymous false",
        "persistence true",
        "autosave_interval 1",
        "max_queued_messages 1000000000",
        "max_queued_bytes 1000",
        "max_inflight_messages 0",
        "persistent_client_expiration 14d",
    } <= lines


def test_the_deployed_broker_has_the_limits_of_the_embedded_one() -> None:
    deployed = (
        (Path(__file__).resolve().parents[2] / "deploy/mosquitto.conf")
        .read_text(encoding="utf-8")
        .splitlines()
    )
    embedded = mosquitto.configuration(1883, max_queued_bytes=mosquitto.DEFAULT_MAX_QUEUED_BYTES).splitlines()
    limits = [
        line for line in embedded if line.startswith(("max_", "persistence true", "autosave", "persistent_"))
    ]
    assert len(limits) == 7
    assert set(limits) <= set(deployed)


def test_a_password_line_is_the_one_mosquitto_passwd_would_write() -> None:
    line = password_line("default/P-101", "secret", salt=b"0123456789ab")
    user, scheme = line.split(":")
    assert user == "default/P-101"
    assert scheme.split("$")[1:4] == ["7", "101", "MDEyMzQ1Njc4OWFi"]
    assert len(scheme.split("$")[4]) == 88


def test_demo_devices_have_users_of_their_own_only_where_there_is_a_plant() -> None:
    users = broker_users.users("p", "demo secret", "default")
    assert len(users) == 20
    assert users["default/P-101"] == "3HFjzirmESEYuZmzDR_j5GBr1z4cLA0HT4oTCXJ5M5E"
    assert broker_users.users("p", None, "default") == {"platform": "p"}


def test_both_brokers_grant_the_same_rights() -> None:
    acl = broker_users.mosquitto_acl()
    fallback = broker_users.amqtt_acl(["platform", "default/P-101"])
    assert "pattern write iiot/v1/%u/telemetry\n" in acl
    assert "pattern read iiot/v1/%u/commands/+\n" in acl
    assert fallback["publish_acl"]["default/P-101"] == [
        f"iiot/v1/default/P-101/{topic}" for topic in ("telemetry", "status", "alerts", "commands/+/response")
    ]
    assert fallback["acl"]["default/P-101"] == ["iiot/v1/default/P-101/commands/+"]
    assert "$SYS/#" not in fallback["publish_acl"]["platform"]


def test_restarts_get_slower_until_a_process_lives_long_enough() -> None:
    restarts = Restarts()
    assert [restarts.next_delay_s(1.0) for _ in range(9)] == [
        0.5,
        1,
        2,
        4,
        8,
        16,
        30,
        30,
        LONGEST_RESTART_DELAY_S,
    ]
    assert restarts.next_delay_s(61.0) == 0.5


def test_development_gets_generated_secrets_and_keeps_the_users_own() -> None:
    given = environment.application_environment(
        {"IIOT_ADMIN_PASSWORD": "mine", "IIOT_SECRET_KEY_FILE": "/run/key"}, URLS, SECRETS, 5003
    )
    assert given["IIOT_ADMIN_PASSWORD"] == "mine"
    assert "IIOT_SECRET_KEY" not in given
    assert given["IIOT_ADMIN_EMAIL"] == "admin@example.com"
    assert given["IIOT_DEMO_DEVICE_SECRET"] == "d"
    assert (given["IIOT_PORT"], given["IIOT_ENV"], given["MQTT_URL"]) == (
        "5003",
        "development",
        URLS["MQTT_URL"],
    )


def test_production_gets_no_generated_secret_and_says_what_is_missing() -> None:
    production = {"IIOT_ENV": "production"}
    given = environment.application_environment(production, URLS, SECRETS, 5002)
    assert not {"IIOT_SECRET_KEY", "IIOT_ADMIN_PASSWORD", "IIOT_DEMO_DEVICE_SECRET"} & given.keys()
    with pytest.raises(ServiceError, match="IIOT_SECRET_KEY"):
        environment.refuse_incomplete_production(production)
    environment.refuse_incomplete_production({**production, "IIOT_SECRET_KEY": "x"})


def test_a_url_can_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "url"
    path.write_text("redis://r\n", encoding="utf-8")
    assert environment.external_urls({"REDIS_URL_FILE": str(path)}) == {"REDIS_URL": "redis://r"}
    with pytest.raises(ServiceError, match="MQTT_URL_FILE"):
        environment.external_urls({"MQTT_URL_FILE": str(tmp_path / "missing")})


def test_tests_have_variables_of_their_own() -> None:
    environ = {"DATABASE_URL": "postgresql://live", "TEST_REDIS_URL": "redis://t"}
    assert environment.external_urls(environ, "TEST_") == {"REDIS_URL": "redis://t"}


@pytest.mark.parametrize("text", ["five", "-1", "1.5"])
def test_a_number_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ServiceError, match="IIOT_PORT must be a whole number"):
        environment.number({"IIOT_PORT": text}, "IIOT_PORT", 5002)


def test_secrets_are_made_once_and_only_the_owner_reads_them(tmp_path: Path) -> None:
    made = Instance(tmp_path).secrets()
    assert Instance(tmp_path).secrets() == made
    assert len(made["admin_password"]) == 20
    assert len(made["secret_key"]) >= 32
    assert (tmp_path / "secrets.json").stat().st_mode & 0o777 == 0o600


def test_a_second_start_in_the_same_folder_says_where_the_first_one_is(tmp_path: Path) -> None:
    first = Instance(tmp_path)
    first.lock()
    second = Instance(tmp_path)
    assert second.is_locked()
    with pytest.raises(AlreadyRunning, match="still starting"):
        second.lock()
    first.describe({**URLS, "BASE_URL": "http://127.0.0.1:5002"}, {"stack": 1})
    assert first.services_file.stat().st_mode & 0o777 == 0o600
    with pytest.raises(AlreadyRunning, match=r"http://127\.0\.0\.1:5002"):
        second.lock()


def test_a_service_that_is_away_is_named_with_the_remedy_and_without_its_password() -> None:
    url = f"redis://:hidden@127.0.0.1:{ports.choose()}/0"
    with pytest.raises(ServiceError, match="unset REDIS_URL") as refused:
        external.check_redis(url)
    assert "hidden" not in str(refused.value)
    with pytest.raises(ServiceError, match="must start with mqtt://"):
        external.check_mqtt("tcp://127.0.0.1:1883")


def test_the_welcome_shows_how_to_publish_and_hides_what_was_not_generated() -> None:
    given = {**URLS, "IIOT_ADMIN_EMAIL": "admin@example.com", "IIOT_ADMIN_PASSWORD": "pass20"}
    shown = welcome("http://h:1", given, Path("/x"), 3.14, with_demo=True, secret=False)
    assert "ready after 3.1 s" in shown
    assert "admin@example.com   pass20" in shown
    assert (
        "mosquitto_pub -h c -p 1884 -u platform -P 'p@' -q 1 -t iiot/v1/default/my-device/telemetry" in shown
    )
    hidden = welcome("http://h:1", given, Path("/x"), 3.14, with_demo=False, secret=True)
    assert "pass20" not in hidden
    assert "p@" not in hidden


def test_a_broker_without_users_needs_no_login() -> None:
    assert " -u " not in publish_lines("mqtt://broker.example", "default", with_password=True)[0]
