"""Watching children: signals, restarts with back-off, and the end of a run."""

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import FrameType

from tools.services.child import Child, ServiceError

FIRST_RESTART_DELAY_S = 0.5
LONGEST_RESTART_DELAY_S = 30.0
STEADY_AFTER_S = 60.0
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """The user or the system asked to stop; like KeyboardInterrupt, for every stop signal, and only once."""


@dataclass(slots=True)
class Restarts:
    """When to start a dead process again: at once is for the first time, then slower and slower."""

    delay_s: float = FIRST_RESTART_DELAY_S

    def next_delay_s(self, lived_s: float) -> float:
        """Return how long to wait before the next start of a process that lived so long."""
        if lived_s >= STEADY_AFTER_S:
            self.delay_s = FIRST_RESTART_DELAY_S
        delay_s, self.delay_s = self.delay_s, min(self.delay_s * 2, LONGEST_RESTART_DELAY_S)
        return delay_s


@dataclass(slots=True)
class Application:
    """A process of the application, which is restarted when it dies."""

    child: Child
    restarts: Restarts = field(default_factory=Restarts)
    spawned_at: float = field(default_factory=time.monotonic)
    restart_at: float | None = None


class Supervisor:
    """Waits, without polling, for children to die or for somebody to ask for the end."""

    def __init__(
        self, services: Callable[[], Mapping[str, Child]], announce: Callable[[str], object]
    ) -> None:
        self._services = services
        self._announce = announce
        self._applications: list[Application] = []
        self._stopping = False
        self._woken, self._wake = -1, -1

    @contextlib.contextmanager
    def signals(self) -> Iterator[None]:
        """Turn stop signals into `Interrupted` (once) while the body runs; let child deaths wake `watch`."""
        self._woken, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        before = {number: signal.signal(number, self._on_stop_signal) for number in STOP_SIGNALS}
        before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda number, frame: None)
        wakeup_before = signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(wakeup_before)
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(self._woken)
            os.close(self._wake)

    def _on_stop_signal(self, number: int, frame: FrameType | None) -> None:
        if not self._stopping:
            self._stopping = True
            raise Interrupted

    def ignore_further_signals(self) -> None:
        """From here on the end is orderly; another Ctrl-C does not cut it short."""
        self._stopping = True

    def add(self, child: Child) -> None:
        """Start a process of the application and keep it alive from now on."""
        child.spawn()
        self._applications.append(Application(child))

    def watch(self, on_restart: Callable[[], object]) -> None:
        """Keep the application alive until somebody asks for the end.

        Raises:
            Interrupted: when asked to stop.
            ServiceError: when a data service died; the message holds the end of its log.
        """
        while True:
            for service in self._services().values():
                if service.exit_code is not None:
                    raise ServiceError(
                        f"{service.name} ended unexpectedly (code {service.exit_code}); {service.log}:\n"
                        f"{service.log_tail()}"
                    )
            timeout_s = self._tend_applications(on_restart)
            select.select([self._woken], [], [], timeout_s)
            with contextlib.suppress(BlockingIOError):
                os.read(self._woken, 4096)

    def _tend_applications(self, on_restart: Callable[[], object]) -> float | None:
        """Schedule and do restarts; return the seconds until the next one is due, None without one."""
        now = time.monotonic()
        due: list[float] = []
        for application in self._applications:
            child = application.child
            if child.exit_code is None:
                continue
            if application.restart_at is None:
                delay_s = application.restarts.next_delay_s(now - application.spawned_at)
                application.restart_at = now + delay_s
                self._announce(
                    f"{child.name} ended (code {child.exit_code}); starting it again in {delay_s:.1f} s. "
                    f"Its log: {child.log}"
                )
            if application.restart_at <= now:
                child.spawn()
                application.spawned_at, application.restart_at = now, None
                on_restart()
            else:
                due.append(application.restart_at - now)
        return min(due) if due else None

    def stop_applications(self, timeout_s: float) -> None:
        """Stop the application's processes, the last started first to be asked."""
        for application in reversed(self._applications):
            application.child.ask_to_stop()
        for application in reversed(self._applications):
            application.child.wait_stopped(timeout_s)

    def pids(self) -> dict[str, int]:
        """Return the process ids of everything that runs."""
        children = [
            *self._services().items(),
            *((entry.child.name, entry.child) for entry in self._applications),
        ]
        return {name: child.pid for name, child in children if child.is_running}


def run_in_foreground(child: Child) -> int:
    """Run a command that keeps the terminal; return its exit code as a shell would.

    Ctrl-C reaches it from the terminal; other stop signals are passed on. Services outlive it either way.
    """

    def pass_on(number: int, _frame: FrameType | None) -> None:
        from_terminal = os.isatty(0) and os.tcgetpgrp(0) == os.getpgrp()
        if child.process is not None and not (number == signal.SIGINT and from_terminal):
            child.process.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in STOP_SIGNALS}
    try:
        child.spawn()
        code = child.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return code if code >= 0 else 128 - code
