"""One machine, opened from an alert: does it speak, what does it say, what is wrong."""

from grafana_foundation_sdk.models.dashboard import Dashboard, DynamicConfigValue

from tools.grafana.parts import (
    BAD_IF_ANY,
    Sql,
    alert_marks,
    chart,
    choice,
    columns,
    console_link,
    device_variable,
    figure,
    page,
    rows,
    series,
    unit_of,
    words,
)

_STATES = {"0": ("Offline", "red"), "1": ("Online", "green"), "2": ("Unknown", "text")}
_QUALITIES = {"0": ("Bad", "red"), "64": ("Uncertain", "orange"), "192": ("Good", "green")}


def build() -> Dashboard:
    """Return the dashboard."""
    status = figure(
        "Status",
        "What the device last said of itself, or its last will.",
        Sql(
            "SELECT CASE status WHEN 'online' THEN 1 WHEN 'offline' THEN 0 ELSE 2 END AS status"
            " FROM bi.devices WHERE device_id = '$device'"
        ),
        unit="none",
        size=(4, 4),
    ).mappings(words(_STATES))
    values = rows(
        "Newest values",
        "The newest reading of every metric by its own time, with its age.",
        Sql(
            "SELECT metric, value, unit, quality, extract(epoch FROM now() - observed_at)::float8 AS age"
            " FROM bi.latest_values WHERE device_id = '$device' ORDER BY metric"
        ),
        unit="none",
        size=(12, 9),
        units=[unit_of("age", "s")],
    ).override_by_name("quality", [_mapped(_QUALITIES)])
    alerts = rows(
        "Alerts of this device",
        "Every alert that stands or was raised in the time shown, newest first.",
        Sql(
            "SELECT raised_at, severity, state, message, alert_id FROM bi.alerts WHERE device_id = '$device'"
            " AND (is_active OR $__timeFilter(raised_at)) ORDER BY raised_at DESC LIMIT 100"
        ),
        unit="none",
        size=(12, 9),
    ).data_links([console_link("Open the alerts in the console", "alerts?device_id=${device}")])
    return page(
        "iiot-device-overview",
        "Device Overview",
        "One machine: does it speak, what does it say, what is wrong.",
        variables=[
            device_variable(multi=False),
            choice(
                "metric",
                "Metrics",
                "SELECT metric FROM bi.metrics WHERE device_id = '$device' ORDER BY metric",
            )
            .multi(True)
            .include_all(True),
        ],
        marks=alert_marks("AND device_id = '$device'"),
        panels=[
            status.data_links([console_link("Open the device in the console", "devices/${device}")]),
            figure(
                "Silent for",
                "Time since the last message of the device arrived.",
                Sql(
                    "SELECT extract(epoch FROM now() - max(received_at))::float8 AS age FROM bi.latest_values"
                    " WHERE device_id = '$device'"
                ),
                unit="s",
                size=(4, 4),
                limits=((None, "green"), (60.0, "orange"), (300.0, "red")),
            ),
            figure(
                "Active alerts",
                "Alerts of this device that stand now.",
                Sql("SELECT count(*) AS active FROM bi.alerts WHERE device_id = '$device' AND is_active"),
                unit="short",
                size=(4, 4),
                limits=BAD_IF_ANY,
            ),
            figure(
                "Good readings",
                "Share of the readings in the time shown whose quality is good.",
                Sql(
                    "SELECT avg(CASE WHEN quality >= 192 THEN 1.0 ELSE 0.0 END)::float8 AS good FROM bi.telemetry"
                    " WHERE device_id = '$device' AND $__timeFilter(observed_at)"
                ),
                unit="percentunit",
                size=(4, 4),
                limits=((None, "red"), (0.95, "orange"), (0.99, "green")),
            ),
            columns(
                "Readings stored",
                "Readings of the device for each interval; a hole is a time without telemetry.",
                series(
                    "SELECT $__timeGroupAlias(observed_at,$__interval), count(*) AS readings FROM bi.telemetry"
                    " WHERE device_id = '$device' AND $__timeFilter(observed_at) GROUP BY 1 ORDER BY 1"
                ),
                unit="short",
                size=(8, 4),
            ),
            values,
            alerts,
            chart(
                "$metric",
                "Mean of each interval; marks show where alerts were raised.",
                series(
                    "SELECT $__timeGroupAlias(observed_at,$__interval), metric, avg(value) AS value FROM bi.telemetry"
                    " WHERE device_id = '$device' AND metric IN ($metric) AND $__timeFilter(observed_at)"
                    " GROUP BY 1, 2 ORDER BY 1, 2"
                ),
                unit="short",
                size=(24, 8),
            )
            .repeat("metric")
            .repeat_direction("h")
            .max_per_row(2),
            chart(
                "Delay of arrival",
                "95th percentile of the time from the source's clock to ours: a rise is a slow line, a step a"
                " clock that is wrong.",
                series(
                    "SELECT $__timeGroupAlias(observed_at,$__interval), percentile_cont(0.95) WITHIN GROUP"
                    " (ORDER BY extract(epoch FROM received_at - observed_at)::float8) AS delay FROM bi.telemetry"
                    " WHERE device_id = '$device' AND $__timeFilter(observed_at) GROUP BY 1 ORDER BY 1"
                ),
                unit="s",
                size=(24, 7),
            ),
        ],
    )


def _mapped(names: dict[str, tuple[str, str]]) -> DynamicConfigValue:
    return DynamicConfigValue(id_val="mappings", value=words(names))
