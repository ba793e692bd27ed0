-- name: list_alerts
-- Alerts of the current tenant, last raised first, from after the one given.
-- Index: alerts_tenant_idx
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
WHERE a.tenant_id = (SELECT current_tenant_id())
  AND (%(state)s::text IS NULL OR a.state = %(state)s::text)
  AND (%(severity)s::text IS NULL OR a.severity = %(severity)s::text)
  AND (%(device_id)s::text IS NULL OR a.device_key = (
      SELECT device_key FROM devices
      WHERE tenant_id = (SELECT current_tenant_id()) AND device_id = %(device_id)s::text))
  AND (%(rule_id)s::uuid IS NULL OR a.rule_id = %(rule_id)s::uuid)
  AND (%(is_active)s::boolean IS NULL OR a.is_active = %(is_active)s::boolean)
  AND (%(start)s::timestamptz IS NULL OR a.raised_at >= %(start)s::timestamptz)
  AND (%(stop)s::timestamptz IS NULL OR a.raised_at < %(stop)s::timestamptz)
  AND (%(before_us)s::bigint IS NULL
       OR (a.raised_at <= 'epoch'::timestamptz + %(before_us)s::bigint * interval '1 microsecond'
           AND (a.raised_at < 'epoch'::timestamptz + %(before_us)s::bigint * interval '1 microsecond'
                OR a.alert_id > %(after_id)s::uuid)))
ORDER BY a.raised_at DESC, a.alert_id
LIMIT %(limit)s::integer;

-- name: find_alert
-- One alert of the current tenant.
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
WHERE a.alert_id = %(alert_id)s::uuid;

-- name: events_of_alert
-- The journal of one alert of the current tenant in its order, from after the event given.
-- Index: alert_events_alert_idx
SELECT e.alert_id, d.device_id, e.recorded_at, e.kind, e.observed_at, e.severity, e.occurrence, e.repeat_count,
       e.value, e.message, e.rule_version, e.actor, e.actor_user_id, e.comment, e.until, e.suppressed_by,
       e.is_out_of_service, e.is_latched, e.realarm_after_s, e.acknowledged_event_id, e.alert_event_id
FROM alert_events e
JOIN alerts a ON a.alert_id = e.alert_id
LEFT JOIN devices d ON d.tenant_id = a.tenant_id AND d.device_key = a.device_key
WHERE e.tenant_id = (SELECT current_tenant_id()) AND e.alert_id = %(alert_id)s::uuid
  AND e.alert_event_id > coalesce(%(after_id)s::bigint, 0)
ORDER BY e.alert_event_id
LIMIT %(limit)s::integer;

-- name: events_after
-- The journal of the current tenant in its order, from after the event given: what a client missed.
-- Index: alert_events_pkey
SELECT e.alert_id, d.device_id, e.recorded_at, e.kind, e.observed_at, e.severity, e.occurrence, e.repeat_count,
       e.value, e.message, e.rule_version, e.actor, e.actor_user_id, e.comment, e.until, e.suppressed_by,
       e.is_out_of_service, e.is_latched, e.realarm_after_s, e.acknowledged_event_id, e.alert_event_id
FROM alert_events e
JOIN alerts a ON a.alert_id = e.alert_id
LEFT JOIN devices d ON d.tenant_id = a.tenant_id AND d.device_key = a.device_key
WHERE e.tenant_id = (SELECT current_tenant_id())
  AND (%(kind)s::text IS NULL OR e.kind = %(kind)s::text)
  AND (%(device_id)s::text IS NULL OR d.device_id = %(device_id)s::text)
  AND (%(start)s::timestamptz IS NULL OR e.observed_at >= %(start)s::timestamptz)
  AND (%(stop)s::timestamptz IS NULL OR e.observed_at < %(stop)s::timestamptz)
  AND e.alert_event_id > coalesce(%(after_id)s::bigint, 0)
ORDER BY e.alert_event_id
LIMIT %(limit)s::integer;

-- name: deciding_event
-- The last raising or change of severity of one alert of the current tenant.
-- Index: alert_events_once_idx
SELECT e.alert_id, NULL, e.recorded_at, e.kind, e.observed_at, e.severity, e.occurrence, e.repeat_count,
       e.value, e.message, e.rule_version, e.actor, e.actor_user_id, e.comment, e.until, e.suppressed_by,
       e.is_out_of_service, e.is_latched, e.realarm_after_s, e.acknowledged_event_id, e.alert_event_id
FROM alert_events e
WHERE e.tenant_id = (SELECT current_tenant_id()) AND e.alert_id = %(alert_id)s::uuid
  AND e.kind IN ('raised', 'severity_changed')
ORDER BY e.alert_event_id DESC
LIMIT 1;
