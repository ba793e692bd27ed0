"""The composition root and the command line: serve, migrate, check, seed, demo, create-admin, create-reader.

`create_app` gives the Flask application, `application` is what gunicorn is pointed at, `main` is
`python app_advanced.py COMMAND`. Each command imports what it needs when it runs: loading the web server
takes a second that `migrate` should not wait for.
"""

from __future__ import annotations

import argparse
import atexit
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from domain.errors import PlatformError
from observability import configure_logging
from settings import Settings, SettingsError, load_settings

if TYPE_CHECKING:
    from flask import Flask

EXIT_SETTINGS = 78


def create_app(settings: Settings) -> Flask:
    """The Flask application with every part built; `app.extensions["runtime"]` starts and stops them."""
    from runtime import Runtime

    runtime = Runtime(settings)
    runtime.app.extensions["runtime"] = runtime
    return runtime.app


def application() -> Flask:
    """What `gunicorn --threads N "app_advanced:application()"` serves: one worker, started at once."""
    settings = load_settings()
    configure_logging(format=settings.log.format, level=settings.log.level)
    app = create_app(settings)
    app.extensions["runtime"].start()
    atexit.register(app.extensions["runtime"].stop)
    return app


# Commands -----------------------------------------------------------------------------------------------


def serve(settings: Settings) -> int:
    """Serve HTTP, Socket.IO and MQTT until told to stop."""
    from server import Server

    Server(settings, create_app).run()
    return 0


def migrate(settings: Settings, *, with_admin: bool) -> int:
    """Bring the database up to date: schema, database roles, the first tenant and its roles."""
    import administration
    from migrations.runner import MigrationError

    try:
        code = administration.migrate(settings)
    except MigrationError as error:
        print(f"Cannot migrate: {error}", file=sys.stderr)
        return 1
    return administration.create_admin(settings, given_email=None, if_none=True) if with_admin else code


def create_admin(settings: Settings, *, email: str | None, if_none: bool) -> int:
    """Add an administrator to the first tenant."""
    import administration

    return administration.create_admin(settings, given_email=email, if_none=if_none)


def create_reader(settings: Settings, *, name: str, tenant: str | None) -> int:
    """Add a login that reads one tenant's views, for Grafana; a new password where it exists already."""
    import administration

    return administration.create_reader(settings, name=name, tenant=tenant)


def check(settings: Settings) -> int:
    """Look at everything the platform needs and say what to do about what is wrong."""
    from doctor import examine

    return examine(settings)


_PLANT_COMMANDS = {
    "seed": "Register the demo plant's devices and load seven days of its history.",
    "demo": "Run the demo plant, or change what the running one does: --fault F2, --clear, --list.",
}


def _plant(command: str, arguments: Sequence[str]) -> int:
    from tools.plant import cli

    return cli.seed(arguments) if command == "seed" else cli.main(arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="app_advanced.py", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    upgrade = commands.add_parser("migrate", help=migrate.__doc__)
    upgrade.add_argument("--with-admin", action="store_true", help="and add an administrator where none is")
    upgrade.set_defaults(run=lambda settings, parsed: migrate(settings, with_admin=parsed.with_admin))
    for function in (serve, check):
        plain = commands.add_parser(function.__name__, help=function.__doc__)
        plain.set_defaults(run=lambda settings, parsed, function=function: function(settings))
    admin = commands.add_parser("create-admin", help=create_admin.__doc__)
    admin.add_argument("--email", help="instead of IIOT_ADMIN_EMAIL")
    admin.add_argument("--if-none", action="store_true", help="only where the tenant has none yet")
    admin.set_defaults(
        run=lambda settings, parsed: create_admin(settings, email=parsed.email, if_none=parsed.if_none)
    )
    reader = commands.add_parser("create-reader", help=create_reader.__doc__)
    reader.add_argument("name", help="the login's name in PostgreSQL, such as grafana_reader")
    reader.add_argument("--tenant", help="slug of the tenant, instead of IIOT_TENANT")
    reader.set_defaults(
        run=lambda settings, parsed: create_reader(settings, name=parsed.name, tenant=parsed.tenant)
    )
    for name, text in _PLANT_COMMANDS.items():
        commands.add_parser(name, help=text, add_help=False)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    parsed, rest = _parser().parse_known_args(arguments)
    if parsed.command in _PLANT_COMMANDS:
        return _plant(parsed.command, rest)
    if rest:
        _parser().error(f"unknown arguments: {' '.join(rest)}")
    try:
        settings = load_settings()
    except SettingsError as error:
        print(
            "The settings are not usable:",
            *(f"  - {problem}" for problem in error.problems),
            sep="\n",
            file=sys.stderr,
        )
        return EXIT_SETTINGS
    configure_logging(format=settings.log.format, level=settings.log.level)
    try:
        code: int = parsed.run(settings, parsed)
    except PlatformError as error:
        print(f"{error.title} {error.detail}", file=sys.stderr)
        return 1
    return code


if __name__ == "__main__":
    sys.exit(main())
