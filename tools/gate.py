"""The quick gate before a commit: lint, format, types, security and the tests that need no service.

`python -m tools.gate` runs all five side by side and prints one line for each; `python -m tools.gate
types tests` runs only those named. The exit code is 0 when all passed, 1 when one failed, 2 for
an unknown name.
"""

import argparse
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Slowest first, so that the short ones fill the other processor. Each runs as `python -m ...`.
CHECKS: dict[str, tuple[str, ...]] = {
    "types": ("mypy",),
    "tests": ("pytest", "-q", "-m", "not services and not browser"),
    "security": ("bandit", "-q", "-c", "pyproject.toml", "-r", "."),
    "lint": ("ruff", "check", "."),
    "format": ("ruff", "format", "--check", "."),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one check ended.

    Attributes:
        name: The check's name on the command line.
        passed: Whether its exit code was 0.
        duration_s: Wall-clock time it took.
        output: What it printed, both streams in order.
    """

    name: str
    passed: bool
    duration_s: float
    output: str


class Gate:
    """Runs checks as child processes and ends them all when it is interrupted."""

    def __init__(self, checks: Mapping[str, tuple[str, ...]], root: Path) -> None:
        """Take the checks by name, each as arguments to `python -m`, and the folder they run in."""
        self._checks = checks
        self._root = root
        self._children: list[subprocess.Popen[str]] = []
        self._lock = threading.Lock()
        self._stopped = False

    def run(self) -> list[Outcome]:
        """Run all checks, print each as it ends with the output of those that fail."""
        outcomes = []
        with ThreadPoolExecutor(max_workers=max(2, os.cpu_count() or 2)) as pool:
            pending: list[Future[Outcome]] = [pool.submit(self._check, name) for name in self._checks]
            try:
                for future in as_completed(pending):
                    outcome = future.result()
                    outcomes.append(outcome)
                    _print_outcome(outcome)
            except KeyboardInterrupt:
                self._stop()
                raise
        return outcomes

    def _check(self, name: str) -> Outcome:
        started = time.monotonic()
        with self._lock:
            if self._stopped:
                return Outcome(name, passed=False, duration_s=0.0, output="not run")
            child = subprocess.Popen(
                [sys.executable, "-m", *self._checks[name]],
                cwd=self._root,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            )
            self._children.append(child)
        output, _ = child.communicate()
        return Outcome(name, child.returncode == 0, time.monotonic() - started, output)

    def _stop(self) -> None:
        with self._lock:
            self._stopped = True
            for child in self._children:
                if child.poll() is None:
                    child.terminate()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the checks named in `arguments`, or all; return the exit code."""
    parser = argparse.ArgumentParser(prog="gate", description="The quick gate before a commit.")
    parser.add_argument(
        "names", nargs="*", metavar="check", help=f"one of {', '.join(CHECKS)}; all by default"
    )
    names: list[str] = parser.parse_args(arguments).names or list(CHECKS)
    if unknown := [name for name in names if name not in CHECKS]:
        parser.error(f"no check is called {', '.join(unknown)}; there are {', '.join(CHECKS)}")
    started = time.monotonic()
    outcomes = Gate({name: CHECKS[name] for name in names}, ROOT).run()
    failed = [outcome.name for outcome in outcomes if not outcome.passed]
    verdict = f"FAILED: {', '.join(failed)}" if failed else "all passed"
    print(f"gate: {len(outcomes)} checks in {time.monotonic() - started:.1f} s, {verdict}")
    return 1 if failed else 0


def _print_outcome(outcome: Outcome) -> None:
    mark = "ok  " if outcome.passed else "FAIL"
    print(f"{mark} {outcome.name:<9}{outcome.duration_s:6.1f} s", flush=True)
    if not outcome.passed:
        print(outcome.output, flush=True)
    elif outcome.name == "tests" and outcome.output.strip():
        # pytest's closing line says how many tests ran, which a bare "ok" would hide.
        print(f"     {outcome.output.strip().splitlines()[-1]}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
