"""What all dashboards share: queries, variables, annotations, links, and panels side by side."""

from collections.abc import Mapping, Sequence
from typing import Any

from grafana_foundation_sdk.builders import bargauge, common, dashboard, stat, table, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.common import DataSourceRef, GraphDrawStyle

PLUGIN = "grafana-postgresql-datasource"
REFRESH = "30s"
# Every dashboard asks the source that is chosen at its top.
SOURCE = DataSourceRef(type_val=PLUGIN, uid="${datasource}")
GRID_WIDTH = 24
SEVERITIES = {
    "critical": ("Critical", "dark-red"),
    "high": ("High", "red"),
    "medium": ("Medium", "orange"),
    "low": ("Low", "yellow"),
    "info": ("Info", "blue"),
}


def filled(text: str, pieces: Mapping[str, str]) -> str:
    """Return the query on one line, with its pieces in their places."""
    for name, piece in pieces.items():
        text = text.replace(f"@{name}", piece)
    return " ".join(text.split())


class Sql(Builder[Dataquery], Dataquery):
    """A query of Grafana's PostgreSQL data source; the SDK has none."""

    def __init__(self, text: str, *, is_series: bool = False, **pieces: str) -> None:
        """Take a query in which `@name` stands for the piece of that name."""
        self.text = filled(text, pieces)
        self.format = "time_series" if is_series else "table"

    def build(self) -> Dataquery:
        """Return itself: there is nothing to set."""
        return self

    def to_json(self) -> dict[str, object]:
        """Return what Grafana's query editor would write."""
        return {
            "refId": "A",
            "datasource": SOURCE,
            "format": self.format,
            "rawQuery": True,
            "rawSql": self.text,
            "editorMode": "code",
        }


def series(text: str, **pieces: str) -> Sql:
    """Return a query for a chart: a column `time`, ascending; texts become labels."""
    return Sql(text, is_series=True, **pieces)


def steps(*limits: tuple[float | None, str]) -> dashboard.ThresholdsConfig:
    """Return thresholds from (value, colour) pairs, the first without a value."""
    found = [model.Threshold(value=value, color=color) for value, color in limits]
    return dashboard.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(found)


PLAIN = ((None, "blue"),)
BAD_IF_ANY = ((None, "green"), (1.0, "red"))


def words(names: dict[str, tuple[str, str]]) -> list[Any]:
    """Return mappings from values to a word and a colour."""
    results = {
        value: model.ValueMappingResult(text=text, color=color, index=index)
        for index, (value, (text, color)) in enumerate(names.items())
    }
    return [model.ValueMap(options=results)]


def unit_of(column: str, unit: str) -> tuple[str, list[model.DynamicConfigValue]]:
    """Return the override that gives one column of a table its unit."""
    return column, [model.DynamicConfigValue(id_val="unit", value=unit)]


def panel(
    kind: Any,
    title: str,
    description: str,
    query: Sql,
    *,
    unit: str,
    size: tuple[int, int],
    limits: Sequence[tuple[float | None, str]] = PLAIN,
) -> Any:
    """Return a panel builder with all that each panel has; `size` is (width of 24, height)."""
    width, height = size
    return (
        kind.title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .thresholds(steps(*limits))
        .with_target(query)
        .span(width)
        .height(height)
    )


def figure(title: str, description: str, query: Sql, **said: Any) -> Any:
    """Return one number, or one for each column of a row."""
    reduced = common.ReduceDataOptions().calcs(["lastNotNull"]).values(False)
    return panel(stat.Panel().reduce_options(reduced), title, description, query, **said)


def bars(title: str, description: str, query: Sql, **said: Any) -> Any:
    """Return a horizontal bar for each row: a name and a number."""
    reduced = common.ReduceDataOptions().values(True)
    return panel(bargauge.Panel().reduce_options(reduced), title, description, query, **said)


