-- name: alert_kpis
-- The figures of alarm management over [start, stop) for the current tenant, as one JSON object from one snapshot.
-- Announced alerts count: raised neither shelved, suppressed nor out of service. Standing and shelved are as of stop.
-- Index: alert_events_time_idx
WITH announced AS MATERIALIZED (
    SELECT e.alert_event_id, e.alert_id, e.occurrence, e.observed_at, e.severity, a.source,
           count(*) OVER ten_minutes AS in_ten_minutes,
           lag(e.observed_at, 9) OVER plant AS ninth_before,
           e.observed_at - lag(e.observed_at, 2) OVER alert < interval '1 minute' AS is_chatter
    FROM alert_events e
    JOIN alerts a ON a.tenant_id = e.tenant_id AND a.alert_id = e.alert_id
    WHERE e.tenant_id = (SELECT current_tenant_id()) AND e.kind = 'raised'
      AND e.observed_at >= %(start)s::timestamptz AND e.observed_at < %(stop)s::timestamptz
      AND e.suppressed_by IS NULL AND NOT e.is_out_of_service
      AND (SELECT s.kind FROM alert_events s
           WHERE s.tenant_id = e.tenant_id AND s.alert_id = e.alert_id AND s.alert_event_id < e.alert_event_id
             AND s.kind IN ('shelved', 'unshelved')
           ORDER BY s.alert_event_id DESC LIMIT 1) IS DISTINCT FROM 'shelved'
    WINDOW ten_minutes AS (ORDER BY e.observed_at
                           RANGE BETWEEN interval '599.999999 seconds' PRECEDING AND CURRENT ROW),
           plant AS (ORDER BY e.observed_at, e.alert_event_id),
           alert AS (PARTITION BY e.alert_id ORDER BY e.observed_at, e.alert_event_id)
), span AS (
    SELECT extract(epoch FROM %(stop)s::timestamptz - %(start)s::timestamptz)::double precision AS seconds
), raised AS (
    SELECT count(*) AS n, max(in_ten_minutes) AS peak FROM announced
), flood AS (
    -- The tenth alert within ten minutes opens a flood, which lasts until fewer than ten lie ten minutes back.
    SELECT observed_at AS opens_at, ends_at,
           lag(ends_at) OVER (ORDER BY observed_at, alert_event_id) AS before_ends_at
    FROM announced
    CROSS JOIN LATERAL (SELECT least(ninth_before + interval '10 minutes', %(stop)s::timestamptz) AS ends_at) AS ends
    WHERE observed_at - ninth_before < interval '10 minutes'
), floods AS (
    SELECT count(*) FILTER (WHERE before_ends_at IS NULL OR opens_at > before_ends_at) AS n,
           coalesce(extract(epoch FROM sum(greatest(ends_at - greatest(opens_at, before_ends_at), interval '0'))),
                    0)::double precision AS seconds
    FROM flood
), sources AS (
    SELECT source, count(*) AS n FROM announced GROUP BY source ORDER BY n DESC, source LIMIT 10
), chatter AS (
    SELECT alert_id, count(*) AS n, count(*) FILTER (WHERE is_chatter) AS bursts
    FROM announced GROUP BY alert_id HAVING bool_or(is_chatter)
), lives AS (
    SELECT opened.alert_id, opened.occurrence, opened.raised_at,
           min(e.observed_at) FILTER (WHERE e.kind = 'acknowledged') AS acknowledged_at,
           min(e.observed_at) FILTER (WHERE e.kind = 'cleared') AS cleared_at
    FROM (SELECT alert_id, occurrence, min(observed_at) AS raised_at
          FROM announced GROUP BY alert_id, occurrence) AS opened
    LEFT JOIN alert_events e ON e.tenant_id = (SELECT current_tenant_id()) AND e.alert_id = opened.alert_id
        AND e.occurrence = opened.occurrence AND e.kind IN ('acknowledged', 'cleared')
        AND e.observed_at < %(stop)s::timestamptz
    GROUP BY opened.alert_id, opened.occurrence, opened.raised_at
), times AS (
    -- The clock of a device may be ahead of that of a person.
    SELECT CASE WHEN acknowledged_at < raised_at THEN 0
                ELSE extract(epoch FROM acknowledged_at - raised_at) END::double precision AS to_acknowledge_s,
           CASE WHEN cleared_at < raised_at THEN 0
                ELSE extract(epoch FROM cleared_at - raised_at) END::double precision AS to_clear_s
    FROM lives
), medians AS (
    SELECT count(to_acknowledge_s) AS acknowledged, count(to_clear_s) AS cleared,
           percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY to_acknowledge_s) AS to_acknowledge,
           percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY to_clear_s) AS to_clear,
           count(*) FILTER (WHERE to_clear_s < 60) AS fleeting, count(*) AS n
    FROM times
), standing AS (
    SELECT a.alert_id, a.source, a.device_key, last.severity,
           (SELECT min(e.observed_at) FROM alert_events e
            WHERE e.tenant_id = a.tenant_id AND e.alert_id = a.alert_id AND e.kind = 'raised'
              AND e.occurrence = last.occurrence) AS since
    FROM alerts a
    CROSS JOIN LATERAL (
        SELECT e.kind, e.occurrence, e.severity FROM alert_events e
        WHERE e.tenant_id = a.tenant_id AND e.alert_id = a.alert_id
          AND e.kind IN ('raised', 'severity_changed', 'cleared') AND e.observed_at < %(stop)s::timestamptz
        ORDER BY e.alert_event_id DESC LIMIT 1
    ) AS last
    WHERE a.tenant_id = (SELECT current_tenant_id()) AND last.kind <> 'cleared'
), shelved AS (
    SELECT a.alert_id, a.source, a.device_key, last.until, last.comment, last.actor
    FROM alerts a
    CROSS JOIN LATERAL (
        SELECT e.kind, e.until, e.comment, e.actor FROM alert_events e
        WHERE e.tenant_id = a.tenant_id AND e.alert_id = a.alert_id AND e.kind IN ('shelved', 'unshelved')
          AND e.observed_at < %(stop)s::timestamptz
        ORDER BY e.alert_event_id DESC LIMIT 1
    ) AS last
    WHERE a.tenant_id = (SELECT current_tenant_id()) AND last.kind = 'shelved'
      AND last.until > %(stop)s::timestamptz
)
SELECT json_build_object(
    'raised', raised.n,
    'per_hour', raised.n * 3600.0 / span.seconds,
    'per_day', raised.n * 86400.0 / span.seconds,
    'by_hour', (
        SELECT coalesce(json_agg(json_build_object('start', hour, 'raised', n) ORDER BY hour), '[]')
        FROM (SELECT date_trunc('hour', observed_at, 'UTC') AS hour, count(*) AS n
              FROM announced GROUP BY hour) AS hours),
    'by_day', (
        SELECT coalesce(json_agg(json_build_object('start', day, 'raised', n) ORDER BY day), '[]')
        FROM (SELECT date_trunc('day', observed_at, 'UTC') AS day, count(*) AS n
              FROM announced GROUP BY day) AS days),
    'peak_10_min', json_build_object(
        'raised', coalesce(raised.peak, 0),
        'at', (SELECT min(observed_at) FROM announced WHERE in_ten_minutes = raised.peak)),
    'flood', json_build_object(
        'periods', floods.n, 'time_s', floods.seconds, 'ratio', floods.seconds / span.seconds),
    'top_sources', (
        SELECT coalesce(json_agg(json_build_object(
            'source', s.source, 'rule_id', r.rule_id, 'rule_name', r.name, 'raised', s.n,
            'share', s.n::double precision / raised.n) ORDER BY s.n DESC, s.source), '[]')
        FROM sources s
        LEFT JOIN rules r ON r.tenant_id = (SELECT current_tenant_id()) AND s.source = 'rule:' || r.rule_id),
    'top_sources_share', (SELECT sum(n) FROM sources)::double precision / nullif(raised.n, 0),
    'chattering', (
        SELECT coalesce(json_agg(json_build_object(
            'alert_id', c.alert_id, 'source', a.source, 'device_id', d.device_id, 'raised', c.n,
            'bursts', c.bursts) ORDER BY c.n DESC, c.alert_id), '[]')
        FROM chatter c
        JOIN alerts a ON a.tenant_id = (SELECT current_tenant_id()) AND a.alert_id = c.alert_id
        LEFT JOIN devices d ON d.tenant_id = a.tenant_id AND d.device_key = a.device_key),
    'fleeting', json_build_object(
        'occurrences', medians.fleeting, 'ratio', medians.fleeting::double precision / nullif(medians.n, 0)),
    'standing', (SELECT count(*) FROM standing),
    'stale', (
        SELECT coalesce(json_agg(json_build_object(
            'alert_id', s.alert_id, 'source', s.source, 'device_id', d.device_id, 'severity', s.severity,
            'raised_at', s.since) ORDER BY s.since, s.alert_id), '[]')
        FROM standing s
        LEFT JOIN devices d ON d.tenant_id = (SELECT current_tenant_id()) AND d.device_key = s.device_key
        WHERE s.since < %(stop)s::timestamptz - interval '24 hours'),
    'shelved', (
        SELECT coalesce(json_agg(json_build_object(
            'alert_id', s.alert_id, 'source', s.source, 'device_id', d.device_id, 'until', s.until,
            'reason', s.comment, 'shelved_by', s.actor) ORDER BY s.until, s.alert_id), '[]')
        FROM shelved s
        LEFT JOIN devices d ON d.tenant_id = (SELECT current_tenant_id()) AND d.device_key = s.device_key),
    'by_severity', (
        SELECT json_agg(json_build_object(
            'severity', severity, 'raised', n, 'share', n::double precision / nullif(raised.n, 0)) ORDER BY place)
        FROM (SELECT known.severity, known.place, count(announced.alert_id) AS n
              FROM unnest(ARRAY['info', 'low', 'medium', 'high', 'critical']) WITH ORDINALITY AS known (severity, place)
              LEFT JOIN announced ON announced.severity = known.severity
              GROUP BY known.severity, known.place) AS severities),
    'time_to_acknowledge_s', json_build_object(
        'n', medians.acknowledged, 'median', medians.to_acknowledge[1], 'p95', medians.to_acknowledge[2]),
    'time_to_clear_s', json_build_object(
        'n', medians.cleared, 'median', medians.to_clear[1], 'p95', medians.to_clear[2])
)::text
FROM raised, span, floods, medians;
