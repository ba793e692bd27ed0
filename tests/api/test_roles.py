"""Every route for every role: who is let in, who is told 403, who 401. The matrix is the contract."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rbac import DEFAULT_ROLES, PERMISSIONS, access_of, requires
from tests.application import Application
from tests.people import Client

pytestmark = pytest.mark.services

SignedIn = Callable[[str], Client]

READERS = {"alice", "dave", "oskar", "vera"}
BUILDERS = {"alice", "dave"}
OPERATORS = {"alice", "oskar"}
NO_ALERT = "alerts/00000000-0000-4000-8000-000000000000"

ROUTES: list[tuple[str, str, dict[str, Any] | None, set[str]]] = [
    ("GET", "auth/me", None, READERS),
    ("GET", "devices", None, READERS),
    ("POST", "devices", {}, BUILDERS),
    ("GET", "devices/none", None, READERS),
    ("PUT", "devices/none", {"name": "None"}, BUILDERS),
    ("DELETE", "devices/none", None, BUILDERS),
    ("GET", "devices/none/credentials", None, READERS),
    ("POST", "devices/none/credentials", None, BUILDERS),
    ("DELETE", "devices/none/credentials", None, BUILDERS),
    ("GET", "devices/none/commands", None, READERS),
    ("POST", "devices/none/commands", {}, OPERATORS),
    ("GET", "devices/none/commands/none", None, READERS),
    ("POST", "devices/none/commands/none/cancel", None, OPERATORS),
    ("GET", "devices/none/latest", None, READERS),
    ("GET", "latest", None, READERS),
    ("GET", "telemetry?device_id=none&metric=none", None, READERS),
    ("GET", "analytics/statistics/none/none", None, READERS),
    ("GET", "analytics/correlation/none?metric_a=a&metric_b=b", None, READERS),
    ("GET", "analytics/timeseries/none/none", None, READERS),
    ("GET", "analytics/trends/none/none", None, READERS),
    ("POST", "telemetry", {}, BUILDERS),
    ("POST", "telemetry?backfill=true", {}, BUILDERS),
    ("GET", "telemetry/dead-letters", None, READERS),
    ("POST", "telemetry/dead-letters/1/replay", None, BUILDERS),
    ("POST", "devices/P-none/out-of-service", {}, OPERATORS),
    ("POST", "devices/P-none/in-service", None, OPERATORS),
    ("GET", "alerts", None, READERS),
    ("GET", "alerts/events", None, READERS),
    ("GET", "alerts/kpis", None, READERS),
    ("POST", "alerts/acknowledge", {}, OPERATORS),
    ("GET", NO_ALERT, None, READERS),
    ("GET", f"{NO_ALERT}/events", None, READERS),
    ("GET", f"{NO_ALERT}/explain", None, READERS),
    ("POST", f"{NO_ALERT}/acknowledge", {}, OPERATORS),
    ("POST", f"{NO_ALERT}/shelve", {}, OPERATORS),
    ("POST", f"{NO_ALERT}/unshelve", None, OPERATORS),
    ("POST", f"{NO_ALERT}/clear", None, OPERATORS),
    ("POST", f"{NO_ALERT}/comments", {}, OPERATORS),
]
# Not in the matrix: they change the person who calls, or need no sign-in, or are checked in test_platform.
ELSEWHERE = {
    "/api/v1/auth/login",
    "/api/v1/auth/refresh",
    "/api/v1/auth/logout",
    "/api/v1/auth/password",
    "/",
    "/console/<path:name>",
    "/api/v1/docs",
    "/api/v1/openapi.json",
    "/health",
    "/health/live",
    "/health/ready",
    "/metrics",
}


def _shown(value: object) -> str:
    """The name of a parameter, the same in every process that collects the tests."""
    return (",".join(sorted(value)) if isinstance(value, set) else str(value))[:40]


@pytest.mark.parametrize(("method", "path", "body", "allowed"), ROUTES, ids=_shown)
def test_a_route_lets_in_exactly_the_roles_of_the_matrix(
    client: SignedIn, anybody: Client, method: str, path: str, body: dict[str, Any] | None, allowed: set[str]
) -> None:
    assert anybody.open(method, path, json=body).status_code == 401
    for name in READERS:
        status_code = client(name).open(method, path, json=body).status_code
        assert (status_code == 403) == (name not in allowed), f"{name}: {status_code}"
        assert status_code != 401
        assert status_code < 500


def test_every_route_is_in_the_matrix_or_named_elsewhere(application: Application) -> None:
    adapter = application.app.url_map.bind("localhost")
    tried = set()
    for method, path, _, _ in ROUTES:
        rule, _ = adapter.match(f"/api/v1/{path.partition('?')[0]}", method=method, return_rule=True)
        tried.add((method, rule.rule))
    every = {
        (method, rule.rule)
        for rule in application.app.url_map.iter_rules()
        if rule.endpoint != "static" and rule.rule not in ELSEWHERE
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert every == tried


def test_every_route_says_who_may_call_it(application: Application) -> None:
    for name, handler in application.app.view_functions.items():
        assert name == "static" or access_of(handler) is not None


def test_a_missing_permission_is_named(client: SignedIn) -> None:
    answer = client("vera").delete("devices/none")
    assert answer.get_json()["type"] == "urn:iiot:problem:permission-missing"
    assert answer.get_json()["detail"] == "this needs the permission devices:write"


def test_an_unknown_permission_does_not_start() -> None:
    with pytest.raises(ValueError, match="unknown permission"):
        requires("devices:explode")


def test_the_administrator_may_everything_and_the_viewer_only_reads() -> None:
    roles = {role.name: role.permissions for role in DEFAULT_ROLES}
    assert list(roles) == ["admin", "developer", "operator", "viewer"]
    assert roles["admin"] == PERMISSIONS
    assert all(permission.endswith(":read") for permission in roles["viewer"])
    operate = {"alerts:acknowledge", "alerts:shelve", "alerts:clear", "devices:service", "commands:write"}
    assert roles["operator"] - roles["viewer"] == operate
