"""Numbered steps on a terminal or in a log: what is being done, how far it is, how long it took."""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TextIO


class Steps:
    """The steps of one run; `total` of them are announced."""

    def __init__(self, total: int, *, stream: TextIO | None = None) -> None:
        self._total = total
        self._stream = stream if stream is not None else sys.stderr
        self._done = 0

    @contextlib.contextmanager
    def step(self, title: str, progress: Callable[[], str] | None = None) -> Iterator[None]:
        """Show `title` while the body runs; `progress` is asked for a few words about once a second."""
        self._done += 1
        head = f"  [{self._done}/{self._total}] {title}"
        started = time.monotonic()
        ended = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(head, started, ended, progress), daemon=True)
        print(head, end="", file=self._stream, flush=True)
        watcher.start()
        try:
            yield
        except BaseException:
            ended.set()
            watcher.join()
            print(file=self._stream, flush=True)
            raise
        ended.set()
        watcher.join()
        start_of_line = "\r\x1b[K" + head if self._stream.isatty() else ""
        print(f"{start_of_line}  {time.monotonic() - started:.1f} s", file=self._stream, flush=True)

    def _watch(
        self, head: str, started: float, ended: threading.Event, progress: Callable[[], str] | None
    ) -> None:
        interactive = self._stream.isatty()
        while not ended.wait(0.5 if interactive else 5.0):
            words = f"{progress()}, " if progress is not None else ""
            elapsed = f"{words}{time.monotonic() - started:.0f} s"
            if interactive:
                print(f"\r\x1b[K{head}  {elapsed}", end="", file=self._stream, flush=True)
            else:
                print(f" ... {elapsed}", end="", file=self._stream, flush=True)
