"""What comes in is read strictly: anything odd is a 4xx with a reason, in little time."""

from __future__ import annotations

import gzip
import io
import time
from collections.abc import Callable

import pytest

from tests.people import Client

pytestmark = pytest.mark.services

SignedIn = Callable[[str], Client]
JSON = {"Content-Type": "application/json"}

MALFORMED = {
    "empty": b"",
    "no JSON": b"hello",
    "cut off": b'{"device_id": "X-1"',
    "two documents": b"{}{}",
    "byte order mark": b"\xef\xbb\xbf{}",
    "bad UTF-8": b'{"device_id": "\xff"}',
    "UTF-16": '{"device_id": "X-1"}'.encode("utf-16"),
    "lone surrogate": b'{"device_id": "\\ud800"}',
    "NUL": b'{"device_id": "X-1", "name": "a\\u0000b"}',
    "NUL in a key": b'{"device_id": "X-1", "name": "X", "metadata": {"a\\u0000": 1}}',
    "NaN": b'{"device_id": "X-1", "name": "X", "metadata": {"a": NaN}}',
    "Infinity": b'{"device_id": "X-1", "name": "X", "metadata": {"a": -Infinity}}',
    "overflowing number": b'{"device_id": "X-1", "name": "X", "metadata": {"a": 1e999}}',
    "endless integer": b'{"device_id": "X-1", "name": "X", "metadata": {"a": ' + b"9" * 10_000 + b"}}",
    "endless nesting": b"[" * 100_000 + b"]" * 100_000,
    "too deep": b'{"device_id": "X-1", "name": "X", "metadata": {"a": ' + b"[" * 40 + b"]" * 40 + b"}}",
    "equal keys": b'{"device_id": "X-1", "name": "X", "name": "Y"}',
    "equal keys below": b'{"device_id": "X-1", "name": "X", "metadata": {"role": 1, "r\\u006fle": 2}}',
    "an array": b"[]",
    "null": b"null",
    "a text": b'"device"',
    "comment": b'{"device_id": "X-1" /* no */}',
    "trailing comma": b'{"device_id": "X-1", "name": "X",}',
    "single quotes": b"{'device_id': 'X-1'}",
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_body_is_refused_quickly(client: SignedIn, body: bytes) -> None:
    began_at = time.process_time()
    answer = client("alice").post("devices", data=body, headers=JSON)
    assert answer.status_code == 400, answer.get_data(as_text=True)
    assert answer.content_type == "application/problem+json"
    assert answer.get_json()["type"] == "urn:iiot:problem:malformed-body"
    assert time.process_time() - began_at < 0.5


def test_a_hundred_thousand_unknown_keys_are_refused_with_a_short_answer(client: SignedIn) -> None:
    body = b"{" + b",".join(b'"%d":1' % number for number in range(90_000)) + b"}"
    answer = client("alice").post("devices", data=body, headers=JSON)
    assert answer.status_code == 400
    assert len(answer.get_json()["errors"]) == 100


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "multipart/form-data; boundary=x"},
        {"Content-Type": "application/json; charset=latin-1"},
        {},
        JSON | {"Content-Encoding": "gzip"},
    ],
    ids=str,
)
def test_a_body_of_another_kind_is_refused(client: SignedIn, headers: dict[str, str]) -> None:
    body = gzip.compress(b'{"device_id": "X-1", "name": "X"}')
    answer = client("alice").post("devices", data=body, headers=headers)
    assert answer.status_code == 415


def test_a_body_that_is_too_large_is_refused_before_it_is_read(client: SignedIn) -> None:
    answer = client("alice").post("devices", data=b" " * 1_048_577, headers=JSON)
    assert answer.status_code == 413
    assert answer.content_type == "application/problem+json"


def test_a_body_of_unknown_length_is_refused_once_it_grows_too_large(client: SignedIn) -> None:
    answer = client("alice").post(
        "devices",
        headers=JSON | {"Transfer-Encoding": "chunked"},
        environ_overrides={
            "wsgi.input": io.BytesIO(b" " * 2_000_000),
            "wsgi.input_terminated": True,
            "CONTENT_LENGTH": "",
        },
    )
    assert answer.status_code == 413


