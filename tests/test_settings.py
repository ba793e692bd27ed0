"""Settings: every problem at once, secrets from files, nothing secret in any text, strict in production."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from pathlib import Path

import pytest
from pydantic import ValidationError

from settings import Settings, SettingsError, documented_variables, load_settings, password_of

SECRET_KEY = "Zk3-tests-only-9fQ7xLw2Vb8nRt5YcE1uHj6M"
LONG = "a-long-Password-of-its-own"
SOUND = {
    "DATABASE_URL": f"postgresql://owner:{LONG}-1@db.example:5433/iiot",
    "REDIS_URL": f"redis://:{LONG}-2@redis.example:6379/0",
    "MQTT_URL": f"mqtts://platform:{LONG}-3@broker.example",
    "IIOT_SECRET_KEY": SECRET_KEY,
}
PRODUCTION = {**SOUND, "IIOT_ENV": "production", "IIOT_METRICS_TOKEN": "metrics-Token-0123456789"}


def _problems(environ: Mapping[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as refused:
        load_settings(environ)
    for problem in refused.value.problems:
        assert problem in str(refused.value)
    return refused.value.problems


def _named(environ: Mapping[str, str]) -> set[str]:
    """The variables that the problems name."""
    return {problem.partition(":")[0] for problem in _problems(environ)}


# What is given -------------------------------------------------------------------------------------


def test_four_variables_are_enough_in_development() -> None:
    settings = load_settings(SOUND)
    assert not settings.is_production
    assert settings.auto_register
    assert (settings.web.host, settings.web.port) == ("127.0.0.1", 5002)
    assert settings.access.tenant == "default"
    assert settings.mqtt.url.get_secret_value() == SOUND["MQTT_URL"]


def test_an_empty_variable_is_like_one_that_is_not_given() -> None:
    settings = load_settings({**SOUND, "IIOT_PORT": "", "IIOT_ADMIN_PASSWORD": "", "IIOT_ENV": ""})
    assert settings.web.port == 5002
    assert settings.access.admin_password is None
    assert not settings.is_production


def test_the_environment_of_the_process_does_not_leak_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IIOT_PORT", "9999")
    monkeypatch.setenv("DATABASE_URL", "nonsense")
    assert load_settings(SOUND).web.port == 5002


def test_the_tree_is_frozen() -> None:
    settings = load_settings(SOUND)
    with pytest.raises(ValidationError, match="frozen"):
        settings.web.port = 1
    with pytest.raises(ValidationError, match="frozen"):
        settings.environment = "production"


def test_the_urls_of_the_other_roles_are_derived_and_differ() -> None:
    settings = load_settings(SOUND)
    app, system = settings.app_database_url, settings.system_database_url
    assert app.startswith("postgresql://iiot_app:")
    assert app.endswith("@db.example:5433/iiot")
    assert system.startswith("postgresql://iiot_system:")
    assert len({password_of(app), password_of(system), f"{LONG}-1", SECRET_KEY}) == 4
    assert len(password_of(app)) >= 40
    # The same key gives the same passwords after a restart, another key gives others.
    assert load_settings(SOUND).app_database_url == app
    assert load_settings({**SOUND, "IIOT_SECRET_KEY": SECRET_KEY[::-1]}).app_database_url != app


def test_urls_of_roles_that_are_given_are_used() -> None:
    given = {"IIOT_APP_DATABASE_URL": "postgres://a:b@c/d", "IIOT_SYSTEM_DATABASE_URL": "postgres://e:f@g/h"}
    settings = load_settings({**SOUND, **given})
    assert [settings.app_database_url, settings.system_database_url] == list(given.values())


@pytest.mark.parametrize(
    ("url", "password"),
    [("redis://:p%40ss%2F@h", "p@ss/"), ("redis://h", ""), ("mqtt://user@h", ""), ("mqtt://u:%20@h", " ")],
)
def test_the_password_inside_a_url_is_decoded(url: str, password: str) -> None:
    assert password_of(url) == password


def test_origins_are_a_list() -> None:
    settings = load_settings({**SOUND, "IIOT_ALLOWED_ORIGINS": " https://a.example, ,https://b.example"})
    assert settings.web.origins == ["https://a.example", "https://b.example"]


@pytest.mark.parametrize(("given", "expected"), [("true", True), ("0", False), ("no", False), ("on", True)])
def test_auto_registration_can_be_decided(given: str, expected: bool) -> None:
    for environ in (SOUND, PRODUCTION):
        settings = load_settings({**environ, "IIOT_INGEST_AUTO_REGISTER": given})
        assert settings.auto_register is expected


# Problems ------------------------------------------------------------------------------------------


def test_all_problems_are_listed_at_once() -> None:
    named = _named(
        {
            "REDIS_URL": "http://nowhere",
            "MQTT_URL": "mqtt://",
            "IIOT_SECRET_KEY": "short",
            "IIOT_PORT": "70000",
            "IIOT_ENV": "staging",
            "IIOT_TENANT": "no slug",
            "IIOT_LOG_LEVEL": "loud",
            "IIOT_MQTT_TOPIC_ROOT": "iiot/#",
            "IIOT_INGEST_LATENESS_S": "-1",
            "IIOT_ADMIN_PASSWORD_FILE": "/nowhere/at/all",
        }
    )
    assert named == {
        "DATABASE_URL",
        "REDIS_URL",
        "MQTT_URL",
        "IIOT_SECRET_KEY",
        "IIOT_PORT",
        "IIOT_ENV",
        "IIOT_TENANT",
        "IIOT_LOG_LEVEL",
        "IIOT_MQTT_TOPIC_ROOT",
        "IIOT_INGEST_LATENESS_S",
        "IIOT_ADMIN_PASSWORD_FILE",
    }


def test_nothing_given_names_what_is_needed() -> None:
    assert _named({}) == {"DATABASE_URL", "REDIS_URL", "MQTT_URL", "IIOT_SECRET_KEY"}


@pytest.mark.parametrize("environment", ["staging", "Production", " production"])
def test_an_unknown_environment_is_refused(environment: str) -> None:
    assert _named({**SOUND, "IIOT_ENV": environment}) == {"IIOT_ENV"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "mysql://u:p@h/d"),
        ("DATABASE_URL", "postgresql:///iiot"),
        ("DATABASE_URL", "not a url"),
        ("DATABASE_URL", "postgresql://u:p@h:port/d"),
        ("DATABASE_URL", "postgresql://u:p@[::1/d"),
        ("REDIS_URL", "redis:6379"),
        ("REDIS_URL", "redis://h:99999"),
        ("MQTT_URL", "tcp://h:1883"),
        ("MQTT_URL", "mqtt://h:0x75b"),
        ("IIOT_SECRET_KEY", "x" * 64),
        ("IIOT_SECRET_KEY", "abcdefgh" * 8),
        ("IIOT_MQTT_TOPIC_ROOT", "/iiot"),
        ("IIOT_MQTT_TOPIC_ROOT", "iiot/"),
        ("IIOT_MQTT_TOPIC_ROOT", "ii+t"),
        ("IIOT_MQTT_CLIENT_ID", "x" * 65),
        ("IIOT_PORT", "web"),
        ("IIOT_TENANT", "plant a"),
        ("IIOT_INGEST_AUTO_REGISTER", "perhaps"),
        ("IIOT_DATABASE_APP_POOL_SIZE", "0"),
        ("IIOT_INGEST_LINGER_S", "nan"),
        ("IIOT_INGEST_LATENESS_S", "inf"),
        ("IIOT_DATABASE_STATEMENT_TIMEOUT_S", "inf"),
    ],
)
def test_a_wrong_value_is_refused_under_the_name_of_its_variable(name: str, value: str) -> None:
    assert _named({**SOUND, name: value}) == {name}


# Files ---------------------------------------------------------------------------------------------


def test_any_variable_may_come_from_a_file(tmp_path: Path) -> None:
    environ = {}
    for name, value in {**SOUND, "IIOT_PORT": "8080"}.items():
        (tmp_path / name).write_text(f"{value}\n", encoding="utf-8")
        environ[f"{name}_FILE"] = str(tmp_path / name)
    settings = load_settings(environ)
    assert settings.web.port == 8080
    assert settings.access.secret_key.get_secret_value() == SECRET_KEY
    assert "IIOT_SECRET_KEY" in documented_variables()


def test_a_value_given_twice_is_refused_whichever_it_is(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(SECRET_KEY, encoding="utf-8")
    (problem,) = _problems({**SOUND, "IIOT_SECRET_KEY_FILE": str(file)})
    assert problem.startswith("IIOT_SECRET_KEY: given twice")


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b""])
def test_a_file_that_holds_nothing_usable_is_named(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
    environ = {**SOUND, "IIOT_SECRET_KEY": "", "IIOT_SECRET_KEY_FILE": str(file)}
    assert any(name.startswith("IIOT_SECRET_KEY") for name in _named(environ))


def test_a_folder_in_place_of_a_file_is_named(tmp_path: Path) -> None:
    assert "IIOT_ADMIN_EMAIL_FILE" in _named({**SOUND, "IIOT_ADMIN_EMAIL_FILE": str(tmp_path)})


# Production ----------------------------------------------------------------------------------------


def test_sound_settings_are_good_for_production() -> None:
    settings = load_settings({**PRODUCTION, "IIOT_ADMIN_PASSWORD": "twelve-chars"})
    assert settings.is_production
    assert not settings.auto_register


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"IIOT_METRICS_TOKEN": ""}, {"IIOT_METRICS_TOKEN"}),
        ({"DATABASE_URL": "postgresql://owner@db.example/iiot"}, {"DATABASE_URL"}),
        ({"DATABASE_URL": "postgresql://owner:short@db.example/iiot"}, {"DATABASE_URL"}),
        ({"DATABASE_URL": "postgresql://owner:Password1234@db.example/iiot"}, {"DATABASE_URL"}),
        ({"REDIS_URL": "redis://redis.example:6379/0"}, {"REDIS_URL"}),
        ({"REDIS_URL": "redis://:eleven-char@redis.example"}, {"REDIS_URL"}),
        ({"REDIS_URL": "redis://:123456789012@redis.example"}, {"REDIS_URL"}),
        ({"MQTT_URL": "mqtt://broker.example"}, {"MQTT_URL"}),
        ({"MQTT_URL": "mqtt://platform@broker.example"}, {"MQTT_URL"}),
        ({"MQTT_URL": "mqtt://platform:changeme1234@broker.example"}, {"MQTT_URL"}),
        ({"IIOT_ADMIN_PASSWORD": "eleven-char"}, {"IIOT_ADMIN_PASSWORD"}),
        ({"IIOT_SECRET_KEY": ""}, {"IIOT_SECRET_KEY"}),
        ({"IIOT_SECRET_KEY": SECRET_KEY[:31]}, {"IIOT_SECRET_KEY"}),
        ({"IIOT_METRICS_TOKEN": "", "REDIS_URL": "redis://r"}, {"IIOT_METRICS_TOKEN", "REDIS_URL"}),
    ],
)
def test_production_refuses_what_is_not_its_own(changed: dict[str, str], named: set[str]) -> None:
    assert _named({**PRODUCTION, **changed}) == named


def test_production_lists_its_problems_beside_the_others() -> None:
    environ = {**SOUND, "IIOT_ENV": "production", "MQTT_URL": "mqtt://h", "IIOT_PORT": "web", "REDIS_URL": ""}
    assert _named(environ) == {"IIOT_PORT", "REDIS_URL", "MQTT_URL"}
    del environ["IIOT_PORT"]
    assert _named(environ) == {"IIOT_METRICS_TOKEN", "REDIS_URL", "MQTT_URL"}


# Secrets -------------------------------------------------------------------------------------------


def _texts_of(settings: Settings) -> list[str]:
    sections = [
        settings.database,
        settings.redis,
        settings.mqtt,
        settings.access,
        settings.web,
        settings.demo,
    ]
    return [text for item in (settings, *sections) for text in (repr(item), str(item))]


def test_no_secret_is_in_any_text_of_the_settings() -> None:
    settings = load_settings(
        {
            **PRODUCTION,
            "IIOT_ADMIN_PASSWORD": f"{LONG}-4",
            "IIOT_DEMO_DEVICE_SECRET": f"{LONG}-5",
            "IIOT_APP_DATABASE_URL": f"postgresql://a:{LONG}-6@db/iiot",
        }
    )
    for text in _texts_of(settings):
        assert LONG not in text
        assert SECRET_KEY not in text
        assert PRODUCTION["IIOT_METRICS_TOKEN"] not in text


@pytest.mark.parametrize(
    "name", [*SOUND, "IIOT_APP_DATABASE_URL", "IIOT_ADMIN_PASSWORD", "IIOT_METRICS_TOKEN"]
)
@pytest.mark.parametrize(
    "value", ["canary-S3cret", "mqtt://u:canary-S3cret@h:port", "http://u:canary-S3cret@h"]
)
def test_no_secret_is_in_any_message(name: str, value: str) -> None:
    environ = {**SOUND, "IIOT_ENV": "production", "IIOT_PORT": "web", name: value}
    with pytest.raises(SettingsError) as refused:
        load_settings(environ)
    text = "".join(traceback.format_exception(refused.value))
    assert "canary-S3cret" not in text
    assert LONG not in text
    assert SECRET_KEY not in text
