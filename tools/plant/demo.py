"""Runs the demo plant: registers its devices, publishes at once, loads the history in the background."""

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from domain.errors import PlatformError
from fleet.registry import Registry
from settings import Settings
from storage.ingest import tenant_by_slug
from storage.pool import AppDatabase, Pool, PoolOptions, SystemDatabase
from tools.plant import labels
from tools.plant.broker import Broker, BrokerUnreachable, connected
from tools.plant.control_desk import ControlDesk
from tools.plant.history import HistoryLoader, past_episodes
from tools.plant.model.episodes import Episode
from tools.plant.model.plant import DEFAULT_SEED, Plant
from tools.plant.publisher import Publisher
from tools.plant.registration import register

_RETRY_S = 2.0
_HISTORY_STOP_S = 10.0
_LOAD_TIMEOUT_S = 120.0


class DemoRefused(Exception):
    """The demo plant cannot run here."""


def run_demo(
    settings: Settings,
    broker: Broker,
    *,
    label_file: Path,
    seed: int = DEFAULT_SEED,
    with_history: bool = True,
    stop: threading.Event | None = None,
) -> None:
    """Run the plant until SIGTERM, SIGINT or `stop`.

    Args:
        settings: Where the database is, which tenant the devices belong to, and their secret.
        broker: Where the broker is.
        label_file: Where the faults are written down, read at the start.
        seed: The plant's seed.
        with_history: Whether to load what is missing of the last seven days.
        stop: Ends the run when set; without it the signals do.

    Raises:
        DemoRefused: The tenant does not exist, or the label file is damaged.
        PlatformError: The database refuses or cannot be reached.
    """
    if stop is None:
        stop = threading.Event()
        _stop_on_signals(stop)
    found = _first_broker(broker, stop)
    if found is None:
        return
    started_s = int(time.time())
    with databases(settings) as (app_database, system_database):
        tenant_id = prepare(settings, app_database, system_database)
        episodes = known_episodes(label_file, started_s if with_history else None)
        plant = Plant(seed, episodes)
        secret = settings.demo.device_secret
        publisher = Publisher(
            found,
            plant,
            ControlDesk(plant, label_file, time.time),
            tenant=settings.access.tenant,
            device_secret=secret.get_secret_value() if secret else "",
            topic_root=settings.mqtt.topic_root,
        )
        loader = HistoryLoader(system_database, tenant_id, started_s=started_s)

        def load() -> None:
            try:
                load_history(loader, Plant(seed, episodes), stop)
            except PlatformError as error:
                print(
                    f"The history is not complete, the next start goes on: {error}",
                    file=sys.stderr,
                    flush=True,
                )

        history = threading.Thread(target=load, name="demo-history", daemon=True)

        def heard() -> None:
            _print_connections(publisher)
            if with_history:
                history.start()

        publisher.run(stop, on_first_connection=heard)
        if history.ident is not None:
            history.join(_HISTORY_STOP_S)


def _print_connections(publisher: Publisher) -> None:
    for device_id, reason in publisher.refusals.items():
        print(f"{device_id} has no connection: {reason}", file=sys.stderr, flush=True)
    if publisher.strangers:
        print(
            f"The broker knows no users for {len(publisher.strangers)} demo devices: "
            "they publish as the platform, and one can speak for another.",
            file=sys.stderr,
            flush=True,
        )
    if not publisher.refusals:
        print("All devices are connected.", flush=True)


def load_history(loader: HistoryLoader, plant: Plant, stop: threading.Event) -> int:
    """Load what is missing of the history, with a progress bar on a terminal; return the readings loaded."""
    total = loader.plan()
    if not total:
        print("The history is there already.", flush=True)
        return 0
    began_s = time.monotonic()
    with tqdm(
        total=total, desc="History, 7 days", unit=" readings", unit_scale=True, file=sys.stderr, disable=None
    ) as bar:
        loaded = loader.load(plant, stop, on_progress=bar.update)
    print(f"Loaded {loaded:,} readings of history in {time.monotonic() - began_s:.1f} s.", flush=True)
    return loaded


@contextmanager
def databases(settings: Settings) -> Iterator[tuple[AppDatabase, SystemDatabase]]:
    """Lend the two ways into the database, with the time that bulk loading takes."""
    options = PoolOptions(
        size=2,
        wait_s=settings.database.pool_wait_s,
        connect_timeout_s=settings.database.connect_timeout_s,
        statement_timeout_s=_LOAD_TIMEOUT_S,
    )
    app_database = AppDatabase(Pool(settings.app_database_url, name="demo-app", options=options))
    system_database = SystemDatabase(Pool(settings.system_database_url, name="demo-system", options=options))
    try:
        yield app_database, system_database
    finally:
        app_database.close()
        system_database.close()


def prepare(settings: Settings, app_database: AppDatabase, system_database: SystemDatabase) -> int:
    """Register the devices and return the number of their tenant.

    Raises:
        DemoRefused: The tenant does not exist.
    """
    slug = settings.access.tenant
    with system_database.transaction() as cursor:
        tenant_id = tenant_by_slug(cursor, slug)
    if tenant_id is None:
        raise DemoRefused(f"there is no tenant {slug}; run the command `migrate` first")
    registry = Registry(app_database, metrics_per_device=settings.ingest.metrics_per_device)
    for problem in register(registry, tenant_id):
        print(problem, file=sys.stderr, flush=True)
    return tenant_id


def known_episodes(label_file: Path, started_s: int | None) -> tuple[Episode, ...]:
    """Return what the label file knows; a new one starts with the faults of the history before `started_s`.

    Raises:
        DemoRefused: The label file is damaged.
    """
    try:
        episodes = labels.read(label_file)
    except ValueError as error:
        raise DemoRefused(str(error)) from error
    if not episodes and started_s is not None:
        episodes = past_episodes(started_s // 60 * 60)
        try:
            labels.write(label_file, episodes)
        except OSError as error:
            print(f"The label file cannot be written: {error}", file=sys.stderr, flush=True)
    return episodes


def _first_broker(broker: Broker, stop: threading.Event) -> Broker | None:
    """Wait for the broker and return it with the protocol it speaks; None when stopped meanwhile."""
    said = ""
    while not stop.is_set():
        try:
            found, client = connected(broker, "demo-plant-probe")
        except BrokerUnreachable as error:
            if str(error) != said:
                said = str(error)
                print(said, file=sys.stderr, flush=True)
            stop.wait(_RETRY_S)
        else:
            client.disconnect()
            client.loop(0.1)
            return found
    return None


def _stop_on_signals(stop: threading.Event) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
