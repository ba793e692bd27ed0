"""Swagger UI in a real browser: everything from here, nothing complained about, operations can be tried."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser import Visit, visiting
from tests.conftest import SECRET_KEY
from tests.people import PASSWORD, PEOPLE, Plants
from tests.server import Server, running_server

pytestmark = [pytest.mark.services, pytest.mark.browser]

PAGE = "/api/v1/docs"
PRODUCTION = {"IIOT_ENV": "production", "IIOT_METRICS_TOKEN": "figures for prometheus"}


def _open_operation(page: Page, name: str) -> str:
    """Unfold an operation; return where it stands."""
    where = f"#operations-{name}"
    page.click(f"{where} .opblock-summary-control")
    page.wait_for_selector(f"{where} .execute")
    return where


def _answer(page: Page, where: str) -> tuple[str, str]:
    """Status and body of the answer that an operation shows."""
    page.wait_for_selector(f"{where} .live-responses-table .response-col_status")
    status = page.inner_text(f"{where} .live-responses-table tbody .response-col_status")
    return status.split()[0], page.inner_text(f"{where} .live-responses-table .highlight-code code")


def test_somebody_signs_in_authorises_and_tries_an_operation(visit: Visit) -> None:
    page = visit.go(PAGE)
    login = _open_operation(page, "auth-auth_login")
    page.fill(
        f"{login} textarea.body-param__text",
        json.dumps({"email": PEOPLE["vera"].email, "password": PASSWORD}),
    )
    page.click(f"{login} .execute")
    status, body = _answer(page, login)
    assert status == "200"
    token = json.loads(body)["access_token"]

    page.click(".auth-wrapper .authorize")
    dialog = page.locator(".auth-container", has_text="access_token")
    dialog.locator("input").fill(token)
    dialog.locator("button.authorize").click()
    page.click(".modal-ux .close-modal")

    devices = _open_operation(page, "devices-devices_device_list")
    page.click(f"{devices} .execute")
    assert _answer(page, devices)[0] == "200"


def test_without_a_token_the_answer_is_a_problem(visit: Visit) -> None:
    visit.expected_statuses.add(401)
    page = visit.go(PAGE)
    me = _open_operation(page, "auth-auth_me")
    page.click(f"{me} .execute")
    status, body = _answer(page, me)
    assert status == "401"
    assert "credentials-missing" in body


def test_every_operation_of_the_document_is_shown(visit: Visit) -> None:
    page = visit.go(PAGE)
    page.wait_for_selector(".opblock")
    document = page.request.get(f"{visit.base_url}/api/v1/openapi.json").json()
    assert page.locator(".opblock").count() == sum(len(methods) for methods in document["paths"].values())


@pytest.fixture(scope="module")
def production(owner_url: str, redis_url: str, mqtt_url: str, plants: Plants) -> Iterator[Server]:
    """The platform with production's rules."""
    with running_server(owner_url, redis_url, mqtt_url, secret_key=SECRET_KEY, **PRODUCTION) as running:
        yield running


def test_in_production_only_somebody_who_is_signed_in_reads_the_document(
    chromium: Browser, production: Server
) -> None:
    with visiting(chromium, production.url) as visit:
        visit.expected_statuses.add(401)
        page = visit.go(PAGE)
        page.fill("#sign-in [name=email]", PEOPLE["vera"].email)
        page.fill("#sign-in [name=password]", "a wrong password")
        page.click("#sign-in button")
        expect(page.locator("#sign-in [role=alert]")).not_to_be_empty()
        assert page.locator(".opblock").count() == 0
        page.fill("#sign-in [name=password]", PASSWORD)
        page.click("#sign-in button")
        me = _open_operation(page, "auth-auth_me")
        page.click(f"{me} .execute")
        assert PEOPLE["vera"].email in _answer(page, me)[1]
