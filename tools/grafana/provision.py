"""Puts the data source and the dashboards into a running Grafana through its HTTP API, as often as you like."""

import json
import re
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

import yaml

from tools.grafana.files import DASHBOARDS, DATASOURCES

FOLDER = {"uid": "iiot", "title": "IIoT"}
TIMEOUT_S = 30.0
_VARIABLE = re.compile(r"\$\{(\w+)\}")


class ProvisioningError(Exception):
    """Grafana does not take what it was sent."""


class Grafana:
    """A Grafana and a service account's token for it."""

    def __init__(self, url: str, token: str) -> None:
        if not url.startswith(("http://", "https://")):
            raise ProvisioningError(f"{url} is no address of a web server")
        self._url = url.rstrip("/")
        self._token = token

    def call(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Send one request; return the status and the answer, also of a 404.

        Raises:
            ProvisioningError: Grafana cannot be reached or refuses.
        """
        request = urllib.request.Request(  # noqa: S310 - checked above
            f"{self._url}/api/{path}",
            None if body is None else json.dumps(body).encode(),
            {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            with error:
                said = error.read(2000).decode(errors="replace")
            if error.code == 404:
                return 404, None
            raise ProvisioningError(f"{method} {path}: Grafana answered {error.code}: {said}") from error
        except OSError as error:
            raise ProvisioningError(f"Grafana at {self._url} cannot be reached: {error}") from error
        except ValueError as error:
            raise ProvisioningError(f"{method} {path}: the answer is no JSON") from error


def datasource(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the data source of the provisioning file with its variables filled in.

    Raises:
        ProvisioningError: a variable is not set.
    """
    text = DATASOURCES.read_text(encoding="utf-8")
    missing = sorted({name for name in _VARIABLE.findall(text) if not environ.get(name)})
    if missing:
        raise ProvisioningError(f"set {', '.join(missing)}")
    (source,) = yaml.safe_load(text)["datasources"]
    filled: dict[str, Any] = _filled(source, environ)
    return filled


def _filled(value: Any, environ: Mapping[str, str]) -> Any:
    # After parsing, so that a password may hold any sign.
    if isinstance(value, dict):
        return {name: _filled(item, environ) for name, item in value.items()}
    if isinstance(value, str):
        return _VARIABLE.sub(lambda match: environ[match[1]], value)
    return value


def provision(grafana: Grafana, environ: Mapping[str, str], *, console: str | None) -> list[str]:
    """Make or renew data source, folder and dashboards; return what was done, a line for each.

    Args:
        grafana: Where to.
        environ: Holds the variables of the data source.
        console: Address of the platform's console for the links, instead of the one on this machine.

    Raises:
        ProvisioningError: what is missing, or what Grafana said.
    """
    source = datasource(environ)
    path = f"datasources/uid/{source['uid']}"
    is_there = grafana.call("GET", path)[0] != 404
    grafana.call("PUT" if is_there else "POST", path if is_there else "datasources", source)
    done = [f"data source {source['name']}"]
    if grafana.call("GET", f"folders/{FOLDER['uid']}")[0] == 404:
        grafana.call("POST", "folders", FOLDER)
        done.append(f"folder {FOLDER['title']}")
    for file in sorted(DASHBOARDS.glob("*.json")):
        page = json.loads(file.read_text(encoding="utf-8"))
        if console is not None:
            (variable,) = (item for item in page["templating"]["list"] if item["name"] == "console")
            variable["query"] = console.rstrip("/")
        grafana.call(
            "POST", "dashboards/db", {"dashboard": page, "folderUid": FOLDER["uid"], "overwrite": True}
        )
        done.append(f"dashboard {page['title']}")
    return done
