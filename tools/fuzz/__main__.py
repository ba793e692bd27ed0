"""`./run fuzz`: the platform on services of its own, and requests as anonymous, viewer and administrator."""

import argparse
import json
import os
import random
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rbac
from api.passwords import Passwords
from runtime import system_database
from settings import load_settings
from storage import accounts
from tools.bootstrap import PROJECT
from tools.fuzz.campaign import Effort, Outcome, Person, send
from tools.services.child import Child, ServiceError
from tools.services.welcome import is_ready

VIEWER = ("fuzz-viewer@example.com", "a viewer that reads at random")
CASES = 50_000
CASES_PER_OPERATION = 100
READY_WITHIN_S = 60.0
MOST_LIMITED_SHARE = 0.01
# Tokens last for the run, so that the routes are tested and not the door; rate limits are raised here too.
RAISED = {"IIOT_ACCESS_TOKEN_S": "86400", "IIOT_LOG_LEVEL": "error"}
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@contextmanager
def running_platform(environment: dict[str, str], log: Path) -> Iterator[str]:
    """Migrate, start the platform, wait until it is ready; yield its address."""
    command = (sys.executable, str(PROJECT / "app_advanced.py"))
    migration = Child(
        "migrate", [*command, "migrate", "--with-admin"], cwd=PROJECT, environment=environment, log=log
    )
    migration.spawn()
    if migration.wait() != 0:
        raise ServiceError(f"the database cannot be migrated:\n{migration.log_tail()}")
    platform = Child("platform", [*command, "serve"], cwd=PROJECT, environment=environment, log=log)
    platform.spawn()
    address = f"http://127.0.0.1:{environment['IIOT_PORT']}"
    deadline = time.monotonic() + READY_WITHIN_S
    try:
        while not is_ready(address):
            if not platform.is_running or time.monotonic() > deadline:
                raise ServiceError(f"the platform does not start:\n{platform.log_tail()}")
            time.sleep(0.1)
        yield address
    finally:
        platform.stop()


def add_viewer(environment: dict[str, str]) -> None:
    """Add somebody to the first tenant who may only read."""
    settings = load_settings(environment)
    database = system_database(settings)
    tenant_id = rbac.seed_tenant(database, settings.access.tenant, settings.access.tenant_name)
    with database.transaction() as cursor:
        accounts.create_user(
            cursor,
            tenant_id,
            email=VIEWER[0],
            name="Viewer",
            password_hash=Passwords().hash(VIEWER[1]),
            roles=["viewer"],
        )
    database.close()


def sign_in(address: str, email: str, password: str) -> str:
    """Return an access token."""
    request = urllib.request.Request(  # noqa: S310 - the platform's own address
        f"{address}/api/v1/auth/login",
        json.dumps({"email": email, "password": password}).encode(),
        {"Content-Type": "application/json"},
    )
    with _direct.open(request, timeout=30) as answer:
        return str(json.loads(answer.read())["access_token"])


def figures_of(seed: int, outcomes: list[Outcome], seconds: float) -> dict[str, Any]:
    """What is printed, and written as JSON."""
    return {
        "seed": seed,
        "seconds": round(seconds, 1),
        "cases": sum(outcome.cases for outcome in outcomes),
        "server_errors": sum(
            count
            for outcome in outcomes
            for status, count in outcome.by_status().items()
            if status.startswith("5") and status != "503"
        ),
        "people": {
            outcome.person: {
                "cases": outcome.cases,
                "runs": len(outcome.seeds),
                "by_status": outcome.by_status(),
                "failures": outcome.failures,
            }
            for outcome in outcomes
        },
    }


def is_clean(outcomes: list[Outcome]) -> bool:
    """Whether every answer was right, and few were refused for their number."""
    return all(
        not outcome.failures and outcome.share_of(429) < MOST_LIMITED_SHARE and outcome.cases
        for outcome in outcomes
    )


def main(arguments: list[str]) -> int:
    """Run as all three; 0 when every answer was documented and none was a failure."""
    parser = argparse.ArgumentParser(prog="./run fuzz", description=sys.modules["tools.fuzz"].__doc__)
    parser.add_argument("--cases", type=int, default=CASES, help=f"requests in all ({CASES})")
    parser.add_argument("--seed", type=int, help="repeat a run; a random one is printed otherwise")
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    given = parser.parse_args(arguments)
    seed = given.seed if given.seed is not None else random.SystemRandom().randrange(1_000_000)
    environment = {**os.environ, **RAISED}
    log = Path(environment["VAR_DIR"]) / "log" / "fuzz.log"
    print(f"Seed {seed}, {given.cases} requests; the platform logs to {log}", file=sys.stderr, flush=True)
    began_at = time.monotonic()
    outcomes: list[Outcome] = []
    with running_platform(environment, log) as address:
        add_viewer(environment)
        admin = (environment["IIOT_ADMIN_EMAIL"], environment["IIOT_ADMIN_PASSWORD"])
        for name, login in (("anonymous", None), ("viewer", VIEWER), ("admin", admin)):
            person = Person(name, sign_in(address, *login) if login else None)
            share = (given.cases + 2) // 3
            outcome = send(address, person, cases=share, seed=seed, effort=Effort(CASES_PER_OPERATION))
            outcomes.append(outcome)
            print(f"{name}: {outcome.cases} answers {outcome.by_status()}", file=sys.stderr, flush=True)
            for failure in outcome.failures:
                print(failure, file=sys.stderr, flush=True)
    figures = json.dumps(figures_of(seed, outcomes, time.monotonic() - began_at), indent=2)
    print(figures)
    if given.json is not None:
        given.json.write_text(figures + "\n", encoding="utf-8")
    return 0 if is_clean(outcomes) else 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except ServiceError as error:
        print(f"No result: {error}", file=sys.stderr)
        sys.exit(2)
