"""All alerts: what stands, how quickly people answer, which rules make noise."""

from grafana_foundation_sdk.models.dashboard import Dashboard, DynamicConfigValue

from tools.grafana.parts import (
    BAD_IF_ANY,
    SEVERITIES,
    Sql,
    alert_marks,
    bars,
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

_CHOSEN = "device_id IN ($device) AND severity IN ($severity)"
_SEVERITY = "CASE severity WHEN 'critical' THEN 1 WHEN 'high' THEN 2 WHEN 'medium' THEN 3 WHEN 'low' THEN 4 ELSE 5 END"
_COLOURED = ("severity", [DynamicConfigValue(id_val="mappings", value=words(SEVERITIES))])
# What EEMUA 191 and ISA-18.2 call a flood.
_FLOOD = 10.0


def build() -> Dashboard:
    """Return the dashboard."""
    standing = rows(
        "Active alerts",
        "What stands now, gravest and oldest first.",
        Sql(
            "SELECT severity, state, device_id, message, extract(epoch FROM now() - raised_at)::float8 AS age,"
            " rule, repeat_count FROM bi.alerts WHERE is_active AND @chosen"
            " ORDER BY @gravity, raised_at LIMIT 200",
            chosen=_CHOSEN,
            gravity=_SEVERITY,
        ),
        unit="none",
        size=(24, 9),
        units=[unit_of("age", "s"), unit_of("repeat_count", "short"), _COLOURED],
    ).data_links([console_link("Open the device in the console", "devices/${__data.fields.device_id}")])
    return page(
        "iiot-alerts",
        "Alerts & Rules",
        "What stands, how quickly people answer, which rules make noise.",
        variables=[
            device_variable(multi=True),
            choice(
                "severity",
                "Severity",
                "SELECT severity FROM unnest(ARRAY['critical', 'high', 'medium', 'low', 'info']) AS s (severity)"
                " ORDER BY @gravity",
                gravity=_SEVERITY,
            )
            .multi(True)
            .include_all(True),
        ],
        marks=alert_marks(f"AND {_CHOSEN}"),
        panels=[
            figure(
                "Active",
                "Alerts that stand now.",
                Sql("SELECT count(*) AS active FROM bi.alerts WHERE is_active AND @chosen", chosen=_CHOSEN),
                unit="short",
                size=(6, 4),
                limits=BAD_IF_ANY,
            ).data_links([console_link("Open the alerts in the console", "alerts")]),
            figure(
                "Unacknowledged",
                "Alerts that nobody has seen yet.",
                Sql(
                    "SELECT count(*) AS waiting FROM bi.alerts"
                    " WHERE state IN ('unacknowledged', 'returned_unacknowledged') AND @chosen",
                    chosen=_CHOSEN,
                ),
                unit="short",
                size=(6, 4),
                limits=BAD_IF_ANY,
            ),
            figure(
                "Time to acknowledge",
                "Median, of alerts raised in the time shown that were acknowledged.",
                Sql(
                    "SELECT percentile_cont(0.5) WITHIN GROUP"
                    " (ORDER BY extract(epoch FROM acknowledged_at - raised_at)::float8) AS acknowledged_after"
                    " FROM bi.alerts WHERE acknowledged_at >= raised_at AND $__timeFilter(raised_at) AND @chosen",
                    chosen=_CHOSEN,
                ),
                unit="s",
                size=(6, 4),
                limits=((None, "green"), (600.0, "orange"), (3600.0, "red")),
            ),
            figure(
                "Time to clear",
                "Median, of alerts raised in the time shown that were over again.",
                Sql(
                    "SELECT percentile_cont(0.5) WITHIN GROUP"
                    " (ORDER BY extract(epoch FROM cleared_at - raised_at)::float8) AS cleared_after"
                    " FROM bi.alerts WHERE cleared_at >= raised_at AND $__timeFilter(raised_at) AND @chosen",
                    chosen=_CHOSEN,
                ),
                unit="s",
                size=(6, 4),
            ),
            standing,
            columns(
                "Raised, acknowledged, cleared",
                "What happened to alerts in each hour.",
                series(
                    "SELECT $__timeGroupAlias(observed_at,'1h'), kind, count(*) AS events FROM bi.alert_events"
                    " WHERE $__timeFilter(observed_at) AND kind IN ('raised', 'acknowledged', 'cleared') AND @chosen"
                    " GROUP BY 1, 2 ORDER BY 1, 2",
                    chosen=_CHOSEN,
                ),
                unit="short",
                size=(12, 8),
            ),
            columns(
                "Raised in ten minutes",
                "More than ten new alerts in ten minutes are a flood that one operator cannot follow.",
                series(
                    "SELECT $__timeGroupAlias(observed_at,'10m'), count(*) AS raised FROM bi.alert_events"
                    " WHERE $__timeFilter(observed_at) AND kind = 'raised' AND @chosen GROUP BY 1 ORDER BY 1",
                    chosen=_CHOSEN,
                ),
                unit="short",
                size=(12, 8),
                limits=((None, "green"), (_FLOOD, "red")),
            ),
            bars(
                "Active by severity",
                "How grave what stands is.",
                Sql(
                    "SELECT severity, count(*) AS alerts FROM bi.alerts WHERE is_active AND @chosen"
                    " GROUP BY severity ORDER BY @gravity",
                    chosen=_CHOSEN,
                    gravity=_SEVERITY,
                ),
                unit="short",
                size=(8, 8),
            ),
            bars(
                "Noisiest rules",
                "The ten rules that raised most in the time shown: where to put a deadband or a delay.",
                Sql(
                    "SELECT coalesce(rule, 'raised by the device') AS rule, count(*) AS raised FROM bi.alert_events"
                    " WHERE $__timeFilter(observed_at) AND kind = 'raised' AND @chosen"
                    " GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 10",
                    chosen=_CHOSEN,
                ),
                unit="short",
                size=(8, 8),
            ),
            bars(
                "Devices with most alerts",
                "The ten devices on which most alerts were raised in the time shown.",
                Sql(
                    "SELECT device_id, count(*) AS raised FROM bi.alert_events"
                    " WHERE $__timeFilter(observed_at) AND kind = 'raised' AND @chosen"
                    " GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 10",
                    chosen=_CHOSEN,
                ),
                unit="short",
                size=(8, 8),
            ),
            rows(
                "Rules",
                "Every rule, with the alerts that it raised in the time shown.",
                Sql(
                    "SELECT r.name, r.severity, r.is_enabled, r.version, r.updated_at, count(a.alert_id) AS alerts"
                    " FROM bi.rules r LEFT JOIN bi.alerts a ON a.rule_id = r.rule_id AND $__timeFilter(a.raised_at)"
                    " GROUP BY r.rule_id, r.name, r.severity, r.is_enabled, r.version, r.updated_at"
                    " ORDER BY 6 DESC, 1"
                ),
                unit="none",
                size=(24, 8),
                units=[_COLOURED, unit_of("alerts", "short")],
            ),
        ],
    )
