"""Checks of this process and its machine."""

from __future__ import annotations

import json
import platform
import resource
import shutil
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from doctor.finding import Finding, Level
from settings import Settings

PROJECT = Path(__file__).resolve().parents[1]
OLDEST_PYTHON = (3, 11)
_DISK_WARN_RATIO, _DISK_FAIL_RATIO = 0.10, 0.02
# Log files, pipes and libraries, beside what is counted.
_OTHER_FILES = 100


def check_python() -> Iterator[Finding]:
    """Whether this Python is new enough."""
    shown = f"{platform.python_version()}, {platform.system()} {platform.machine()}"
    if sys.version_info < OLDEST_PYTHON:
        yield Finding(Level.FAIL, "Python", shown, "Install Python 3.11 or newer.")
    else:
        yield Finding(Level.OK, "Python", shown)


def check_secrets(settings: Settings, folder: Path) -> Iterator[Finding]:
    """How long the secret key is, and who can read the generated secrets."""
    length = len(settings.access.secret_key.get_secret_value())
    yield Finding(Level.OK, "secrets", f"IIOT_SECRET_KEY has {length} characters")
    path = folder / "secrets.json"
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return
    if mode & 0o077:
        text = f"{path} has mode {mode:04o}: others can read it"
        yield Finding(Level.FAIL, "secrets file", text, f"chmod 600 {path}")
    else:
        yield Finding(Level.OK, "secrets file", f"{path} is readable by its owner only")


def check_disk(name: str, path: Path) -> Iterator[Finding]:
    """How much room is left; nothing where the path cannot be looked at."""
    try:
        usage = shutil.disk_usage(path)
    except OSError:
        return
    ratio = usage.free / usage.total
    text = f"{usage.free / 1e9:.1f} GB free of {usage.total / 1e9:.1f} GB ({ratio:.0%}) for {path}"
    remedy = "Make room, or move the data to a larger disk; PostgreSQL stops when it is full."
    if ratio < _DISK_FAIL_RATIO:
        yield Finding(Level.FAIL, f"disk, {name}", text, remedy)
    elif ratio < _DISK_WARN_RATIO:
        yield Finding(Level.WARN, f"disk, {name}", text, remedy)
    else:
        yield Finding(Level.OK, f"disk, {name}", text)


def check_console(console: Path = PROJECT / "console") -> Iterator[Finding]:
    """Whether the console's packages are in place."""
    wanted = json.loads((console / "package.json").read_text(encoding="utf-8"))["dependencies"]
    missing = [name for name in wanted if not any((console / "vendor" / name).rglob("*.*js"))]
    if missing:
        text = f"console/vendor lacks {', '.join(missing)}"
        yield Finding(Level.FAIL, "console", text, "Run `./run --help`, which fetches what is missing first.")
    else:
        yield Finding(Level.OK, "console", "its packages are in place")


def check_open_files(settings: Settings) -> Iterator[Finding]:
    """Whether as many files may be open as sockets, pools and threads can need."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    database, web = settings.database, settings.web
    pools = database.app_pool_size + database.system_pool_size + settings.redis.pool_size
    needed = web.threads + pools + _OTHER_FILES
    text = f"{limit} allowed here, up to {needed} needed ({web.max_sockets} sockets, {pools} pooled, others)"
    if limit != resource.RLIM_INFINITY and limit < needed:
        remedy = f"Raise it: `ulimit -n {2 * needed}`, or LimitNOFILE={2 * needed} in the systemd unit."
        yield Finding(Level.WARN, "open files", text, remedy)
    else:
        yield Finding(Level.OK, "open files", text)


def check_time_zones() -> Iterator[Finding]:
    """Whether Python has time zone data."""
    try:
        ZoneInfo("Europe/Berlin")
    except ZoneInfoNotFoundError:
        remedy = "Install the tzdata package of the system, or of Python: pip install tzdata"
        yield Finding(Level.WARN, "time zones", "Python finds no time zone data", remedy)
    else:
        yield Finding(Level.OK, "time zones", "known to Python")
