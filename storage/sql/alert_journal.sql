-- name: add_missing_alerts
-- Rows for alerts that are heard of for the first time, in the order in which everybody locks them.
-- Index: alerts_source_idx
INSERT INTO alerts (tenant_id, device_key, source, rule_id, metric_id, severity, message, raised_at,
                    is_active, condition_holds, is_acknowledged, occurrence)
SELECT tenant_id, device_key, source, rule_id, metric_id, severity, message, raised_at, false, false, true, 0
FROM json_to_recordset(%(sources)s::json) AS wanted (
    tenant_id integer, device_key bigint, source text, rule_id uuid, metric_id integer, severity text,
    message text, raised_at timestamptz
)
ORDER BY tenant_id, coalesce(device_key, 0), source
ON CONFLICT (tenant_id, coalesce(device_key, 0), source) DO NOTHING;

-- name: lock_alerts_by_source
-- The alerts with these sources and the facts about them, locked one after the other in one order for all.
-- Index: alerts_source_idx
SELECT a.alert_id, a.tenant_id, a.device_key, a.source, a.rule_id, r.name, d.device_id, m.name, u.email,
       a.severity, a.message, a.value, a.rule_version, a.is_active, a.condition_holds, a.is_latched,
       a.is_acknowledged, a.acknowledged_by, a.acknowledged_at, a.acknowledge_comment, a.acknowledged_event_id,
       a.attention_event_id, a.shelved_until, a.shelved_by, a.shelve_reason, a.suppressed_by, a.is_out_of_service,
       a.occurrence, a.repeat_count, a.raised_at, a.cleared_at, a.realarm_after_s, a.realarm_at
FROM json_to_recordset(%(sources)s::json) AS wanted (tenant_id integer, device_key bigint, source text)
JOIN alerts a ON a.tenant_id = wanted.tenant_id
    AND coalesce(a.device_key, 0) = coalesce(wanted.device_key, 0) AND a.source = wanted.source
LEFT JOIN rules r ON r.tenant_id = a.tenant_id AND r.rule_id = a.rule_id
LEFT JOIN devices d ON d.tenant_id = a.tenant_id AND d.device_key = a.device_key
LEFT JOIN metrics m ON m.tenant_id = a.tenant_id AND m.metric_id = a.metric_id
LEFT JOIN users u ON u.tenant_id = a.tenant_id AND u.user_id = a.acknowledged_by
ORDER BY a.tenant_id, coalesce(a.device_key, 0), a.source
FOR UPDATE OF a;

-- name: lock_alerts
-- The alerts with these ids and the facts about them, locked in the same order.
-- Index: alerts_pkey
SELECT a.alert_id, a.tenant_id, a.device_key, a.source, a.rule_id, r.name, d.device_id, m.name, u.email,
       a.severity, a.message, a.value, a.rule_version, a.is_active, a.condition_holds, a.is_latched,
       a.is_acknowledged, a.acknowledged_by, a.acknowledged_at, a.acknowledge_comment, a.acknowledged_event_id,
       a.attention_event_id, a.shelved_until, a.shelved_by, a.shelve_reason, a.suppressed_by, a.is_out_of_service,
       a.occurrence, a.repeat_count, a.raised_at, a.cleared_at, a.realarm_after_s, a.realarm_at
FROM alerts a
LEFT JOIN rules r ON r.tenant_id = a.tenant_id AND r.rule_id = a.rule_id
LEFT JOIN devices d ON d.tenant_id = a.tenant_id AND d.device_key = a.device_key
LEFT JOIN metrics m ON m.tenant_id = a.tenant_id AND m.metric_id = a.metric_id
LEFT JOIN users u ON u.tenant_id = a.tenant_id AND u.user_id = a.acknowledged_by
WHERE a.alert_id = ANY(%(alert_ids)s::uuid[])
ORDER BY a.tenant_id, coalesce(a.device_key, 0), a.source
FOR UPDATE OF a;

-- name: due_alerts
-- The alerts whose shelving ends, that ask for attention again, that something suppresses, or that were raised while
-- their device was being taken out of service or put back: of all tenants.
-- Index: alerts_shelved_idx
SELECT alert_id FROM alerts WHERE shelved_until <= %(now)s::timestamptz
UNION
SELECT alert_id FROM alerts WHERE realarm_at <= %(now)s::timestamptz AND shelved_until IS NULL
UNION
SELECT alert_id FROM alerts WHERE suppressed_by IS NOT NULL
UNION
SELECT a.alert_id
FROM devices d
JOIN alerts a ON a.tenant_id = d.tenant_id AND a.device_key = d.device_key AND a.is_active
WHERE d.out_of_service_at IS NOT NULL AND NOT a.is_out_of_service
UNION
SELECT a.alert_id
FROM tenants t
JOIN alerts a ON a.tenant_id = t.tenant_id AND a.state = 'out_of_service'
JOIN devices d ON d.tenant_id = a.tenant_id AND d.device_key = a.device_key AND d.out_of_service_at IS NULL;

