"""The platform with one mistake put in: it acknowledges to the broker when it takes messages in hand.

The positive control of the chaos run: everything else is the real thing, so the losses that the oracle must
then report show that it would see them.
"""

import signal
import sys
import threading

from ingest.buffer import Item, Message
from ingest.writer import Writer
from observability import configure_logging
from runtime import Runtime
from settings import Settings, load_settings


class EarlyWriter(Writer):
    """Acknowledges before the commit."""

    def _store_until_done(self, items: list[Item]) -> None:
        self._acknowledge([(item.epoch, item.mid) for item in items if isinstance(item, Message)])
        super()._store_until_done(items)


class EarlyRuntime(Runtime):
    """The platform's parts with the mistaken writer."""

    def _build_ingest(self, settings: Settings) -> None:
        super()._build_ingest(settings)
        self.writer.__class__ = EarlyWriter


def main() -> int:
    """Run without HTTP until asked to stop."""
    settings = load_settings()
    configure_logging(format=settings.log.format, level=settings.log.level)
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: stopping.set())
    runtime = EarlyRuntime(settings)
    runtime.start()
    stopping.wait()
    return 0 if runtime.stop() else 1


if __name__ == "__main__":
    sys.exit(main())
