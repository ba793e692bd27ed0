"""The engineer's page: does data come in, what is refused, does word go out."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from tools.grafana.parts import (
    BAD_IF_ANY,
    Sql,
    alert_marks,
    bars,
    columns,
    console_link,
    figure,
    page,
    rows,
    series,
    unit_of,
)


def build() -> Dashboard:
    """Return the dashboard."""
    silent = rows(
        "Longest silent",
        "The twenty devices whose last message is oldest.",
        Sql(
            "SELECT d.device_id, d.name, d.status, extract(epoch FROM now() - max(l.received_at))::float8 AS silent"
            " FROM bi.devices d JOIN bi.latest_values l ON l.device_id = d.device_id"
            " GROUP BY d.device_id, d.name, d.status ORDER BY 4 DESC, 1 LIMIT 20"
        ),
        unit="none",
        size=(12, 9),
        units=[unit_of("silent", "s")],
    ).data_links([console_link("Open the device in the console", "devices/${__data.fields.device_id}")])
    return page(
        "iiot-platform-health",
        "Platform Health",
        "Does data come in, what is refused, does word go out.",
        variables=[],
        marks=alert_marks(""),
        panels=[
            figure(
                "Online",
                "Devices that say they are online.",
                Sql("SELECT count(*) FILTER (WHERE status = 'online') AS online FROM bi.devices"),
                unit="short",
                size=(4, 4),
            ),
            figure(
                "Offline",
                "Devices that said goodbye or whose connection broke.",
                Sql("SELECT count(*) FILTER (WHERE status = 'offline') AS offline FROM bi.devices"),
                unit="short",
                size=(4, 4),
                limits=BAD_IF_ANY,
            ),
            figure(
                "Newest reading",
                "Age of the newest reading of all: it grows when nothing comes in.",
                Sql(
                    "SELECT extract(epoch FROM now() - max(received_at))::float8 AS age FROM bi.latest_values"
                ),
                unit="s",
                size=(4, 4),
                limits=((None, "green"), (30.0, "orange"), (120.0, "red")),
            ),
            figure(
                "Silent metrics",
                "Metrics without a reading for five minutes, of those that had any.",
                Sql(
                    "SELECT count(*) FILTER (WHERE received_at < now() - interval '5 minutes') AS silent"
                    " FROM bi.latest_values"
                ),
                unit="short",
                size=(4, 4),
                limits=BAD_IF_ANY,
            ),
            figure(
                "Delay of arrival",
                "From the source's clock to ours, of the newest reading of every metric.",
                Sql(
                    "SELECT q[1] AS p50, q[2] AS p95, q[3] AS p99 FROM (SELECT percentile_cont(ARRAY[0.5, 0.95, 0.99])"
                    " WITHIN GROUP (ORDER BY extract(epoch FROM received_at - observed_at)::float8) AS q"
                    " FROM bi.latest_values) AS delays"
                ),
                unit="s",
                size=(8, 4),
                limits=((None, "green"), (5.0, "orange"), (60.0, "red")),
            ),
            columns(
                "Refused, by reason",
                "Messages and readings that were kept as dead letters instead of stored.",
                series(
                    "SELECT $__timeGroupAlias(received_at,$__interval), reason, sum(occurrences) AS refused"
                    " FROM bi.dead_letters WHERE $__timeFilter(received_at) GROUP BY 1, 2 ORDER BY 1, 2"
                ),
                unit="short",
                size=(12, 8),
            ).data_links([console_link("Open the dead letters in the console", "letters")]),
            columns(
                "Notifications, by state",
                "Mails, web hooks and pages for alerts by the time at which they were due first.",
                series(
                    "SELECT $__timeGroupAlias(created_at,$__interval), state, count(*) AS notifications"
                    " FROM bi.notifications WHERE $__timeFilter(created_at) GROUP BY 1, 2 ORDER BY 1, 2"
                ),
                unit="short",
                size=(12, 8),
            ),
            figure(
                "Notifications waiting",
                "How many wait to be sent, held ones not counted.",
                Sql("SELECT count(*) FILTER (WHERE state = 'pending') AS waiting FROM bi.notifications"),
                unit="short",
                size=(6, 5),
            ),
            figure(
                "Oldest waiting",
                "Age of the oldest notification that was not sent yet.",
                Sql(
                    "SELECT coalesce(max(extract(epoch FROM now() - created_at)) FILTER (WHERE state = 'pending'), 0)"
                    "::float8 AS age FROM bi.notifications"
                ),
                unit="s",
                size=(6, 5),
                limits=((None, "green"), (60.0, "orange"), (600.0, "red")),
            ),
            bars(
                "Devices by type",
                "How many devices of each type there are.",
                Sql("SELECT type, count(*) AS devices FROM bi.devices GROUP BY type ORDER BY 2 DESC, 1"),
                unit="short",
                size=(12, 5),
            ),
            silent,
            rows(
                "Refused lately",
                "Dead letters, the latest first; the console shows their payloads.",
                Sql(
                    "SELECT last_received_at, reason, source, device_id, metric, occurrences FROM bi.dead_letters"
                    " ORDER BY last_received_at DESC LIMIT 100"
                ),
                unit="none",
                size=(12, 9),
                units=[unit_of("occurrences", "short")],
            ),
        ],
    )
