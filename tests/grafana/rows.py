"""Alerts, rules, refused messages and notifications of a plant, as a busy hour leaves them."""

from storage.pool import SystemDatabase

_STATEMENTS = (
    "INSERT INTO rules (tenant_id, name, severity, condition)"
    " VALUES (%(t)s, 'Bearing too hot', 'high', '{}'), (%(t)s, 'Pressure low', 'critical', '{}')",
    "INSERT INTO alerts (tenant_id, rule_id, device_key, metric_id, severity, message, value, source,"
    " raised_at, is_active, is_acknowledged, acknowledged_at, cleared_at)"
    " SELECT m.tenant_id, r.rule_id, m.device_key, m.metric_id, r.severity, r.name || ' on ' || m.name, 81.5,"
    "  r.rule_id || m.name, now() - interval '50 minutes', r.severity = 'high', r.severity = 'critical',"
    "  CASE r.severity WHEN 'critical' THEN now() - interval '40 minutes' END,"
    "  CASE r.severity WHEN 'critical' THEN now() - interval '30 minutes' END"
    " FROM metrics m JOIN rules r ON r.tenant_id = m.tenant_id WHERE m.tenant_id = %(t)s",
    "INSERT INTO alert_events (tenant_id, alert_id, kind, severity, message, observed_at)"
    " SELECT a.tenant_id, a.alert_id, k.kind, a.severity, a.message, a.raised_at + k.after"
    " FROM alerts a, (VALUES ('raised', interval '0'), ('acknowledged', interval '10 minutes'),"
    "  ('cleared', interval '20 minutes')) AS k (kind, after)"
    " WHERE a.tenant_id = %(t)s AND (k.kind = 'raised' OR NOT a.is_active)",
    "INSERT INTO dead_letters (tenant_id, source, topic, device_id, reason, detail, payload, payload_bytes,"
    " fingerprint, occurrences, received_at, last_received_at)"
    " VALUES (%(t)s, 'mqtt', 't', 'P-101', 'malformed', 'no JSON', 'secret payload', 14, sha256('1'), 3,"
    "  now() - interval '1 hour', now() - interval '10 minutes'),"
    " (%(t)s, 'http', 't', 'P-102', 'too_old', 'late', 'secret payload', 14, sha256('2'), 1,"
    "  now() - interval '2 hours', now() - interval '2 hours')",
    "INSERT INTO notification_outbox (tenant_id, alert_event_id, channel_id, body, state, created_at)"
    " SELECT tenant_id, alert_event_id, gen_random_uuid(), 'secret body',"
    "  CASE WHEN alert_event_id %% 3 = 0 THEN 'pending' ELSE 'delivered' END, observed_at"
    " FROM alert_events WHERE tenant_id = %(t)s",
)


def add_busy_hour(database: SystemDatabase, tenant_id: int) -> None:
    """Raise two alerts on every metric of the tenant; one of them is over again."""
    with database.transaction() as cursor:
        for statement in _STATEMENTS:
            cursor.execute(statement, {"t": tenant_id})
