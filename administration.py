"""What comes before the platform serves: the schema, the first tenant, the first administrator."""

from __future__ import annotations

import secrets
import sys

import migrations
import rbac
from api.passwords import Passwords, check_new_password
from migrations.readers import ReaderRefused
from migrations.readers import create_reader as create_reader_role
from migrations.runner import ROLES
from settings import Settings
from storage import accounts
from storage.pool import Pool, PoolOptions, SystemDatabase, translated_errors


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
    database = _system_database(settings)
    rbac.seed_tenant(database, settings.access.tenant, settings.access.tenant_name)
    database.close()
    print(f"The database is up to date ({len(applied)} migrations applied).")
    return 0


def create_admin(settings: Settings, *, given_email: str | None, if_none: bool) -> int:
    """Add an administrator to the first tenant."""
    database = _system_database(settings)
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


def create_reader(settings: Settings, *, name: str, tenant: str | None) -> int:
    """Add a login that reads one tenant's views, for Grafana; a new password where it exists already."""
    slug = tenant or settings.access.tenant
    database = _system_database(settings)
    with database.transaction() as cursor:
        tenant_id = accounts.tenant_id_of(cursor, slug)
    database.close()
    if tenant_id is None:
        print(f"There is no tenant {slug}.", file=sys.stderr)
        return 2
    password = secrets.token_urlsafe(24)
    try:
        with translated_errors():
            is_new = create_reader_role(
                settings.database.owner_url.get_secret_value(),
                role=name,
                tenant_id=tenant_id,
                password=password,
            )
    except ReaderRefused as error:
        print(f"No login was made: {error}.", file=sys.stderr)
        return 2
    verb = "Added" if is_new else "Changed the password of"
    print(f"{verb} the login {name}, which reads {slug}. Password, shown once: {password}")
    return 0


def _system_database(settings: Settings) -> SystemDatabase:
    database = settings.database
    options = PoolOptions(1, database.pool_wait_s, database.connect_timeout_s, database.statement_timeout_s)
    return SystemDatabase(Pool(settings.system_database_url, name="administration", options=options))
