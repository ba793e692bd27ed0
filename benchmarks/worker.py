"""A process beside the measurement: started, told to go, asked for its result."""

import json
import subprocess
import sys
from types import TracebackType
from typing import Any, Self


class Worker:
    """Runs `python -m MODULE ARGUMENT`, which says READY, waits for a line and prints JSON at its end."""

    def __init__(self, module: str, **given: object) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, json.dumps(given)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        line = self._output().readline()
        if line != "READY\n":
            self._process.kill()
            raise RuntimeError(f"{module} did not become ready: {line!r}")

    def go(self) -> None:
        """Have it begin."""
        if self._process.stdin is None:
            raise RuntimeError("it has no input")
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def result(self) -> Any:
        """Wait for its end and return what it measured."""
        output, _ = self._process.communicate()
        if self._process.returncode:
            raise RuntimeError(f"a worker failed with code {self._process.returncode}")
        return json.loads(output)

    def finish(self) -> Any:
        """Tell a worker that goes on until it is told to stop; return its result."""
        self.go()
        return self.result()

    def _output(self) -> Any:
        return self._process.stdout

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()