def chart(title: str, description: str, query: Sql, **said: Any) -> Any:
    """Return a line for each series."""
    return panel(timeseries.Panel().fill_opacity(8).line_width(1), title, description, query, **said)


def columns(title: str, description: str, query: Sql, **said: Any) -> Any:
    """Return upright bars along the time."""
    drawn = timeseries.Panel().draw_style(GraphDrawStyle.BARS).fill_opacity(70)
    return panel(drawn, title, description, query, **said)


def rows(
    title: str,
    description: str,
    query: Sql,
    *,
    units: Sequence[tuple[str, list[model.DynamicConfigValue]]] = (),
    **said: Any,
) -> Any:
    """Return a table; `units` says what its columns count in."""
    built = panel(table.Panel(), title, description, query, **said)
    for column, properties in units:
        built = built.override_by_name(column, properties)
    return built


def console_link(title: str, path: str) -> dashboard.DashboardLink:
    """Return a link from a value to a page of the console."""
    return dashboard.DashboardLink(title).url("${console}/#/" + path).target_blank(True)


def device_variable(*, multi: bool) -> dashboard.QueryVariable:
    """Return the choice of devices."""
    return (
        choice(
            "device",
            "Device",
            "SELECT name || ' (' || device_id || ')' AS __text, device_id AS __value FROM bi.devices ORDER BY 1",
        )
        .multi(multi)
        .include_all(multi)
    )


def choice(name: str, label: str, text: str, **pieces: str) -> dashboard.QueryVariable:
    """Return a variable whose values a query gives."""
    query = filled(text, pieces)
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query(query)
        .definition(query)
        .refresh(model.VariableRefresh.ON_DASHBOARD_LOAD)
        .sort(model.VariableSort.DISABLED)
    )


def alert_marks(where: str) -> dashboard.AnnotationQuery:
    """Return the marks of raised alerts on every chart."""
    return (
        dashboard.AnnotationQuery()
        .name("Alerts raised")
        .datasource(SOURCE)
        .enable(True)
        .icon_color("red")
        .target(
            Sql(
                "SELECT observed_at AS time, message AS text, severity || ',' || coalesce(device_id, '') AS tags"
                " FROM bi.alert_events WHERE $__timeFilter(observed_at) AND kind = 'raised' @where"
                " ORDER BY observed_at LIMIT 500",
                where=where,
            )
        )
    )


def page(
    uid: str,
    title: str,
    description: str,
    *,
    variables: Sequence[Any],
    marks: dashboard.AnnotationQuery,
    panels: Sequence[Any],
) -> model.Dashboard:
    """Return a dashboard with its panels side by side, row by row, in the order given."""
    source = dashboard.DatasourceVariable("datasource").label("Data source").type(PLUGIN)
    console = dashboard.TextBoxVariable("console").label("Console").default_value("http://127.0.0.1:5002")
    built = (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags(["iiot"])
        .readonly()
        .time("now-6h", "now")
        .timezone("browser")
        .refresh(REFRESH)
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .link(dashboard.DashboardLink("Console").url("${console}").icon("external link").target_blank(True))
        .link(
            dashboard.DashboardLink("Dashboards")
            .type(model.DashboardLinkType.DASHBOARDS)
            .tags(["iiot"])
            .as_dropdown(True)
            .keep_time(True)
        )
        .annotation(marks)
        .with_variable(source)
        .with_variable(console)
    )
    for variable in variables:
        built = built.with_variable(variable)
    x = y = row_height = 0
    for number, builder in enumerate(panels, start=1):
        placed = builder.id(number).build()
        width, height = placed.grid_pos.w, placed.grid_pos.h
        if x + width > GRID_WIDTH:
            x, y, row_height = 0, y + row_height, 0
        placed.grid_pos = model.GridPos(h=height, w=width, x=x, y=y)
        x, row_height = x + width, max(row_height, height)
        built = built.with_panel(builder)
    return built.build()
