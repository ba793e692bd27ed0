"""A real Chromium, and a page in it that remembers everything that should not have happened."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

from tools.browser import Browser as Program

PAGE_TIMEOUT_MS = 15_000
_STATUS = re.compile(r"the server responded with a status of (\d+)")


@dataclass
class Visit:
    """One tab. `errors`: what its console complained about; `foreign`: requests to anything but the platform.

    Attributes:
        page: Playwright's page, for clicking and looking.
        expected_statuses: Answers that the test provokes, which Chromium would log as errors.
    """

    page: Page
    base_url: str
    expected_statuses: set[int] = field(default_factory=set)
    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    def go(self, path: str) -> Page:
        """Open a page of the platform."""
        self.page.goto(f"{self.base_url}{path}")
        return self.page

    def watch(self) -> None:
        """Remember complaints and requests from now on."""
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.errors.append(f"uncaught: {error}"))
        self.page.on("request", self._on_request)

    def check(self) -> None:
        """Fail if the console complained, or if anything was asked of another host."""
        assert self.errors == []
        assert self.foreign == []

    def _on_console(self, message: ConsoleMessage) -> None:
        status = _STATUS.search(message.text)
        is_expected = status is not None and int(status[1]) in self.expected_statuses
        if message.type == "error" and not is_expected:
            self.errors.append(message.text)

    def _on_request(self, request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme not in {"data", "blob"} and address.netloc != urlsplit(self.base_url).netloc:
            self.foreign.append(request.url)


@contextmanager
def started_browser(program: Program) -> Iterator[Browser]:
    """Run Chromium without a window."""
    arguments = ["--disable-dev-shm-usage"]
    if os.geteuid() == 0:
        arguments.append("--no-sandbox")  # it has none for root
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program.path,
            args=arguments,
            env=dict[str, str | float | bool](program.environment()),
        )
        yield browser
        browser.close()


@contextmanager
def visiting(browser: Browser, base_url: str) -> Iterator[Visit]:
    """A fresh tab with nothing remembered; at the end it is checked."""
    context = browser.new_context(locale="en-GB")
    context.set_default_timeout(PAGE_TIMEOUT_MS)
    visit = Visit(context.new_page(), base_url)
    visit.watch()
    try:
        yield visit
        visit.check()
    finally:
        context.close()