-- name: alerts_of_device
-- The alerts of one device of the current tenant.
-- Index: alerts_device_idx
SELECT alert_id FROM alerts
WHERE tenant_id = (SELECT current_tenant_id()) AND device_key = %(device_key)s::bigint;

-- name: heard_before
-- Of these events of rules and devices, those that the journal holds.
-- Index: alert_events_once_idx
SELECT e.alert_id, e.kind, e.observed_at
FROM json_to_recordset(%(events)s::json) AS wanted (tenant_id integer, alert_id uuid, observed_at timestamptz)
JOIN alert_events e ON e.tenant_id = wanted.tenant_id AND e.alert_id = wanted.alert_id
    AND e.observed_at = wanted.observed_at
    AND e.kind IN ('raised', 'severity_changed', 'returned', 'cleared');

-- name: add_alert_events
-- Appends to the journal in the given order; the new numbers rise in that order.
INSERT INTO alert_events (
    tenant_id, alert_id, kind, observed_at, recorded_at, severity, value, message, rule_version, occurrence,
    repeat_count, actor, actor_user_id, comment, until, suppressed_by, is_out_of_service, is_latched,
    realarm_after_s, acknowledged_event_id
)
SELECT tenant_id, alert_id, kind, observed_at, %(recorded_at)s::timestamptz, severity, value, message,
       rule_version, occurrence, repeat_count, actor, actor_user_id, comment, until, suppressed_by,
       is_out_of_service, is_latched, realarm_after_s, acknowledged_event_id
FROM json_to_recordset(%(events)s::json) AS told (
    place integer, tenant_id integer, alert_id uuid, kind text, observed_at timestamptz, severity text,
    value double precision, message text, rule_version integer, occurrence integer, repeat_count integer,
    actor text, actor_user_id uuid, comment text, until timestamptz, suppressed_by text,
    is_out_of_service boolean, is_latched boolean, realarm_after_s double precision,
    acknowledged_event_id bigint
)
ORDER BY place
RETURNING alert_event_id;

-- name: save_alerts
-- Writes the facts that the events amount to.
-- Index: alerts_pkey
UPDATE alerts a
SET severity = f.severity, message = f.message, value = f.value, rule_version = f.rule_version,
    is_active = f.is_active, condition_holds = f.condition_holds, is_latched = f.is_latched,
    is_acknowledged = f.is_acknowledged, acknowledged_by = f.acknowledged_by,
    acknowledged_at = f.acknowledged_at, acknowledge_comment = f.acknowledge_comment,
    acknowledged_event_id = f.acknowledged_event_id, attention_event_id = f.attention_event_id,
    shelved_until = f.shelved_until, shelved_by = f.shelved_by, shelve_reason = f.shelve_reason,
    suppressed_by = f.suppressed_by, is_out_of_service = f.is_out_of_service, occurrence = f.occurrence,
    repeat_count = f.repeat_count, raised_at = f.raised_at, cleared_at = f.cleared_at,
    realarm_after_s = f.realarm_after_s, realarm_at = f.realarm_at
FROM json_to_recordset(%(facts)s::json) AS f (
    alert_id uuid, severity text, message text, value double precision, rule_version integer,
    is_active boolean, condition_holds boolean, is_latched boolean, is_acknowledged boolean,
    acknowledged_by uuid, acknowledged_at timestamptz, acknowledge_comment text, acknowledged_event_id bigint,
    attention_event_id bigint, shelved_until timestamptz, shelved_by uuid, shelve_reason text,
    suppressed_by text, is_out_of_service boolean, occurrence integer, repeat_count integer,
    raised_at timestamptz, cleared_at timestamptz, realarm_after_s double precision, realarm_at timestamptz
)
WHERE a.alert_id = f.alert_id;

-- name: surroundings
-- For each of these devices itself (depth 0) and those above it: whether it is out of service, its status, and
-- the ranks of the severities of what stands on it.
-- Index: devices_tenant_id_device_key_key
WITH RECURSIVE above AS (
    SELECT d.tenant_id, d.device_key AS of_device_key, d.device_key, d.device_id, d.parent_device_key,
           d.status, d.out_of_service_at IS NOT NULL AS is_out_of_service, 0 AS depth
    FROM json_to_recordset(%(devices)s::json) AS wanted (tenant_id integer, device_key bigint)
    JOIN devices d ON d.tenant_id = wanted.tenant_id AND d.device_key = wanted.device_key
    UNION ALL
    SELECT d.tenant_id, above.of_device_key, d.device_key, d.device_id, d.parent_device_key,
           d.status, d.out_of_service_at IS NOT NULL, above.depth + 1
    FROM above
    JOIN devices d ON d.tenant_id = above.tenant_id AND d.device_key = above.parent_device_key
    WHERE above.depth < 32
)
SELECT above.of_device_key, above.device_key, above.device_id, above.status, above.is_out_of_service,
       CASE WHEN above.depth > 0 THEN (
           SELECT max(array_position(ARRAY['info', 'low', 'medium', 'high', 'critical'], a.severity)) - 1
           FROM alerts a
           WHERE a.tenant_id = above.tenant_id AND a.device_key = above.device_key AND a.is_active
       ) END
FROM above
ORDER BY above.of_device_key, above.depth;
