"""Child processes that never outlive the supervisor, and what the kernel says about foreign ones."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PR_SET_PDEATHSIG = 1
LOG_LIMIT_BYTES = 10 * 1024 * 1024
POLL_S = 0.02
ADDRESS_IN_USE = "Address already in use"

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class ServiceError(Exception):
    """A service cannot be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Account:
    """The system user that services run as when the supervisor is root."""

    name: str
    uid: int
    gid: int


def die_with_parent(death_signal: signal.Signals, parent: int) -> Callable[[], None]:
    """Return what a child runs before exec so that the kernel sends it `death_signal` when its parent dies.

    Works on Linux; elsewhere the pid files are the safety net. The signal follows the thread that spawned the
    child: call from the main thread only.
    """

    def arm() -> None:
        if _libc is not None:
            _libc.prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
            if os.getppid() != parent:  # it died before the line above
                os._exit(1)

    return arm


@dataclass(slots=True)
class Child:
    """One supervised process.

    With a `log` it lives in a session of its own and writes there (only its standard output with
    `errors_to_terminal`); without one it keeps the terminal.
    """

    name: str
    argv: Sequence[str]
    cwd: Path
    environment: Mapping[str, str]
    log: Path | None = None
    account: Account | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    errors_to_terminal: bool = False
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    log_start: int = field(default=0, init=False)

    def spawn(self) -> None:
        """Start the process.

        Raises:
            ServiceError: when its program cannot be executed.
        """
        output = self._open_log()
        account = self.account
        try:
            self.process = subprocess.Popen(
                list(self.argv),
                cwd=self.cwd,
                env=dict(self.environment),
                stdin=None if output is None else subprocess.DEVNULL,
                stdout=output,
                stderr=None if output is None or self.errors_to_terminal else subprocess.STDOUT,
                start_new_session=output is not None,
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
                preexec_fn=die_with_parent(self.stop_signal, os.getpid()),  # noqa: PLW1509 - single-threaded here
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise ServiceError(f"{self.name} cannot be started: {error}") from error
        finally:
            if output is not None:
                os.close(output)

    def _open_log(self) -> int | None:
        if self.log is None:
            return None
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > LOG_LIMIT_BYTES:
            self.log.replace(self.log.with_name(self.log.name + ".1"))
        descriptor = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
        self.log_start = os.fstat(descriptor).st_size
        return descriptor

    @property
    def pid(self) -> int:
        """The process id, 0 before the first start."""
        return self.process.pid if self.process is not None else 0

    @property
    def exit_code(self) -> int | None:
        """The exit code, negative for a signal; None while it runs or before the first start."""
        return self.process.poll() if self.process is not None else None

    @property
    def is_running(self) -> bool:
        """Whether the process was started and has not ended."""
        return self.process is not None and self.process.poll() is None

    def wait(self) -> int:
        """Wait for the end, however long it takes; return the exit code."""
        return self.process.wait() if self.process is not None else 0

    def ask_to_stop(self) -> None:
        """Send the stop signal, if it still runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(self.stop_signal)

    def wait_stopped(self, timeout_s: float) -> None:
        """Wait for the end; after `timeout_s` kill the process."""
        if self.process is None:
            return
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def stop(self, timeout_s: float = 15.0) -> None:
        """Ask to stop and wait; after `timeout_s` kill."""
        self.ask_to_stop()
        self.wait_stopped(timeout_s)

    def log_tail(self, lines: int = 15) -> str:
        """Return the end of what this start wrote to the log, indented, to be shown with an error."""
        if self.log is None or not self.log.exists():
            return ""
        with self.log.open("rb") as stream:
            stream.seek(max(self.log_start, self.log.stat().st_size - 16_384))
            tail = stream.read().decode("utf-8", "replace").splitlines()[-lines:]
        return "\n".join("    " + line for line in tail)


def started(child: Child | None) -> Child:
    """Return the child, for those who call in the right order.

    Raises:
        RuntimeError: when it was never spawned.
    """
    if child is None:
        raise RuntimeError("spawn() comes first")
    return child


def command_line(pid: int) -> str | None:
    """Return a process's command line; None when it is gone, a zombie, or nobody can tell."""
    folder = Path(f"/proc/{pid}")
    if Path("/proc/self").exists():
        try:
            state = (
                (folder / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
            )
            words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "surrogateescape")
        except (OSError, IndexError):
            return None
        return None if state in "ZX" else words
    listed = subprocess.run(
        ["ps", "-o", "stat=,command=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return None if listed.returncode != 0 or listed.stdout.startswith("Z") else listed.stdout


def end_leftover(pid_file: Path, marker: str, stop_signal: signal.Signals, timeout_s: float = 30.0) -> None:
    """End what a killed supervisor left running: the pid in the file, if its command line has `marker`."""
    try:
        pid = int(pid_file.read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return
    if marker not in (command_line(pid) or ""):
        return
    os.kill(pid, stop_signal)
    deadline = time.monotonic() + timeout_s
    while marker in (command_line(pid) or ""):
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            return
        time.sleep(POLL_S)
