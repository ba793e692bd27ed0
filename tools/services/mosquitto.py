"""The MQTT broker: Mosquitto 2 from PATH, else unpacked without root from the distribution's own packages.

Where neither works, the pure Python broker of the lock file takes its place, degraded: MQTT 3.1.1 only, its
queue dies with it, about a tenth of the speed.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from tools import apt
from tools.services import broker_users, ports
from tools.services.child import ADDRESS_IN_USE, POLL_S, Child, ServiceError, end_leftover, started
from tools.services.external import mqtt_login
from tools.services.place import Place, can_use

PREFERRED_PORT = 1883
START_TIMEOUT_S = 15.0
MAX_PAYLOAD_BYTES = 262_144
PLUGIN = "mosquitto_dynamic_security.so"
PLUGIN_FOLDERS = ("/usr/lib/*", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/opt/homebrew/lib")
# Nobody may do anything until the platform says so; it adds the devices that have a credential.
NO_USERS = {
    "defaultACLAccess": {
        "publishClientSend": False,
        "publishClientReceive": False,
        "subscribe": False,
        "unsubscribe": True,
    },
    "clients": [],
    "groups": [],
    "roles": [],
}
PACKET_HEADROOM_BYTES = 4_096  # topic, properties and header beside the largest payload
# Not 0, which means no limit too, but makes Mosquitto 2.0 cut a connection after every denied publish.
NO_MESSAGE_LIMIT = 1_000_000_000
DEFAULT_MAX_QUEUED_BYTES = 512 * 1024 * 1024
DEGRADED = (
    "WARNING: no Mosquitto 2 here ({reason}): using the Python fallback broker. It speaks MQTT 3.1.1 only, "
    "forgets its queue when it stops and is slow. Remedy: install mosquitto, or set MQTT_URL."
)


@dataclass(frozen=True, slots=True)
class Program:
    """A runnable Mosquitto and the folder of libraries that were unpacked with it, if any."""

    path: Path
    libraries: Path | None = None

    def environment(self) -> dict[str, str]:
        """Return the environment to run it in."""
        base = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", "TZ": "UTC"}
        return {**base, "LD_LIBRARY_PATH": str(self.libraries)} if self.libraries else base

    def plugin(self) -> Path | None:
        """Return the dynamic-security plugin that came with it, if there is one."""
        folders = (
            [self.libraries]
            if self.libraries
            else [folder for pattern in PLUGIN_FOLDERS for folder in Path("/").glob(pattern[1:])]
        )
        return next((folder / PLUGIN for folder in folders if (folder / PLUGIN).exists()), None)

    def major_version(self) -> int:
        """Return the major version it prints, 0 when it does not run."""
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            shown = subprocess.run(
                [self.path, "-h"],
                env=self.environment(),
                capture_output=True,
                text=True,
                check=False,
                timeout=10,
            )
            found = re.search(r"mosquitto version (\d+)", shown.stdout + shown.stderr)
            return int(found.group(1)) if found else 0
        return 0


def installed_program() -> Program | None:
    """Return a Mosquitto >= 2 of this system."""
    search = os.pathsep.join(
        (os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin")
    )
    found = shutil.which("mosquitto", path=search)
    if found is None:
        return None
    program = Program(Path(found))
    return program if program.major_version() >= 2 else None


def unpacked_program(folder: Path) -> Program | None:
    """Return the Mosquitto that was unpacked into `folder` earlier."""
    path = folder / "usr" / "sbin" / "mosquitto"
    if not path.exists():
        return None
    libraries = next((library.parent for library in folder.glob("usr/lib/*/libmosquitto.so.1")), None)
    return Program(path, libraries)


def find_program(place: Place, vendor: Path, announce: Callable[[str], object]) -> Program:
    """Return a Mosquitto that the services' user can execute, fetching it the first time.

    Raises:
        ServiceError: when this system has none and none can be fetched.
    """
    program = installed_program()
    if program is not None and can_use(place.account, program.path):
        return program
    folder = vendor / "mosquitto"
    if unpacked_program(folder) is None:
        announce("Fetching Mosquitto from the distribution's packages (nothing is installed)")
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            apt.unpack(["mosquitto"], folder)
        except apt.AptError as error:
            raise ServiceError(str(error)) from error
    program = unpacked_program(place.programs([folder])[0])
    if program is None or program.major_version() < 2:
        raise ServiceError("the distribution's Mosquitto does not run here")
    return program


def configuration(port: int, *, max_queued_bytes: int, plugin: Path | None = None) -> str:
    """Return the broker's configuration; its files lie in the broker's folder, hence the relative names.

    The limits are those that lose no acknowledged message: Mosquitto's defaults drop everything past 1,000
    queued messages while confirming it, and lose half an hour of queue when killed. With `plugin` the
    platform makes the users of devices; those of the password file stay.
    """
    dynamic = [f"plugin {plugin}", "plugin_opt_config_file dynamic-security.json"] if plugin else []
    return "\n".join(
        (
            f"listener {port} {ports.LOOPBACK}",
            "allow_anonymous false",
            "password_file passwords",
            "acl_file acl",
            *dynamic,
            "persistence true",
            "persistence_location ./",
            "autosave_interval 1",
            "persistent_client_expiration 14d",
            f"max_queued_messages {NO_MESSAGE_LIMIT}",
            f"max_queued_bytes {max_queued_bytes}",
            "max_inflight_messages 0",
            f"max_packet_size {MAX_PAYLOAD_BYTES + PACKET_HEADROOM_BYTES}",
            "sys_interval 5",
            "log_dest stderr",
            "log_type error",
            "log_type warning",
            "log_type notice",
            "log_timestamp_format %Y-%m-%dT%H:%M:%S",
            "",
        )
    )


@dataclass(slots=True)
class Broker:
    """One MQTT broker in `place`; `passwords` are its users."""

    place: Place
    log: Path
    vendor: Path
    passwords: Mapping[str, str]
    announce: Callable[[str], object]
    preferred_port: int = PREFERRED_PORT
    max_queued_bytes: int = DEFAULT_MAX_QUEUED_BYTES
    port: int = field(default=0, init=False)
    is_degraded: bool = field(default=False, init=False)
    child: Child | None = field(default=None, init=False)

    def url(self) -> str:
        """Return the platform's connection URL."""
        user = broker_users.PLATFORM_USER
        return f"mqtt://{user}:{quote(self.passwords[user], safe='')}@{ports.LOOPBACK}:{self.port}"

    def spawn(self) -> None:
        """Start the broker, or the fallback with a warning; `wait_ready` follows."""
        folder = self.place.private_folder("mqtt")
        self.port = ports.choose(self.preferred_port)
        try:
            self._spawn_mosquitto(folder, find_program(self.place, self.vendor, self.announce))
        except ServiceError as error:
            self.announce(DEGRADED.format(reason=error))
            self.is_degraded = True
            self._spawn_fallback(folder)

    def wait_ready(self) -> None:
        """Wait until it accepts the platform's login.

        Raises:
            ServiceError: with the end of the log when it does not in time.
        """
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            child = started(self.child)
            try:
                mqtt_login(self.url(), timeout_s=2.0)
                return
            except ServiceError as error:
                lost_the_port = child.exit_code is not None and ADDRESS_IN_USE in child.log_tail()
                if lost_the_port and time.monotonic() < deadline:
                    self.spawn()
                    continue
                if child.exit_code is not None or time.monotonic() > deadline:
                    raise ServiceError(
                        f"The MQTT broker did not start ({error}); {self.log}:\n{child.log_tail()}"
                    ) from error
            time.sleep(POLL_S)

    def stop(self, timeout_s: float = 15.0) -> None:
        """Stop the broker; Mosquitto saves its queues first."""
        if self.child is not None:
            self.child.stop(timeout_s)

    def _spawn_mosquitto(self, folder: Path, program: Program) -> None:
        settings = folder / "mosquitto.conf"
        pid_file = self.place.folder / "mosquitto.pid"
        end_leftover(pid_file, str(settings), signal.SIGTERM)  # two brokers must never share one queue file
        plugin = program.plugin()
        self.place.write(
            settings, configuration(self.port, max_queued_bytes=self.max_queued_bytes, plugin=plugin)
        )
        users = folder / "dynamic-security.json"
        if plugin is not None and not users.exists():
            self.place.write(users, json.dumps(NO_USERS))
        self.place.write(folder / "passwords", broker_users.mosquitto_passwords(self.passwords))
        self.place.write(folder / "acl", broker_users.mosquitto_acl())
        self.child = Child(
            "mqtt",
            [str(program.path), "-c", str(settings)],
            cwd=folder,
            environment=program.environment(),
            log=self.log,
            account=self.place.account,
        )
        self.child.spawn()
        pid_file.write_text(str(self.child.pid), encoding="ascii")

    def _spawn_fallback(self, folder: Path) -> None:
        """Start the Python broker: as the services' user if that user can reach the virtual environment."""
        from argon2 import PasswordHasher  # loaded only here: it is slow to load and seldom needed

        # The passwords are long and random; the library's default cost would block the broker at every login.
        hasher = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
        hashes = "".join(f"{user}:{hasher.hash(password)}\n" for user, password in self.passwords.items())
        self.place.write(folder / "passwords.argon2", hashes)
        plugins = {
            "amqtt.plugins.authentication.FileAuthPlugin": {
                "password_file": str(folder / "passwords.argon2")
            },
            "amqtt.plugins.topic_checking.TopicAccessControlListPlugin": broker_users.amqtt_acl(
                self.passwords
            ),
            "amqtt.plugins.sys.broker.BrokerSysPlugin": {"sys_interval": 5},
        }
        listeners = {"default": {"type": "tcp", "bind": f"{ports.LOOPBACK}:{self.port}"}}
        settings = folder / "amqtt.json"  # JSON is YAML, which it reads
        self.place.write(settings, json.dumps({"listeners": listeners, "plugins": plugins}, indent=1))
        usable = can_use(self.place.account, Path(sys.executable).resolve()) and can_use(
            self.place.account, Path(sys.prefix)
        )
        start = "from amqtt.scripts.broker_script import main; main()"
        self.child = Child(
            "mqtt",
            [sys.executable, "-P", "-c", start, "-c", str(settings)],
            cwd=folder,
            environment={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", "TZ": "UTC"},
            log=self.log,
            account=self.place.account if usable else None,
            stop_signal=signal.SIGINT,  # it does not handle SIGTERM
        )
        self.child.spawn()
