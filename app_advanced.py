"""The composition root and the command line: serve, migrate, check, seed, demo, create-admin.

`create_app` gives the Flask application, `application` is what gunicorn is pointed at, `main` is
`python app_advanced.py COMMAND`.
"""

from __future__ import annotations

import argparse
import atexit
import secrets
import sys
import threading
from collections.abc import Sequence
from types import FrameType
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.workers.gthread import ThreadWorker

import migrations
import rbac
from api.passwords import Passwords, check_new_password
from domain.errors import PlatformError
from migrations.runner import ROLES, MigrationError
from observability import configure_logging
from runtime import Runtime, system_database
from settings import Settings, SettingsError, load_settings
from storage import accounts
from storage.pool import translated_errors

EXIT_SETTINGS = 78


def create_app(settings: Settings) -> Flask:
    """The Flask application with every part built; `app.extensions["runtime"]` starts and stops them."""
    runtime = Runtime(settings)
    runtime.app.extensions["runtime"] = runtime
    return runtime.app


def application() -> Flask:
    """What `gunicorn --threads N "app_advanced:application()"` serves: one worker, started at once."""
    settings = load_settings()
    configure_logging(format=settings.log.format, level=settings.log.level)
    app = create_app(settings)
    runtime: Runtime = app.extensions["runtime"]
    runtime.start()
    atexit.register(runtime.stop)
    return app


# Commands -----------------------------------------------------------------------------------------------


class _Worker(ThreadWorker):  # type: ignore[misc]
    """gunicorn's threaded worker, which lets go of open sockets when it is told to stop."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        runtime: Runtime = self.app.runtime
        # A handler must return at once; and each open socket would otherwise hold its thread to the end.
        threading.Thread(target=runtime.realtime.disconnect_all, name="disconnect", daemon=True).start()


class _Server(BaseApplication):  # type: ignore[misc]
    """gunicorn with one worker that owns the runtime."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.runtime: Runtime | None = None
        super().__init__()

    def load_config(self) -> None:
        web = self._settings.web
        options: dict[str, Any] = {
            "bind": f"{web.host}:{web.port}",
            "workers": 1,
            "worker_class": _Worker,
            "threads": web.threads,
            "worker_connections": web.threads + 100,
            "graceful_timeout": 4,
            "timeout": 60,
            "keepalive": 15,
            "loglevel": "warning",
            "control_socket_disable": True,
            "worker_exit": self._stop,
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        app = create_app(self._settings)
        self.runtime = app.extensions["runtime"]
        self.runtime.start()
        return app

    def _stop(self, server: object, worker: object) -> None:
        if self.runtime is not None:
            self.runtime.stop()


def serve(settings: Settings) -> int:
    """Serve HTTP, Socket.IO and MQTT until told to stop."""
    _Server(settings).run()
    return 0


def migrate(settings: Settings) -> int:
    """Bring the database up to date: schema, database roles, the first tenant and its roles."""
    given = {
        "iiot_app": settings.database.app_url_given,
        "iiot_system": settings.database.system_url_given,
    }
    passwords = {
        role: settings.access.derived_secret(f"database role {role}") for role in ROLES if given[role] is None
    }
    with translated_errors():
        applied = migrations.apply_migrations(
            settings.database.owner_url.get_secret_value(), role_passwords=passwords, on_step=print
        )
    database = system_database(settings)
    rbac.seed_tenant(database, settings.access.tenant, settings.access.tenant_name)
    database.close()
    print(f"The database is up to date ({len(applied)} migrations applied).")
    return 0


def create_admin(settings: Settings, *, given_email: str | None, if_none: bool) -> int:
    """Add an administrator to the first tenant."""
    database = system_database(settings)
    with database.transaction() as cursor:
        tenant_id = accounts.ensure_tenant(
            cursor, slug=settings.access.tenant, name=settings.access.tenant_name
        )
        if if_none and accounts.has_user_with_role(cursor, tenant_id, "admin"):
            print("An administrator exists already.")
            return 0
        email = given_email or settings.access.admin_email
        if not email:
            print("Give an e-mail address: --email, or IIOT_ADMIN_EMAIL.", file=sys.stderr)
            return 2
        given = settings.access.admin_password
        password = given.get_secret_value() if given else secrets.token_urlsafe(15)
        check_new_password(password, email=email)
        user_id = accounts.create_user(
            cursor,
            tenant_id,
            email=email,
            name="Administrator",
            password_hash=Passwords().hash(password),
            roles=["admin"],
        )
        if user_id is None:
            print(f"{email} exists already.", file=sys.stderr)
            return 1
    print(f"Added the administrator {email}." + ("" if given else f" Password, shown once: {password}"))
    return 0


def check(settings: Settings) -> int:
    """Look at everything the platform needs and say what to do about what is wrong."""
    from doctor import examine

    return examine(settings)


_PLANT_COMMANDS = {
    "seed": "Register the demo plant's devices and load seven days of its history.",
    "demo": "Run the demo plant, or change what the running one does: --fault F2, --clear, --list.",
}


def _plant(command: str, arguments: Sequence[str]) -> int:
    from tools.plant import cli  # noqa: PLC0415 - tools are not needed to serve

    return cli.seed(arguments) if command == "seed" else cli.main(arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="app_advanced.py", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for function in (serve, migrate, check):
        plain = commands.add_parser(function.__name__, help=function.__doc__)
        plain.set_defaults(run=lambda settings, parsed, function=function: function(settings))
    admin = commands.add_parser("create-admin", help=create_admin.__doc__)
    admin.add_argument("--email", help="instead of IIOT_ADMIN_EMAIL")
    admin.add_argument("--if-none", action="store_true", help="only where the tenant has none yet")
    admin.set_defaults(
        run=lambda settings, parsed: create_admin(settings, given_email=parsed.email, if_none=parsed.if_none)
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
    except MigrationError as error:
        print(f"Cannot migrate: {error}", file=sys.stderr)
        return 1
    except PlatformError as error:
        print(f"{error.title} {error.detail}", file=sys.stderr)
        return 1
    return code


if __name__ == "__main__":
    sys.exit(main())