def test_wrong_fields_are_named_by_pointer(client: SignedIn) -> None:
    answer = client("alice").post(
        "devices",
        json={
            "device_id": "has a space",
            "name": 5,
            "tenant_id": 1,
            "metrics": [{"name": "flow", "min": "low", "a/b~c": 1}],
        },
    )
    assert answer.status_code == 400
    errors = {item["pointer"]: item["detail"] for item in answer.get_json()["errors"]}
    assert set(errors) == {"/device_id", "/name", "/tenant_id", "/metrics/0/min", "/metrics/0/a~1b~0c"}
    assert errors["/tenant_id"] == "is not a field of this route"


@pytest.mark.parametrize(
    "field",
    [
        "tenant_id",
        "device_key",
        "status",
        "last_seen",
        "created_at",
        "retired_at",
        "is_active",
        "role",
        "owner",
    ],
)
def test_fields_that_are_not_for_users_are_refused(client: SignedIn, field: str) -> None:
    body = {"device_id": "mass-1", "name": "Mass", field: 1}
    assert client("alice").post("devices", json=body).status_code == 400
    assert client("alice").get("devices/mass-1").status_code == 404


@pytest.mark.parametrize(
    ("path", "pointer"),
    [
        ("devices?limit=0", "/limit"),
        ("devices?limit=1001", "/limit"),
        ("devices?limit=ten", "/limit"),
        ("devices?limit=1&limit=2", "/limit"),
        ("devices?colour=red", "/colour"),
        ("devices?status=happy", "/status"),
        ("devices?name=%00", "/name"),
        ("devices?cursor=", "/cursor"),
        ("devices?cursor=abc", "/cursor"),
        ("devices?cursor=WyJsYXRlc3QiLDFd", "/cursor"),
        ("devices?cursor=%F0%9F%92%A5", "/cursor"),
        ("latest?cursor=WyJsYXRlc3QiLDEwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDBd", "/cursor"),
        ("telemetry?device_id=a&metric=b&start=yesterday", "/start"),
        ("telemetry?device_id=a&metric=b&start=2026-02-30T00:00:00Z", "/start"),
        ("telemetry?device_id=a&metric=b&start=2026-01-01T00:00:00", "/start"),
        ("telemetry?device_id=a&metric=b&start=1700000000", "/start"),
        ("telemetry?device_id=a&metric=b&start=9999-12-31T23:59:59-23:00", "/start"),
        ("telemetry?device_id=a&metric=b&order=up", "/order"),
        ("telemetry?metric=b", "/device_id"),
        ("telemetry?device_id=a", "/metric"),
        ("telemetry/dead-letters?limit=-1", "/limit"),
    ],
)
def test_wrong_query_parameters_are_named(client: SignedIn, path: str, pointer: str) -> None:
    answer = client("alice").get(path)
    assert answer.status_code == 400, answer.get_data(as_text=True)
    assert [item["pointer"] for item in answer.get_json()["errors"]] == [pointer]


INJECTIONS = [
    "'; DROP TABLE devices; --",
    "' OR '1'='1",
    "%' OR pg_sleep(5) --",
    "\\",
    "%s",
    "%(tenant_id)s",
    "{0}",
    "$1",
    "';SELECT set_config('app.tenant_id','2',false);--",
]


@pytest.mark.parametrize("text", INJECTIONS)
def test_sql_in_parameters_is_only_text(client: SignedIn, text: str) -> None:
    began_at = time.monotonic()
    for path in ("devices", "telemetry/dead-letters"):
        for name in ("name", "type", "reason", "device_id"):
            answer = client("alice").get(path, query_string={name: text})
            assert answer.status_code in {200, 400}
    answer = client("alice").get("telemetry", query_string={"device_id": text[:64], "metric": text})
    assert answer.status_code == 404
    assert time.monotonic() - began_at < 4
