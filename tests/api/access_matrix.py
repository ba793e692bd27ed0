"""Asks every route as everybody, about own, foreign and missing objects, and notes what it said."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from werkzeug.test import TestResponse

from tests.api.objects import BODIES, MAKERS, missing
from tests.people import Client

Values = dict[str, str]
Everybody = Mapping[str, Client]

# Heading of the column -> who asks.
COLUMNS = {
    "anonymous": "anybody",
    "viewer": "vera",
    "operator": "oskar",
    "developer": "dave",
    "admin": "alice",
    "other tenant's admin": "mallory",
}
# These end all sessions of whoever asks, so they come last and everybody signs in anew before.
ENDS_SESSIONS = {"POST /api/v1/auth/logout"}
OWNER, NEIGHBOUR = "alice", "mallory"


@dataclass(frozen=True, slots=True)
class Route:
    """One operation of the document."""

    method: str
    path: str
    permission: str
    objects: tuple[str, ...]
    query: Mapping[str, Any]
    body: Any

    @property
    def name(self) -> str:
        """Method and path."""
        return f"{self.method} {self.path}"


@dataclass(slots=True)
class Row:
    """What a route said about one kind of object, by column."""

    route: Route
    kind: str
    answers: dict[str, str] = field(default_factory=dict)
    said: dict[str, bytes] = field(default_factory=dict)

    def line(self) -> str:
        """The row of the table."""
        cells = [f"`{self.route.name}`", self.route.permission, self.kind, *self.answers.values()]
        return f"| {' | '.join(cells)} |"


def routes(document: Mapping[str, Any]) -> list[Route]:
    """Every operation of the document, with examples of what it needs."""
    operations = [
        Route(
            method.upper(),
            path,
            _permission(found["description"]),
            tuple(item["name"] for item in _needed(found) if item["name"] in MAKERS),
            {item["name"]: item["example"] for item in _needed(found) if item["in"] == "query"},
            found.get("requestBody", {}).get("content", {}).get("application/json", {}).get("example"),
        )
        for path, methods in document["paths"].items()
        for method, found in methods.items()
    ]
    for route in operations:
        unknown = set(re.findall(r"\{(\w+)\}", route.path)) - MAKERS.keys()
        assert not unknown, f"{route.name}: tests/api/objects.py does not know how to make a {unknown}"
    return sorted(operations, key=lambda route: (route.name in ENDS_SESSIONS, route.path, route.method))


def _needed(operation: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The parameters without which there is no request."""
    return [item for item in operation.get("parameters", []) if item["in"] == "path" or item.get("required")]


def _permission(description: str) -> str:
    match = re.search(r"Needs the permission `([^`]+)`", description)
    if match:
        return match[1]
    return "signed in" if "signed in" in description else "nothing"


def ask(client: Client, route: Route, values: Mapping[str, str]) -> TestResponse:
    """Call the route about the objects with these names."""
    path = route.path
    for name, value in values.items():
        path = path.replace(f"{{{name}}}", value)
    query = {name: values.get(name, example) for name, example in route.query.items()}
    body = BODIES[route.name]() if route.name in BODIES else copy.deepcopy(route.body)
    options = {} if body is None else {"json": body}
    return client.open(route.method, path, query_string=query, **options)


def make(client: Client, route: Route) -> Values:
    """Objects of the client's plant for every parameter of the route that names one."""
    values: Values = {}
    for name in route.objects:
        values[name] = MAKERS[name](client, values)
    return values


def rows_of(route: Route, everybody: Everybody, sign_in: Callable[[str], Client]) -> Iterator[Row]:
    """What the route says to everybody, a row for each kind of object."""
    for kind in _kinds(route):
        row = Row(route, kind)
        for column, name in COLUMNS.items():
            is_anew = route.name in ENDS_SESSIONS and name != "anybody"
            client = sign_in(name) if is_anew else everybody[name]
            values = _values(kind, route, everybody)
            answer = ask(client, route, values)
            row.answers[column] = str(answer.status_code)
            row.said[column] = _comparable(answer, values)
        yield row


def _kinds(route: Route) -> tuple[str, ...]:
    if not route.objects:
        return ("-",)
    nested = ("foreign below own",) if len(route.objects) > 1 and route.objects[1] != "metric" else ()
    return ("own", "foreign", *nested, "missing")


def _values(kind: str, route: Route, everybody: Everybody) -> Values:
    if kind == "-":
        return {}
    own = make(everybody[OWNER], route)
    if kind == "own":
        return own
    if kind == "missing":
        return {name: missing(value) for name, value in own.items()}
    foreign = make(everybody[NEIGHBOUR], route)
    return foreign if kind == "foreign" else {**foreign, route.objects[0]: own[route.objects[0]]}


def _comparable(answer: TestResponse, values: Values) -> bytes:
    """Status, headers and body without what differs from request to request."""
    body = answer.get_data(as_text=True)
    if answer.is_json:
        tree = answer.get_json()
        if isinstance(tree, dict):
            tree = {key: part for key, part in tree.items() if key not in {"request_id", "instance"}}
        body = json.dumps(tree)
    for value in sorted(values.values(), key=len, reverse=True):
        body = body.replace(value, "...")
    varying = {"x-request-id", "content-length", "date"}
    headers = sorted(
        f"{name}: {value}"
        for name, value in answer.headers
        if name.lower() not in varying and not name.lower().startswith("ratelimit")
    )
    return "\n".join([answer.status, *headers, body]).encode()


_INTRODUCTION = """\
# Who may call what

Every route as everybody: viewer, operator, developer and admin of plant A, and plant B's admin.
*Own* objects are plant A's, *foreign* ones plant B's, *missing* ones nobody's; *foreign below own* is
plant B's object under plant A's. A foreign object is answered exactly like a missing one. Where a role
may call a route, the number is what the route answered to the test's example: 2xx, or its complaint.

`./run test tests/api/test_access_matrix.py --write-generated` writes this table anew; every run of
the tests compares it.
"""


def table(rows: list[Row]) -> str:
    """The whole page."""
    headings = ["route", "needs", "object", *COLUMNS]
    lines = [f"| {' | '.join(headings)} |", f"|{'---|' * len(headings)}", *(row.line() for row in rows)]
    return "\n".join([_INTRODUCTION, *lines, ""])
