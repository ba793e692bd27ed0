"""Every route of the document against fields that are not for users, and against SQL in every text.

The routes come from the document, so a new one is tested without a line here.
"""

from __future__ import annotations

import copy
import re
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask

from api import register_routes
from api.document import document_of
from storage.pool import SystemDatabase
from tests.api.access_matrix import Route, routes
from tests.api.contract import resolved
from tests.api.objects import BODIES, MAKERS
from tests.application import Application
from tests.people import Client, Plants, sign_in

pytestmark = pytest.mark.services

SignedIn = Callable[[str], Client]
Record = Callable[[str, object], None]


def _document() -> dict[str, Any]:
    app = Flask("hostile")
    register_routes(app)
    return document_of(app)


DOCUMENT = _document()
ROUTES = routes(DOCUMENT)
WRITING = [route for route in ROUTES if route.body is not None]

# What a row of some table has and nobody may set.
NOT_FOR_USERS = {
    "tenant_id": 2,
    "id": 1,
    "user_id": "00000000-0000-4000-8000-000000000001",
    "device_key": 1,
    "created_at": "2020-01-01T00:00:00Z",
    "updated_at": "2020-01-01T00:00:00Z",
    "is_active": True,
    "is_admin": True,
    "role": "admin",
    "password_hash": "x",
    "api_key": "x",
    "owner": "mallory",
    "token_version": 0,
    "__proto__": {"is_admin": True},
}


def _path(client: Client, route: Route) -> str:
    values: dict[str, str] = {}
    for name in re.findall(r"\{(\w+)\}", route.path):
        values[name] = MAKERS[name](client, values)
    return re.sub(r"\{(\w+)\}", lambda match: values[match[1]], route.path)


@pytest.mark.parametrize("route", WRITING, ids=lambda route: route.name)
def test_fields_that_are_not_for_users_are_refused_everywhere(
    application: Application, record_property: Record, route: Route
) -> None:
    client = sign_in(application.app, "alice")
    path = _path(client, route)
    found = DOCUMENT["paths"][route.path][route.method.lower()]
    schema = resolved(found["requestBody"]["content"]["application/json"]["schema"], DOCUMENT)
    known = set(schema.get("properties", {}))
    tried = 0
    for name, value in NOT_FOR_USERS.items():
        if name in known:
            continue
        body = BODIES[route.name]() if route.name in BODIES else copy.deepcopy(route.body)
        answer = client.open(route.method, path, json={**body, name: value})
        assert answer.status_code == 400, f"{name}: {answer.get_data(as_text=True)}"
        assert f"/{name}" in {item["pointer"] for item in answer.get_json()["errors"]}
        tried += 1
    record_property("fields refused", tried)


_FRAGMENTS = [
    "OR 1=1 --",
    "OR pg_sleep(3) IS NULL --",
    "; SELECT pg_sleep(3) --",
    "UNION SELECT password_hash FROM users --",
    "; DROP TABLE devices; --",
    "; UPDATE users SET is_active = false; --",
    "AND 1 = (SELECT count(*) FROM users) --",
    "; SELECT set_config('app.tenant_id', '2', false); --",
    "; COPY users TO PROGRAM 'cat' --",
    "|| (SELECT version()) ||",
    "ORDER BY 100 --",
    "LIMIT 0 OFFSET 1 /*",
]
_OPENINGS = ["", "' ", "x') ", "\\' ", '" ']
PAYLOADS = [opening + fragment for opening in _OPENINGS for fragment in _FRAGMENTS]


def _texts(route: Route) -> list[tuple[str, str]]:
    """The parameters of a reading route that are texts, as (where, name)."""
    found = DOCUMENT["paths"][route.path][route.method.lower()].get("parameters", [])
    return [(item["in"], item["name"]) for item in found if item["in"] in {"path", "query"}]


@pytest.mark.parametrize(
    "route",
    [route for route in ROUTES if route.method == "GET" and _texts(route)],
    ids=lambda route: route.name,
)
def test_sql_in_any_parameter_is_only_text(
    application: Application,
    system_database: SystemDatabase,
    plants: Plants,
    record_property: Record,
    route: Route,
) -> None:
    client = sign_in(application.app, "alice")
    path = _path(client, route)
    before = _counts(system_database, plants)
    slowest_s, tried = 0.0, 0
    for where, name in _texts(route):
        for payload in PAYLOADS:
            query = dict(route.query)
            asked = path
            if where == "query":
                query[name] = payload
            else:
                asked = route.path.replace(f"{{{name}}}", quote(payload, safe=""))
                asked = re.sub(r"\{\w+\}", "none", asked)
            began_at = time.monotonic()
            answer = client.get(asked, query_string=query)
            slowest_s = max(slowest_s, time.monotonic() - began_at)
            assert answer.status_code in {200, 400, 404, 414, 422}, f"{name}={payload}: {answer.status_code}"
            assert "password_hash" not in answer.get_data(as_text=True).replace(payload, "")
            tried += 1
    assert slowest_s < 2.5
    assert _counts(system_database, plants) == before
    record_property("requests", tried)
    record_property("slowest s", round(slowest_s, 3))


def _counts(database: SystemDatabase, plants: Plants) -> list[tuple[Any, ...]]:
    with database.transaction() as cursor:
        cursor.execute(
            "SELECT (SELECT count(*) FROM devices), (SELECT count(*) FROM users WHERE is_active),"
            " (SELECT count(*) FROM rules), (SELECT count(*) FROM tenants WHERE tenant_id = %s)",
            (plants.plant_a,),
        )
        return cursor.fetchall()


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": "203.0.113.9"},
        {"X-Forwarded-For": "203.0.113.9, 198.51.100.7"},
        {"X-Real-IP": "203.0.113.9"},
        {"Forwarded": "for=203.0.113.9;proto=https;host=evil.example"},
        {"X-Client-IP": "203.0.113.9"},
        {"True-Client-IP": "203.0.113.9"},
        {"CF-Connecting-IP": "203.0.113.9"},
        {"X-Cluster-Client-IP": "203.0.113.9"},
        {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https", "X-Forwarded-Port": "1"},
        {"X-Forwarded-Prefix": "/evil", "X-Script-Name": "/evil"},
    ],
    ids=lambda headers: next(iter(headers)) + str(len(str(headers))),
)
def test_headers_of_proxies_are_not_believed(
    application: Application, system_database: SystemDatabase, headers: dict[str, str]
) -> None:
    client = sign_in(application.app, "alice")
    alert_id = MAKERS["alert_id"](client, {})
    answer = client.post(f"alerts/{alert_id}/comments", json={"comment": "Seen."}, headers=headers)
    assert answer.status_code == 201, answer.get_data(as_text=True)
    assert "evil" not in str(answer.headers)
    with system_database.transaction() as cursor:
        cursor.execute("SELECT host(address) FROM audit_logs ORDER BY audit_id DESC LIMIT 1")
        assert cursor.fetchall() == [("127.0.0.1",)]
