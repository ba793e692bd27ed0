"""The platform in a chaos run: started, killed with all its processes, started again, watched."""

import contextlib
import os
import re
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tools.bootstrap import PROJECT
from tools.services.child import Child
from tools.services.supervisor import FIRST_RESTART_DELAY_S

_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_STORED = re.compile(rb"^iiot_readings_stored_total ([0-9.e+]+)", re.MULTILINE)
_PROPORTIONAL = re.compile(r"^Pss: +([0-9]+) kB", re.MULTILINE)
_BUFFERED = re.compile(rb"^iiot_buffer_messages ([0-9.e+]+)", re.MULTILINE)


def resident_mb(session: int) -> float:
    """Return the resident memory of all processes of a session in MB, shared pages once; 0 without any."""
    total_kb = 0
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            if os.getsid(int(folder.name)) == session:
                rollup = (folder / "smaps_rollup").read_text(encoding="ascii")
                total_kb += sum(int(size) for size in _PROPORTIONAL.findall(rollup))
    return total_kb * 1024 / 1e6


def processor_s(session: int) -> float:
    """Return the processor time that the living processes of a session have used, in seconds."""
    ticks = 0
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            if os.getsid(int(folder.name)) == session:
                stat = (folder / "stat").read_text(encoding="utf-8", errors="replace")
                ticks += sum(int(count) for count in stat.rpartition(")")[2].split()[11:13])
    return ticks / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Progress:
    """What the platform says of itself since its start."""

    stored: int
    buffered: int


@dataclass(slots=True)
class Victim:
    """The platform's process; `recoveries_s`: from a kill to the first reading stored after it."""

    command: Sequence[str]
    environment: Mapping[str, str]
    port: int
    log: Path
    child: Child = field(init=False)
    peak_mb: float = field(default=0.0, init=False)
    recoveries_s: list[float] = field(default_factory=list, init=False)
    unwanted_exits: list[int] = field(default_factory=list, init=False)
    _killed_at: float | None = field(default=None, init=False)
    _restart_at: float | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.child = Child("platform", self.command, cwd=PROJECT, environment=self.environment, log=self.log)

    @property
    def is_running(self) -> bool:
        """Whether it runs, be it still starting."""
        return self.child.is_running

    def start(self) -> None:
        """Start it for the first time."""
        self.child.spawn()

    def kill(self) -> None:
        """Kill every process of the platform at once."""
        os.killpg(self.child.pid, signal.SIGKILL)
        self.child.wait()
        now = time.monotonic()
        self._killed_at = self._killed_at or now
        self._restart_at = now + FIRST_RESTART_DELAY_S

    def tend(self, *, may_store: bool) -> None:
        """Start it again when it is due, measure its memory, notice its first stored reading after a kill.

        `may_store` says whether PostgreSQL is there; a recovery that had to wait for it is not counted.
        """
        now = time.monotonic()
        if not self.child.is_running:
            if self._restart_at is None:
                self.unwanted_exits.append(self.child.exit_code or 0)
                self._restart_at = now + FIRST_RESTART_DELAY_S
            if now >= self._restart_at:
                self.child.spawn()
                self._restart_at = None
            return
        self.peak_mb = max(self.peak_mb, resident_mb(self.child.pid))
        if self._killed_at is None:
            return
        if not may_store:
            self._killed_at = None
        elif (progress := self.progress()) is not None and progress.stored:
            self.recoveries_s.append(time.monotonic() - self._killed_at)
            self._killed_at = None

    def progress(self) -> Progress | None:
        """Ask how much is stored and waiting; None while it does not answer."""
        try:
            with _direct.open(f"http://127.0.0.1:{self.port}/metrics", timeout=0.5) as answer:
                page: bytes = answer.read()
        except (OSError, urllib.error.URLError):
            return None
        stored, buffered = _STORED.search(page), _BUFFERED.search(page)
        return Progress(
            int(float(stored[1])) if stored else 0,
            int(float(buffered[1])) if buffered else 0,
        )

    def stop(self) -> None:
        """Stop it in good order."""
        self.child.stop(20.0)
