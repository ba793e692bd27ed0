"""The people of the fixtures and the two plants they work in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flask import Flask
from werkzeug.test import TestResponse

from api.passwords import Passwords
from rbac import seed_tenant
from storage import accounts
from storage.pool import SystemDatabase
from tests.api.contract import check_answer

PASSWORD = "a fixture has no secrets"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who signs in."""

    name: str
    plant: str
    role: str

    @property
    def email(self) -> str:
        return f"{self.name}@{self.plant}.example"


PEOPLE = {
    person.name: person
    for person in (
        Person("alice", "plant-a", "admin"),
        Person("dave", "plant-a", "developer"),
        Person("oskar", "plant-a", "operator"),
        Person("vera", "plant-a", "viewer"),
        Person("mallory", "plant-b", "admin"),
    )
}


@dataclass(frozen=True, slots=True)
class Plants:
    """The two tenants; `user_ids` by the person's name."""

    plant_a: int
    plant_b: int
    user_ids: Mapping[str, str] = field(default_factory=dict)


def settle(database: SystemDatabase, password_hash: str) -> Plants:
    """Make both plants and everybody in them."""
    tenants = {
        slug: seed_tenant(database, slug, slug.replace("-", " ").title()) for slug in ("plant-a", "plant-b")
    }
    user_ids: dict[str, str] = {}
    with database.transaction() as cursor:
        for person in PEOPLE.values():
            user_id = accounts.create_user(
                cursor,
                tenants[person.plant],
                email=person.email,
                name=person.name.title(),
                password_hash=password_hash,
                roles=[person.role],
            )
            assert user_id is not None
            user_ids[person.name] = user_id
    return Plants(tenants["plant-a"], tenants["plant-b"], user_ids)


class Client:
    """The REST interface as one person sees it; paths without `/` at the start are below /api/v1.

    Every answer must be what the OpenAPI document says.
    """

    def __init__(self, app: Flask, token: str | None) -> None:
        self.app = app
        self._http = app.test_client()
        self.token = token

    def get(self, path: str, **options: Any) -> TestResponse:
        return self.open("GET", path, **options)

    def post(self, path: str, **options: Any) -> TestResponse:
        return self.open("POST", path, **options)

    def put(self, path: str, **options: Any) -> TestResponse:
        return self.open("PUT", path, **options)

    def delete(self, path: str, **options: Any) -> TestResponse:
        return self.open("DELETE", path, **options)

    def open(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **options: Any
    ) -> TestResponse:
        sent = dict(headers or {})
        if self.token is not None:
            sent.setdefault("Authorization", f"Bearer {self.token}")
        url = path if path.startswith("/") else f"/api/v1/{path}"
        answer = self._http.open(url, method=method, headers=sent, **options)
        check_answer(self._http.application, method, answer)
        return answer


def sign_in(app: Flask, name: str, *, password: str = PASSWORD) -> Client:
    """A client that has signed in as the person over HTTP."""
    anybody = Client(app, None)
    answer = anybody.post("auth/login", json={"email": PEOPLE[name].email, "password": password})
    assert answer.status_code == 200, answer.get_data(as_text=True)
    return Client(app, answer.get_json()["access_token"])


def fixture_password_hash() -> str:
    return Passwords().hash(PASSWORD)
