"""One running copy of the stack in one folder: its lock, its secrets, and where to find it."""

import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

GENERATORS: Mapping[str, Callable[[], str]] = {
    "secret_key": lambda: secrets.token_urlsafe(48),
    "admin_email": lambda: "admin@example.com",
    "admin_password": lambda: secrets.token_urlsafe(15),
    "demo_device_secret": lambda: secrets.token_urlsafe(32),
    "postgres_password": lambda: secrets.token_urlsafe(24),
    "redis_password": lambda: secrets.token_urlsafe(24),
    "mqtt_password": lambda: secrets.token_urlsafe(24),
}


class AlreadyRunning(Exception):
    """Another process holds this folder's lock; the message says where to find it."""


def write_private(path: Path, text: str) -> None:
    """Replace a file, readable by its owner only, in one step."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    unfinished.replace(path)


@dataclass(slots=True)
class Instance:
    """The folder of one instance (`var`, `var/test`, `var/bench`)."""

    folder: Path
    _lock: int | None = None

    @property
    def services_file(self) -> Path:
        """Where a running instance is described."""
        return self.folder / "services.json"

    def lock(self) -> None:
        """Take the folder's lock for this process's life.

        Raises:
            AlreadyRunning: when another process has it.
        """
        descriptor = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            running = self.described()
            where = (
                f"at {running['BASE_URL']}" if running else "(still starting, or busy with another command)"
            )
            raise AlreadyRunning(
                f"Already running {where} in {self.folder}. For a second copy set VAR_DIR and IIOT_PORT."
            ) from error
        self._lock = descriptor
        self.services_file.unlink(missing_ok=True)  # what a killed predecessor left

    def is_locked(self) -> bool:
        """Tell whether another process runs this instance now."""
        try:
            descriptor = os.open(self.folder / ".lock", os.O_RDWR)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(descriptor)
        return False

    def described(self) -> dict[str, str] | None:
        """Return the URLs of the running instance, None when it is not ready."""
        with contextlib.suppress(OSError, ValueError):
            content = json.loads(self.services_file.read_text(encoding="utf-8"))
            return {name: value for name, value in content.items() if isinstance(value, str)}
        return None

    def describe(self, urls: Mapping[str, str], pids: Mapping[str, int]) -> None:
        """Write `services.json`."""
        write_private(self.services_file, json.dumps({**urls, "pids": dict(pids)}, indent=2) + "\n")

    def secrets(self) -> dict[str, str]:
        """Return the instance's secrets, generating the missing ones once."""
        path = self.folder / "secrets.json"
        known: dict[str, str] = {}
        if path.exists():
            known = json.loads(path.read_text(encoding="utf-8"))
        missing = {name: generate() for name, generate in GENERATORS.items() if not known.get(name)}
        if missing:
            known = {**known, **missing}
            write_private(path, json.dumps(known, indent=2) + "\n")
        return known
