"""The settings tree: the one place that reads the environment.

Every variable `NAME` may also be given as `NAME_FILE`, a path to a file that holds the value (secrets of
container platforms). `load_settings` lists all problems at once, and nothing has a default secret.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

MIN_SECRET_CHARS = 32

Environment = Literal["development", "production"]


class SettingsError(Exception):
    """The settings are not usable."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))


def _url_of(*schemes: str) -> AfterValidator:
    def check(url: SecretStr | None) -> SecretStr | None:
        if url is not None and not _is_url(url.get_secret_value(), schemes):
            raise ValueError(f"must look like {schemes[0]}://user:password@host:port")
        return url

    return AfterValidator(check)


def _is_url(text: str, schemes: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(text)
        has_address = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:  # Its text may quote the password, so it goes no further.
        return False
    return parts.scheme in schemes and has_address


def _check_secret_key(key: SecretStr) -> SecretStr:
    secret = key.get_secret_value()
    if len(secret) < MIN_SECRET_CHARS or len(set(secret)) < 10:
        raise ValueError(
            f"needs at least {MIN_SECRET_CHARS} random characters;"
            ' make one with: python3 -c "import secrets; print(secrets.token_urlsafe(48))"'
        )
    return key


def _origins_in(text: str) -> list[str]:
    return [origin.strip() for origin in text.split(",") if origin.strip()]


def _check_origins(text: str) -> str:
    for origin in _origins_in(text):
        is_origin = _is_url(origin, ("https", "http")) and not set("@*") & set(origin)
        if not is_origin or origin.lower() != "{0.scheme}://{0.netloc}".format(urlsplit(origin)):
            raise ValueError(
                "must be like https://board.example.com,https://hmi.example.com: no * and no path"
            )
    return text


DatabaseUrl = Annotated[SecretStr, _url_of("postgresql", "postgres")]
RedisUrl = Annotated[SecretStr, _url_of("redis", "rediss")]
MqttUrl = Annotated[SecretStr, _url_of("mqtt", "mqtts")]
Slug = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]


