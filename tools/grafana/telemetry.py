"""One metric of several machines: its course, its spread, its habits."""

from grafana_foundation_sdk.builders import barchart
from grafana_foundation_sdk.models.dashboard import Dashboard

from tools.grafana.parts import (
    Sql,
    alert_marks,
    chart,
    choice,
    columns,
    console_link,
    figure,
    page,
    panel,
    rows,
    series,
)

_SHOWN = "metric = '$metric' AND device_id IN ($device) AND $__timeFilter(observed_at)"
_COURSE = (
    "SELECT $__timeGroupAlias(observed_at,$__interval), device_id, avg(value) AS value FROM bi.telemetry"
    " WHERE @shown GROUP BY 1, 2 ORDER BY 1, 2"
)


def build() -> Dashboard:
    """Return the dashboard."""
    newest = figure(
        "Newest ${metric} (${unit})",
        "The newest value of each chosen device.",
        Sql(
            "SELECT device_id, value FROM bi.latest_values WHERE metric = '$metric' AND device_id IN ($device)"
            " ORDER BY device_id"
        ),
        unit="short",
        size=(24, 4),
    )
    spread = panel(
        barchart.Panel(),
        "Distribution (${unit})",
        "How often the value was where: twenty classes of equal width between the least and the greatest.",
        Sql(
            "WITH shown AS (SELECT value, min(value) OVER () AS low, max(value) OVER () AS high FROM bi.telemetry"
            " WHERE @shown), classes AS (SELECT low, (high - low) / 20 AS width,"
            " CASE WHEN high > low THEN least(floor((value - low) / (high - low) * 20), 19) ELSE 0 END AS place"
            " FROM shown) SELECT round((low + width * place)::numeric, 3)::text AS from_value,"
            " count(*) AS readings FROM classes GROUP BY low, width, place ORDER BY place",
            shown=_SHOWN,
        ),
        unit="short",
        size=(12, 8),
    )
    habit = panel(
        barchart.Panel(),
        "Mean by hour of the day, UTC (${unit})",
        "What is usual at which hour; take a week or more for a fair picture.",
        Sql(
            "SELECT to_char(observed_at AT TIME ZONE 'UTC', 'HH24') AS hour, avg(value) AS mean FROM bi.telemetry"
            " WHERE @shown GROUP BY 1 ORDER BY 1",
            shown=_SHOWN,
        ),
        unit="short",
        size=(12, 8),
    )
    return page(
        "iiot-telemetry",
        "Telemetry Visualization",
        "One metric of several machines: its course, its spread, its habits.",
        variables=[
            choice("metric", "Metric", "SELECT DISTINCT metric FROM bi.metrics ORDER BY metric"),
            choice(
                "device",
                "Device",
                "SELECT DISTINCT device_id FROM bi.metrics WHERE metric = '$metric' ORDER BY device_id",
            )
            .multi(True)
            .include_all(True),
            choice(
                "unit", "Unit", "SELECT DISTINCT unit FROM bi.metrics WHERE metric = '$metric' ORDER BY unit"
            ),
        ],
        marks=alert_marks("AND device_id IN ($device)"),
        panels=[
            newest,
            chart(
                "Course of ${metric} (${unit})",
                "Mean of each interval, a line for each device.",
                series(_COURSE, shown=_SHOWN),
                unit="short",
                size=(24, 9),
            ).data_links([console_link("Analyse in the console", "analytics?metric=${metric}")]),
            chart(
                "The same a day before (${unit})",
                "The same query, one day earlier, for comparison.",
                series(_COURSE, shown=_SHOWN),
                unit="short",
                size=(12, 8),
            ).time_shift("1d"),
            chart(
                "Least and greatest (${unit})",
                "The extremes of each interval over the chosen devices: what a mean hides.",
                series(
                    "SELECT $__timeGroupAlias(observed_at,$__interval), min(value) AS least, max(value) AS greatest"
                    " FROM bi.telemetry WHERE @shown GROUP BY 1 ORDER BY 1",
                    shown=_SHOWN,
                ),
                unit="short",
                size=(12, 8),
            ),
            spread,
            habit,
            rows(
                "Statistics",
                "Figures of the time shown, from the single readings.",
                Sql(
                    "SELECT device_id, count(*) AS readings, min(value) AS least, avg(value) AS mean,"
                    " percentile_cont(0.5) WITHIN GROUP (ORDER BY value) AS median,"
                    " percentile_cont(0.95) WITHIN GROUP (ORDER BY value) AS p95, max(value) AS greatest,"
                    " stddev_samp(value) AS deviation"
                    " FROM bi.telemetry WHERE @shown GROUP BY device_id ORDER BY device_id",
                    shown=_SHOWN,
                ),
                unit="short",
                size=(16, 8),
            ),
            columns(
                "Readings that are not good",
                "Readings of uncertain or bad quality for each interval.",
                series(
                    "SELECT $__timeGroupAlias(observed_at,$__interval), device_id,"
                    " count(*) FILTER (WHERE quality < 192) AS not_good"
                    " FROM bi.telemetry WHERE @shown GROUP BY 1, 2 ORDER BY 1, 2",
                    shown=_SHOWN,
                ),
                unit="short",
                size=(8, 8),
            ),
        ],
    )
