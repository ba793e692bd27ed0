"""What the stack reads from the user's environment, and the environment that it gives to the application."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from tools.services.child import ServiceError
from tools.services.cluster import URL_NAMES
from tools.services.mosquitto import DEFAULT_MAX_QUEUED_BYTES

DEFAULT_PORT = 5002
# What development generates into secrets.json; in production users bring their own.
GENERATED = {
    "IIOT_SECRET_KEY": "secret_key",
    "IIOT_ADMIN_EMAIL": "admin_email",
    "IIOT_ADMIN_PASSWORD": "admin_password",
    "IIOT_DEMO_DEVICE_SECRET": "demo_device_secret",
}
NEEDED_IN_PRODUCTION = ("IIOT_SECRET_KEY",)


def variable(environ: Mapping[str, str], name: str) -> str | None:
    """Return a variable's value, or the content of the file that `NAME_FILE` names; None when neither is set.

    Raises:
        ServiceError: when that file cannot be read.
    """
    if environ.get(name):
        return environ[name]
    path = environ.get(f"{name}_FILE")
    if not path:
        return None
    try:
        return Path(path).read_text(encoding="utf-8").strip() or None
    except OSError as error:
        raise ServiceError(f"{name}_FILE names a file that cannot be read: {error}") from error


def without(environ: Mapping[str, str], names: Sequence[str]) -> dict[str, str]:
    """Return the environment without these variables and their `_FILE` forms."""
    gone = {*names, *(f"{name}_FILE" for name in names)}
    return {name: value for name, value in environ.items() if name not in gone}


def external_urls(environ: Mapping[str, str], prefix: str = "") -> dict[str, str]:
    """Return the URLs of services that the user runs himself; tests have their own variables (`TEST_`)."""
    found = {name: variable(environ, prefix + name) for name in URL_NAMES}
    return {name: url for name, url in found.items() if url}


def is_production(environ: Mapping[str, str]) -> bool:
    """Tell whether the user asked for production, where no secret of the platform is generated for him."""
    return (variable(environ, "IIOT_ENV") or "development") == "production"


def number(environ: Mapping[str, str], name: str, default: int) -> int:
    """Return a variable as a whole number >= 0.

    Raises:
        ServiceError: when it is something else.
    """
    text = variable(environ, name)
    if text is None:
        return default
    if not text.isdecimal():
        raise ServiceError(f"{name} must be a whole number, not {text!r}.")
    return int(text)


def max_queued_bytes(environ: Mapping[str, str]) -> int:
    """Return how many bytes the broker may queue for a client that is away."""
    return number(environ, "IIOT_MQTT_MAX_QUEUED_BYTES", DEFAULT_MAX_QUEUED_BYTES)


def refuse_incomplete_production(environ: Mapping[str, str]) -> None:
    """Refuse a production start that lacks what only the user can give.

    Raises:
        ServiceError: naming what is missing.
    """
    missing = [name for name in NEEDED_IN_PRODUCTION if not variable(environ, name)]
    if missing:
        raise ServiceError(
            f"IIOT_ENV=production generates no secrets: set {', '.join(missing)} (or the name with _FILE). "
            "`./run check` lists everything that production needs."
        )


def application_environment(
    environ: Mapping[str, str], urls: Mapping[str, str], secrets: Mapping[str, str], port: int
) -> dict[str, str]:
    """Return the environment of the platform's processes; what the user set stays as he set it."""
    given = {**without(environ, URL_NAMES), **urls, "IIOT_PORT": str(port)}
    given.setdefault("IIOT_ENV", "development")
    # Some hundred threads would each keep a heap of their own; two are as fast and much smaller.
    given.setdefault("MALLOC_ARENA_MAX", "2")
    if not is_production(environ):
        for name, key in GENERATED.items():
            if not environ.get(name) and not environ.get(f"{name}_FILE"):
                given[name] = secrets[key]
    return given


def load_secrets(folder: Path) -> dict[str, str]:
    """Return the secrets of a running instance, empty when another user's."""
    try:
        loaded: dict[str, str] = json.loads((folder / "secrets.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return loaded