class _Section(BaseSettings):
    """A part of the tree; each field names its environment variable as its alias."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", populate_by_name=True, allow_inf_nan=False)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # `load_settings` hands the environment over explicitly, so that tests can pass their own.
        return (init_settings,)


class DatabaseSettings(_Section):
    """PostgreSQL: one URL per role, and the limits of the pools."""

    owner_url: DatabaseUrl = Field(alias="DATABASE_URL")
    app_url_given: DatabaseUrl | None = Field(default=None, alias="IIOT_APP_DATABASE_URL")
    system_url_given: DatabaseUrl | None = Field(default=None, alias="IIOT_SYSTEM_DATABASE_URL")
    app_pool_size: int = Field(default=16, ge=1, le=500, alias="IIOT_DATABASE_APP_POOL_SIZE")
    system_pool_size: int = Field(default=6, ge=2, le=100, alias="IIOT_DATABASE_SYSTEM_POOL_SIZE")
    pool_wait_s: float = Field(default=5.0, gt=0, alias="IIOT_DATABASE_POOL_WAIT_S")
    connect_timeout_s: int = Field(default=5, ge=1, alias="IIOT_DATABASE_CONNECT_TIMEOUT_S")
    statement_timeout_s: float = Field(default=15.0, gt=0, alias="IIOT_DATABASE_STATEMENT_TIMEOUT_S")


class RedisSettings(_Section):
    """Redis: a cache that may vanish at any time."""

    url: RedisUrl = Field(alias="REDIS_URL")
    pool_size: int = Field(default=50, ge=1, alias="IIOT_REDIS_POOL_SIZE")
    timeout_s: float = Field(default=0.25, gt=0, alias="IIOT_REDIS_TIMEOUT_S")
    latest_ttl_s: int = Field(default=600, ge=1, alias="IIOT_REDIS_LATEST_TTL_S")


class MqttSettings(_Section):
    """The broker, and how the platform behaves towards it."""

    url: MqttUrl = Field(alias="MQTT_URL")
    topic_root: str = Field(
        default="iiot/v1", pattern=r"^[^+#/\x00][^+#\x00]{0,100}[^+#/\x00]$", alias="IIOT_MQTT_TOPIC_ROOT"
    )
    client_id: str = Field(default="iiot-platform", min_length=1, max_length=64, alias="IIOT_MQTT_CLIENT_ID")
    keepalive_s: int = Field(default=30, ge=5, le=600, alias="IIOT_MQTT_KEEPALIVE_S")
    receive_maximum: int = Field(default=2000, ge=20, le=65_000, alias="IIOT_MQTT_RECEIVE_MAXIMUM")
    ca_file: Path | None = Field(default=None, alias="IIOT_MQTT_CA_FILE")
    client_certificate_file: Path | None = Field(default=None, alias="IIOT_MQTT_CLIENT_CERTIFICATE_FILE")
    client_key_file: Path | None = Field(default=None, alias="IIOT_MQTT_CLIENT_KEY_FILE")
    backoff_max_s: float = Field(default=30.0, ge=1, alias="IIOT_MQTT_BACKOFF_MAX_S")


class IngestSettings(_Section):
    """What is accepted as a reading, and how much is held in memory."""

    auto_register_given: bool | None = Field(default=None, alias="IIOT_INGEST_AUTO_REGISTER")
    future_limit_s: float = Field(default=600.0, gt=0, alias="IIOT_INGEST_FUTURE_LIMIT_S")
    lateness_s: float = Field(default=7 * 86_400.0, gt=0, alias="IIOT_INGEST_LATENESS_S")
    linger_s: float = Field(default=0.02, ge=0, le=5, alias="IIOT_INGEST_LINGER_S")
    batch_messages: int = Field(default=5000, ge=1, le=50_000, alias="IIOT_INGEST_BATCH_MESSAGES")
    batch_bytes: int = Field(default=4_000_000, ge=1000, alias="IIOT_INGEST_BATCH_BYTES")
    buffer_messages: int = Field(default=20_000, ge=100, le=60_000, alias="IIOT_INGEST_BUFFER_MESSAGES")
    buffer_bytes: int = Field(default=32_000_000, ge=100_000, alias="IIOT_INGEST_BUFFER_BYTES")
    message_bytes: int = Field(default=262_144, ge=1024, alias="IIOT_INGEST_MESSAGE_BYTES")
    message_readings: int = Field(default=10_000, ge=1, alias="IIOT_INGEST_MESSAGE_READINGS")
    metrics_per_device: int = Field(default=1000, ge=1, alias="IIOT_INGEST_METRICS_PER_DEVICE")
    commit_wait_s: float = Field(default=10.0, gt=0, alias="IIOT_INGEST_COMMIT_WAIT_S")
    partitions_ahead_days: int = Field(default=3, ge=1, le=60, alias="IIOT_INGEST_PARTITIONS_AHEAD_DAYS")


class WebSettings(_Section):
    """The HTTP and Socket.IO server."""

    host: str = Field(default="127.0.0.1", alias="IIOT_HOST")
    port: int = Field(default=5002, ge=0, le=65_535, alias="IIOT_PORT")
    max_sockets: int = Field(default=150, ge=1, le=2000, alias="IIOT_MAX_SOCKETS")
    request_threads: int = Field(default=32, ge=4, le=500, alias="IIOT_REQUEST_THREADS")
    max_body_bytes: int = Field(default=1_048_576, ge=1024, alias="IIOT_MAX_BODY_BYTES")
    allowed_origins: Annotated[str, AfterValidator(_check_origins)] = Field(
        default="", alias="IIOT_ALLOWED_ORIGINS"
    )
    hsts_s: int = Field(default=0, ge=0, le=2 * 31_536_000, alias="IIOT_HSTS_S")
    broadcast_interval_s: float = Field(default=0.25, gt=0, le=10, alias="IIOT_BROADCAST_INTERVAL_S")
    metrics_token: SecretStr | None = Field(default=None, alias="IIOT_METRICS_TOKEN")

    @property
    def threads(self) -> int:
        """Worker threads: each open socket holds one, the rest answer HTTP."""
        return self.max_sockets + self.request_threads

    @property
    def origins(self) -> list[str]:
        """Foreign origins that may call the API and open sockets; the own origin always may."""
        return _origins_in(self.allowed_origins)


class AccessSettings(_Section):
    """Tokens, and the first tenant and administrator."""

    secret_key: Annotated[SecretStr, AfterValidator(_check_secret_key)] = Field(alias="IIOT_SECRET_KEY")
    previous_secret_key: Annotated[SecretStr, AfterValidator(_check_secret_key)] | None = Field(
        default=None, alias="IIOT_PREVIOUS_SECRET_KEY"
    )
    access_token_s: int = Field(default=900, ge=60, le=86_400, alias="IIOT_ACCESS_TOKEN_S")
    refresh_token_s: int = Field(default=30 * 86_400, ge=600, alias="IIOT_REFRESH_TOKEN_S")
    tenant: Slug = Field(default="default", alias="IIOT_TENANT")
    tenant_name: str = Field(default="Default", min_length=1, max_length=200, alias="IIOT_TENANT_NAME")
    admin_email: str | None = Field(default=None, alias="IIOT_ADMIN_EMAIL")
    admin_password: SecretStr | None = Field(default=None, alias="IIOT_ADMIN_PASSWORD")

    def derived_secret(self, purpose: str) -> str:
        """A secret of its own for one purpose: HMAC-SHA256 of the purpose under the secret key."""
        return _derived(self.secret_key, purpose)

    def previous_derived_secret(self, purpose: str) -> str | None:
        """The same secret under the key that was replaced, or None where none is named."""
        return None if self.previous_secret_key is None else _derived(self.previous_secret_key, purpose)


def _derived(secret_key: SecretStr, purpose: str) -> str:
    digest = hmac.digest(secret_key.get_secret_value().encode(), purpose.encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


class AlertSettings(_Section):
    """The life of alerts."""

    shelve_max_s: float = Field(default=86_400.0, ge=1, le=366 * 86_400, alias="IIOT_ALERT_SHELVE_MAX_S")
    timers_s: float = Field(default=5.0, ge=0.1, le=300, alias="IIOT_ALERT_TIMERS_S")


class LogSettings(_Section):
    """Logging."""

    format: Literal["console", "json"] = Field(default="console", alias="IIOT_LOG_FORMAT")
    level: Literal["debug", "info", "warning", "error"] = Field(default="info", alias="IIOT_LOG_LEVEL")


class DemoSettings(_Section):
    """The demo plant; used by the `demo` command only."""

    device_secret: SecretStr | None = Field(default=None, alias="IIOT_DEMO_DEVICE_SECRET")


_SECTIONS: dict[str, type[_Section]] = {
    "database": DatabaseSettings,
    "redis": RedisSettings,
    "mqtt": MqttSettings,
    "ingest": IngestSettings,
    "web": WebSettings,
    "access": AccessSettings,
    "alerts": AlertSettings,
    "log": LogSettings,
    "demo": DemoSettings,
}


class Settings(_Section):
    """The whole tree, frozen."""

    environment: Environment = Field(default="development", alias="IIOT_ENV")
    database: DatabaseSettings
    redis: RedisSettings
    mqtt: MqttSettings
    ingest: IngestSettings
    web: WebSettings
    access: AccessSettings
    alerts: AlertSettings
    log: LogSettings
    demo: DemoSettings

    @property
    def is_production(self) -> bool:
        """Whether strict behaviour is on: tokens for metrics, no auto-registration, no details in errors."""
        return self.environment == "production"

    @property
    def auto_register(self) -> bool:
        """Whether unknown devices and metrics are registered by their first reading."""
        given = self.ingest.auto_register_given
        return not self.is_production if given is None else given

    @property
    def app_database_url(self) -> str:
        """URL of the role that serves requests (forced row-level security)."""
        return self._role_url("iiot_app", self.database.app_url_given)

    @property
    def system_database_url(self) -> str:
        """URL of the role that writes batches and background work (bypasses row-level security)."""
        return self._role_url("iiot_system", self.database.system_url_given)

    def _role_url(self, role: str, given: SecretStr | None) -> str:
        if given is not None:
            return given.get_secret_value()
        parts = urlsplit(self.database.owner_url.get_secret_value())
        host = parts.netloc.rpartition("@")[2]
        password = quote(self.access.derived_secret(f"database role {role}"), safe="")
        return urlunsplit(parts._replace(netloc=f"{role}:{password}@{host}"))


def password_of(url: str) -> str:
    """The password inside a URL, decoded; empty where it has none."""
    return unquote(urlsplit(url).password or "")


def documented_variables() -> list[str]:
    """Names of all environment variables, in the order of the tree."""
    names = ["IIOT_ENV"]
    for section in _SECTIONS.values():
        names += [str(field.alias) for field in section.model_fields.values()]
    return names


def load_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the environment into one frozen tree.

    Raises:
        SettingsError: with every problem found, each naming its variable.
    """
    problems: list[str] = []
    values = _with_files(environ, problems)
    sections: dict[str, Any] = {}
    for name, section in _SECTIONS.items():
        try:
            sections[name] = section.model_validate(_given(section, values))
        except ValidationError as error:
            problems += _described(error)
    environment = values.get("IIOT_ENV") or "development"
    if environment not in get_args(Environment):
        problems.append(f"IIOT_ENV: must be {' or '.join(get_args(Environment))}, not {environment!r}")
    elif environment == "production":
        problems += _production_problems(sections)
    if problems:
        raise SettingsError(problems)
    return Settings.model_validate({"IIOT_ENV": environment, **sections})


