"""The committed dashboards are what the code builds, lose nothing on the way, and lie side by side."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from tools.grafana.build import BUILDERS, texts
from tools.grafana.files import DASHBOARDS, DATASOURCES, HERE

NAMES = sorted(BUILDERS)


def read(name: str) -> dict[str, Any]:
    page: dict[str, Any] = json.loads((DASHBOARDS / name).read_text(encoding="utf-8"))
    return page


def lost(before: Any, after: Any, path: str = "") -> Iterator[str]:
    """Keys that the typed model does not know: typos."""
    if isinstance(before, dict):
        for key, value in before.items():
            if not isinstance(after, dict) or key not in after:
                yield f"{path}/{key}"
            else:
                yield from lost(value, after[key], f"{path}/{key}")
    elif isinstance(before, list):
        for place, (one, other) in enumerate(zip(before, after or [], strict=False)):
            yield from lost(one, other, f"{path}/{place}")


def round_trip(page: dict[str, Any]) -> Any:
    plugins.register_default_plugins()
    return json.loads(JSONEncoder().encode(Dashboard.from_json(page)))


def test_the_committed_files_are_what_the_code_builds() -> None:
    assert {path.name: path.read_text(encoding="utf-8") for path in DASHBOARDS.glob("*.json")} == texts()


@pytest.mark.parametrize("name", NAMES)
def test_grafanas_own_model_keeps_every_key(name: str) -> None:
    page = read(name)
    assert list(lost(page, round_trip(page))) == []


def test_a_misspelt_key_would_be_noticed() -> None:
    page = read(NAMES[0])
    page["panels"][0]["fieldConfig"]["defaults"]["unitz"] = "s"
    page["panels"][1]["options"]["graphModeX"] = "area"
    page["refreshh"] = "30s"
    found = set(lost(page, round_trip(page)))
    assert found == {
        "/panels/0/fieldConfig/defaults/unitz",
        "/panels/1/options/graphModeX",
        "/refreshh",
    }


@pytest.mark.parametrize("name", NAMES)
def test_every_panel_says_what_it_shows_and_in_which_unit(name: str) -> None:
    panels = read(name)["panels"]
    assert len(panels) >= 6
    for panel in panels:
        assert panel["title"], panel
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["fieldConfig"]["defaults"]["thresholds"]["steps"], panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}", panel["title"]
        assert [target["datasource"]["uid"] for target in panel["targets"]] == ["${datasource}"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({panel["title"] for panel in panels}) == len(panels)


@pytest.mark.parametrize("name", NAMES)
def test_no_panel_covers_another_or_leaves_the_page(name: str) -> None:
    places = [(panel["title"], panel["gridPos"]) for panel in read(name)["panels"]]
    for title, place in places:
        assert place["x"] >= 0, title
        assert place["x"] + place["w"] <= 24, title
    for (one, a), (other, b) in combinations(places, 2):
        apart_x = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        apart_y = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert apart_x or apart_y, f"{one} covers {other}"


@pytest.mark.parametrize("name", NAMES)
def test_every_dashboard_refreshes_marks_alerts_and_leads_to_the_console(name: str) -> None:
    page = read(name)
    assert page["refresh"] == "30s"
    assert page["uid"].startswith("iiot-")
    assert page["description"]
    (marks,) = page["annotations"]["list"]
    assert marks["target"]["rawQuery"] is True
    variables = {variable["name"]: variable for variable in page["templating"]["list"]}
    assert variables["datasource"]["query"] == "grafana-postgresql-datasource"
    assert page["links"][0]["url"] == "${console}"
    links = [link for panel in page["panels"] for link in panel["fieldConfig"]["defaults"].get("links", [])]
    assert links
    assert all(link["url"].startswith("${console}/#/") for link in links)


def test_dashboards_have_uids_of_their_own_and_enough_panels() -> None:
    pages = [read(name) for name in NAMES]
    assert len({page["uid"] for page in pages}) == len(pages) == 4
    assert {page["title"] for page in pages} == {
        "Device Overview",
        "Telemetry Visualization",
        "Alerts & Rules",
        "Platform Health",
    }
    assert sum(len(page["panels"]) for page in pages) >= 18


def test_provisioning_files_say_types_that_grafana_takes() -> None:
    (source,) = yaml.safe_load(DATASOURCES.read_text(encoding="utf-8"))["datasources"]
    assert source["type"] == "grafana-postgresql-datasource"
    assert "database" not in source
    assert source["jsonData"]["database"]
    assert source["jsonData"]["timescaledb"] is False
    assert isinstance(source["jsonData"]["postgresVersion"], int)
    assert source["editable"] is False
    text = (HERE / "provisioning" / "dashboards" / "iiot.yaml").read_text(encoding="utf-8")
    (provider,) = yaml.safe_load(text)["providers"]
    assert (provider["type"], provider["orgId"], provider["allowUiUpdates"]) == ("file", 1, False)
    assert provider["options"]["path"]
