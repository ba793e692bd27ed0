"""Fixtures for all tests: real services, a database per test module, the two plants and their people.

`./run test` starts PostgreSQL, Redis and the broker and names them in `TEST_DATABASE_URL`, `TEST_REDIS_URL`
and `TEST_MQTT_URL`. Only tests that ask for a service need them.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from functools import cache

import pytest
from playwright.sync_api import Browser

from settings import Settings, load_settings, password_of
from storage.pool import AppDatabase, Pool, PoolOptions, SystemDatabase
from tests.application import Application, running_application
from tests.browser import Visit, started_browser, visiting
from tests.databases import copied_database, drop_database, ensure_template
from tests.people import Client, Plants, fixture_password_hash, settle, sign_in
from tests.server import PROJECT, Server, running_server
from tools.browser import BrowserError, find_browser

SECRET_KEY = "tests-only-R4nd0m-Key-that-is-long-enough-0123456789"
# Nothing listens there: for settings of tests that never talk to the service.
_NOWHERE = {"REDIS_URL": "redis://:nobody@127.0.0.1:9/0", "MQTT_URL": "mqtt://nobody:nobody@127.0.0.1:9"}
_RUN_VARIABLE = "IIOT_TEST_RUN"

SettingsFactory = Callable[..., Settings]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-browser", action="store_true", help="leave out the tests that need a browser")
    parser.addoption(
        "--write-generated",
        action="store_true",
        help="write docs/access-matrix.md and migrations/schema.txt anew",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--no-browser"):
        left_out = [item for item in items if item.get_closest_marker("browser")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say the figures that tests recorded with `record_property`."""
    for report in terminalreporter.stats.get("passed", []):
        figures = ", ".join(f"{name} {value}" for name, value in getattr(report, "user_properties", ()))
        if figures:
            terminalreporter.write_line(f"{report.nodeid.rpartition('::')[2]}: {figures}")


def pytest_configure(config: pytest.Config) -> None:
    # Workers of a parallel run inherit the variable, so that they share one template database.
    if not hasattr(config, "workerinput"):
        os.environ[_RUN_VARIABLE] = secrets.token_hex(4)


def pytest_sessionfinish(session: pytest.Session) -> None:
    server_url = os.environ.get("TEST_DATABASE_URL")
    if server_url and not hasattr(session.config, "workerinput"):
        drop_database(server_url, _template_name())


def _template_name() -> str:
    return f"iiot_test_{os.environ[_RUN_VARIABLE]}"


def _service_url(variable: str) -> str:
    url = os.environ.get(variable)
    if not url:
        raise pytest.UsageError(f"{variable} is not set; run the tests with: ./run test")
    return url


@pytest.fixture(scope="session")
def server_url() -> str:
    """The PostgreSQL server of this run, as a role that may create databases and roles."""
    return _service_url("TEST_DATABASE_URL")


@pytest.fixture(scope="session")
def redis_url() -> str:
    return _service_url("TEST_REDIS_URL")


@pytest.fixture(scope="session")
def mqtt_url() -> str:
    return _service_url("TEST_MQTT_URL")


@pytest.fixture(scope="session")
def template_database(server_url: str) -> str:
    """The name of the migrated, empty database that all others are copied from."""
    settings = _load(server_url)
    passwords = {
        "iiot_app": password_of(settings.app_database_url),
        "iiot_system": password_of(settings.system_database_url),
    }
    ensure_template(server_url, _template_name(), passwords)
    return _template_name()


@pytest.fixture(scope="module")
def owner_url(server_url: str, template_database: str) -> Iterator[str]:
    """A fresh, migrated database for this test module, as its owner."""
    with copied_database(server_url, template_database) as url:
        yield url


@pytest.fixture(scope="module")
def make_settings(owner_url: str) -> SettingsFactory:
    """Settings for this module's database; keyword arguments are further environment variables."""

    def make(**variables: str) -> Settings:
        return _load(owner_url, **variables)

    return make


@pytest.fixture(scope="module")
def settings(make_settings: SettingsFactory) -> Settings:
    return make_settings()


def _load(owner_url: str, **variables: str) -> Settings:
    services = {
        "REDIS_URL": os.environ.get("TEST_REDIS_URL") or _NOWHERE["REDIS_URL"],
        "MQTT_URL": os.environ.get("TEST_MQTT_URL") or _NOWHERE["MQTT_URL"],
    }
    return load_settings({"DATABASE_URL": owner_url, "IIOT_SECRET_KEY": SECRET_KEY, **services, **variables})


@pytest.fixture(scope="module")
def app_database(settings: Settings) -> Iterator[AppDatabase]:
    """The module's database as the role that serves requests."""
    database = AppDatabase(Pool(settings.app_database_url, name="tests-app", options=_pool_options(settings)))
    yield database
    database.close()


@pytest.fixture(scope="module")
def system_database(settings: Settings) -> Iterator[SystemDatabase]:
    """The module's database as the role that writes batches."""
    pool = Pool(settings.system_database_url, name="tests-system", options=_pool_options(settings))
    database = SystemDatabase(pool)
    yield database
    database.close()


def _pool_options(settings: Settings) -> PoolOptions:
    return PoolOptions(
        size=4,
        wait_s=settings.database.pool_wait_s,
        connect_timeout_s=settings.database.connect_timeout_s,
        statement_timeout_s=settings.database.statement_timeout_s,
    )


@pytest.fixture(scope="session")
def password_hash() -> str:
    """The hash of everybody's password, made once."""
    return fixture_password_hash()


@pytest.fixture(scope="module")
def plants(system_database: SystemDatabase, password_hash: str) -> Plants:
    """Plant A with alice, dave, oskar and vera; plant B with mallory. Their roles are in PEOPLE."""
    return settle(system_database, password_hash)


@pytest.fixture(scope="module")
def application(
    settings: Settings, app_database: AppDatabase, system_database: SystemDatabase, plants: Plants
) -> Iterator[Application]:
    """The API with the real ingest behind it, and everybody able to sign in."""
    with running_application(settings, app_database, system_database) as running:
        yield running


@pytest.fixture(scope="module")
def client(application: Application) -> Callable[[str], Client]:
    """Signs a person in: `client("alice")`; twice the same person is the same client."""
    return cache(lambda name: sign_in(application.app, name))


@pytest.fixture(scope="module")
def anybody(application: Application) -> Client:
    """A client that has not signed in."""
    return Client(application.app, None)


@pytest.fixture(scope="module")
def server(owner_url: str, redis_url: str, mqtt_url: str, plants: Plants) -> Iterator[Server]:
    """The whole platform in a process of its own, on this module's database."""
    with running_server(owner_url, redis_url, mqtt_url, secret_key=SECRET_KEY) as running:
        yield running


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A real browser; `--no-browser` leaves out the tests that need it."""
    try:
        program = find_browser(PROJECT / "var" / "vendor", announce=print)
    except BrowserError as error:
        pytest.fail(str(error))
    with started_browser(program) as running:
        yield running


@pytest.fixture
def visit(chromium: Browser, server: Server) -> Iterator[Visit]:
    """A fresh tab on the running platform; console errors and requests to other hosts fail the test."""
    with visiting(chromium, server.url) as open_tab:
        yield open_tab