def _given(section: type[_Section], values: Mapping[str, str]) -> dict[str, Any]:
    aliases = {str(field.alias) for field in section.model_fields.values() if field.alias}
    return {name: values[name] for name in aliases if values.get(name, "") != ""}


def _with_files(environ: Mapping[str, str], problems: list[str]) -> dict[str, str]:
    values = dict(environ)
    for name in documented_variables():
        path = environ.get(f"{name}_FILE")
        if not path:
            continue
        if environ.get(name):
            problems.append(f"{name}: given twice, directly and through {name}_FILE; remove one")
            continue
        try:
            values[name] = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            problems.append(f"{name}_FILE: cannot read {path!r} ({error.__class__.__name__})")
    return values


def _described(error: ValidationError) -> list[str]:
    """One line per problem; never the value, which may be a secret."""
    lines = []
    for item in error.errors(include_url=False, include_input=False, include_context=False):
        name = ".".join(str(part) for part in item["loc"])
        message = "is missing" if item["type"] == "missing" else item["msg"].removeprefix("Value error, ")
        lines.append(f"{name}: {message}" if name else message)
    return lines


def _production_problems(sections: Mapping[str, Any]) -> list[str]:
    """What is not good enough for production in the sections that could be read at all."""
    problems = []
    if "web" in sections and not sections["web"].metrics_token:
        problems.append(
            "IIOT_METRICS_TOKEN: is missing; production does not publish /metrics without a token"
        )
    for name, section, field in (
        ("DATABASE_URL", "database", "owner_url"),
        ("REDIS_URL", "redis", "url"),
        ("MQTT_URL", "mqtt", "url"),
    ):
        if section not in sections:
            continue
        password = password_of(getattr(sections[section], field).get_secret_value())
        if len(password) < 12 or password.lower() in _WELL_KNOWN_PASSWORDS:
            problems.append(
                f"{name}: needs a password of at least 12 characters that is not a well-known one"
            )
    admin = sections["access"].admin_password if "access" in sections else None
    if admin is not None and len(admin.get_secret_value()) < 12:
        problems.append("IIOT_ADMIN_PASSWORD: needs at least 12 characters")
    return problems


_WELL_KNOWN_PASSWORDS = frozenset(
    {"changeme1234", "password1234", "postgrespassword", "administrator", "123456789012"}
)
