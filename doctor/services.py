"""Checks of Redis, the broker, and the way to them."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from urllib.parse import parse_qs, urlsplit

import cache
from doctor.finding import Finding, Level
from domain.errors import Unavailable
from mqtt.dynamic_security import DynamicSecurity, NoDynamicSecurity
from mqtt.probe import probe as probe_broker
from settings import Settings

OLDEST_REDIS = 7
_TIMEOUT_S = 5.0


def check_redis(settings: Settings) -> Iterator[Finding]:
    """Whether Redis answers, quickly, with bounded memory."""
    try:
        facts = cache.probe(settings.redis)
    except cache.CacheUnavailable as error:
        remedy = "Start Redis, or correct REDIS_URL. The platform runs without it, slower."
        yield Finding(Level.WARN, "Redis", str(error), remedy)
        return
    if int(facts.version.partition(".")[0]) < OLDEST_REDIS:
        remedy = f"Upgrade it to Redis {OLDEST_REDIS} or newer, or Valkey."
        yield Finding(Level.FAIL, "Redis", f"{facts.version} is too old", remedy)
    elif facts.answer_s > settings.redis.timeout_s:
        text = f"{facts.version} answers in {facts.answer_s:.2f} s"
        remedy = (
            f"Slower than IIOT_REDIS_TIMEOUT_S={settings.redis.timeout_s:g}: bring it nearer, or raise that."
        )
        yield Finding(Level.WARN, "Redis", text, remedy)
    else:
        yield Finding(Level.OK, "Redis", f"{facts.version} answers in {facts.answer_s * 1000:.1f} ms")
    if facts.max_memory_bytes and facts.eviction_policy.startswith("allkeys-"):
        text = f"bounded to {facts.max_memory_bytes / 1e6:.0f} MB, {facts.eviction_policy}"
        yield Finding(Level.OK, "Redis memory", text)
    else:
        bound = f"{facts.max_memory_bytes / 1e6:.0f} MB" if facts.max_memory_bytes else "unbounded"
        remedy = "In redis.conf: maxmemory 64mb and maxmemory-policy allkeys-lru"
        yield Finding(Level.WARN, "Redis memory", f"{bound}, {facts.eviction_policy}", remedy)


def check_broker(settings: Settings) -> Iterator[Finding]:
    """Whether the broker answers, keeps sessions and drops nothing."""
    try:
        facts = probe_broker(settings.mqtt, timeout_s=_TIMEOUT_S)
    except (OSError, ValueError) as error:
        remedy = "Start the broker, or correct MQTT_URL and IIOT_MQTT_CA_FILE."
        yield Finding(Level.FAIL, "broker", str(error) or type(error).__name__, remedy)
        return
    if facts.protocol == "MQTT 5":
        yield Finding(Level.OK, "broker", f"answers, {facts.protocol}")
    else:
        remedy = "Use Mosquitto 2 or another MQTT 5 broker: only then can the platform bound what it is sent."
        yield Finding(Level.WARN, "broker", f"answers, but only {facts.protocol}", remedy)
    if facts.keeps_sessions:
        yield Finding(Level.OK, "broker session", "kept while the platform is away")
    else:
        remedy = (
            "Let it keep sessions (Mosquitto: persistent_client_expiration 14d); see deploy/mosquitto.conf."
        )
        text = "not kept: messages are lost while the platform is away"
        yield Finding(Level.FAIL, "broker session", text, remedy)
    if facts.dropped:
        remedy = "Raise max_queued_messages and max_queued_bytes as in deploy/mosquitto.conf."
        text = f"{facts.dropped} dropped since the broker started: readings are missing"
        yield Finding(Level.WARN, "broker messages", text, remedy)
    else:
        known = "none dropped" if facts.dropped == 0 else "the broker does not say (yet) how many it dropped"
        yield Finding(Level.OK, "broker messages", known)
    payload_bytes, limit = settings.ingest.message_bytes, facts.max_packet_bytes
    if limit is not None and limit <= payload_bytes:
        text = f"the broker takes {limit} bytes, the platform payloads of {payload_bytes}"
        yield Finding(Level.WARN, "broker packets", text, "Raise the broker's max_packet_size.")


def check_device_users(settings: Settings) -> Iterator[Finding]:
    """Whether the platform can make users for devices at the broker, and shut them out."""
    try:
        count = len(DynamicSecurity(settings.mqtt, timeout_s=_TIMEOUT_S).users())
    except NoDynamicSecurity:
        text = (
            "the broker has no dynamic-security plugin that the platform may drive: revoking cuts nobody off"
        )
        remedy = (
            "Load the plugin and give the platform $CONTROL/dynamic-security/# as in deploy/mosquitto.conf;"
            "\nuntil then add the password_file_entry of each new credential to its password file by hand."
        )
        yield Finding(Level.WARN, "broker users", text, remedy)
    except Unavailable as problem:
        yield Finding(Level.WARN, "broker users", problem.detail, "See the findings about the broker.")
    else:
        yield Finding(
            Level.OK, "broker users", f"{count} made by the platform, which can shut them out at once"
        )


def check_encryption(settings: Settings) -> Iterator[Finding]:
    """In production, whether what leaves this machine is encrypted."""
    if not settings.is_production:
        yield Finding(Level.OK, "encryption", "not asked for in development")
        return
    plain = [
        name for name, url, is_encrypted in _connections(settings) if not is_encrypted and not is_local(url)
    ]
    if plain:
        remedy = "Use sslmode=verify-full in the database's URL, rediss:// and mqtts://."
        yield Finding(
            Level.WARN, "encryption", f"none to {', '.join(plain)}, which is another machine", remedy
        )
    else:
        yield Finding(Level.OK, "encryption", "every connection to another machine uses TLS")
    if _is_loopback(settings.web.host):
        yield Finding(Level.OK, "web server", f"listens on {settings.web.host}, for a TLS proxy in front")
    else:
        remedy = "It speaks plain HTTP: let only a TLS proxy reach it (docs/deployment.md)."
        yield Finding(Level.WARN, "web server", f"listens on {settings.web.host}", remedy)


def _connections(settings: Settings) -> Iterator[tuple[str, str, bool]]:
    for url in (settings.database.owner_url.get_secret_value(), settings.app_database_url):
        mode = parse_qs(urlsplit(url).query).get("sslmode", ["prefer"])[0]
        yield "PostgreSQL", url, mode in ("require", "verify-ca", "verify-full")
    redis_url, mqtt_url = settings.redis.url.get_secret_value(), settings.mqtt.url.get_secret_value()
    yield "Redis", redis_url, redis_url.startswith("rediss:")
    yield "the broker", mqtt_url, mqtt_url.startswith("mqtts:")


def is_local(url: str) -> bool:
    """Whether the URL names this machine."""
    return _is_loopback(urlsplit(url).hostname or "localhost")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
