"""The provisioning script against a server that answers as Grafana's HTTP API does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from tools.grafana.__main__ import main
from tools.grafana.provision import Grafana, ProvisioningError, datasource, provision

ENVIRON = {
    "IIOT_PG_HOST": "db.example.com",
    "IIOT_PG_PORT": "5432",
    "IIOT_PG_DATABASE": "iiot",
    "IIOT_PG_SSLMODE": "require",
    "IIOT_GRAFANA_USER": "grafana_reader",
    "IIOT_GRAFANA_PASSWORD": 'a ${strange} "pass: word',
}
TOKEN = "glsa_of_the_test"


class Shelf(HTTPServer):
    """Keeps what it was given, by path; `refusal` is what it answers to dashboards instead."""

    kept: dict[str, Any]
    refusal: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Desk(BaseHTTPRequestHandler):
    server: Shelf

    def do_GET(self) -> None:
        self._answer(200 if self.path in self.server.kept else 404, {})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            self._answer(401, {"message": "Invalid API key"})
            return
        if self.server.refusal and self.path == "/api/dashboards/db":
            self._answer(self.server.refusal, {"message": "no"})
            return
        path = self.path
        if path == "/api/datasources":
            path = f"/api/datasources/uid/{body['uid']}"
        elif path == "/api/folders":
            path = f"/api/folders/{body['uid']}"
        elif path == "/api/dashboards/db":
            assert body["folderUid"] == "iiot"
            assert body["overwrite"] is True
            path = f"/api/dashboards/uid/{body['dashboard']['uid']}"
        self.server.kept[path] = body
        self._answer(200, {"status": "success"})

    do_PUT = do_POST  # noqa: N815 - http.server calls it by this name

    def _answer(self, status: int, body: object) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Nothing: the test reads what was kept."""


@contextmanager
def standing_shelf() -> Iterator[Shelf]:
    shelf = Shelf(("127.0.0.1", 0), _Desk)
    shelf.kept = {}
    thread = threading.Thread(target=shelf.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield shelf
    finally:
        shelf.shutdown()
        thread.join()
        shelf.server_close()


@pytest.fixture
def shelf() -> Iterator[Shelf]:
    with standing_shelf() as standing:
        yield standing


def test_all_is_there_after_the_first_run_and_the_second_changes_nothing(shelf: Shelf) -> None:
    done = provision(Grafana(shelf.url, TOKEN), ENVIRON, console="https://plant.example.com/")
    assert len(done) == 6
    kept = dict(shelf.kept)
    assert {path.rpartition("/")[2] for path in kept} == {
        *("iiot-pg", "iiot", "iiot-device-overview", "iiot-telemetry", "iiot-alerts", "iiot-platform-health")
    }
    source = kept["/api/datasources/uid/iiot-pg"]
    assert source["url"] == "db.example.com:5432"
    assert source["secureJsonData"] == {"password": ENVIRON["IIOT_GRAFANA_PASSWORD"]}
    page = kept["/api/dashboards/uid/iiot-alerts"]["dashboard"]
    (console,) = (item for item in page["templating"]["list"] if item["name"] == "console")
    assert console["query"] == "https://plant.example.com"
    assert len(provision(Grafana(shelf.url + "/", TOKEN), ENVIRON, console="https://plant.example.com")) == 5
    assert shelf.kept == kept


@pytest.mark.parametrize("name", sorted(ENVIRON))
def test_a_missing_variable_is_named_before_anything_is_sent(shelf: Shelf, name: str) -> None:
    environ = {key: value for key, value in ENVIRON.items() if key != name}
    with pytest.raises(ProvisioningError, match=name):
        provision(Grafana(shelf.url, TOKEN), environ, console=None)
    assert shelf.kept == {}


def test_what_grafana_says_is_passed_on(shelf: Shelf) -> None:
    with pytest.raises(ProvisioningError, match="401"):
        provision(Grafana(shelf.url, "wrong"), ENVIRON, console=None)
    shelf.refusal = 412
    with pytest.raises(ProvisioningError, match="412"):
        provision(Grafana(shelf.url, TOKEN), ENVIRON, console=None)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "grafana.example.com", ""])
def test_only_web_servers_are_asked(url: str) -> None:
    with pytest.raises(ProvisioningError):
        Grafana(url, TOKEN)


def test_a_grafana_that_is_away_is_an_answer_not_a_crash(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("GRAFANA_TOKEN", raising=False)
    assert main(["provision", "http://127.0.0.1:9"]) == 2
    monkeypatch.setenv("GRAFANA_TOKEN", TOKEN)
    assert main(["provision", "http://127.0.0.1:9"]) == 1
    assert "cannot be reached" in capsys.readouterr().err


def test_the_password_may_hold_what_yaml_would_read() -> None:
    assert datasource(ENVIRON)["secureJsonData"]["password"] == ENVIRON["IIOT_GRAFANA_PASSWORD"]
