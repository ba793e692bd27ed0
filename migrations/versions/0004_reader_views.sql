-- Views for Grafana and other tools that read with SQL: one tenant's rows, bound to who signed in.
--
-- A reader is a login of its own for one tenant (`./run create-reader`). It may use the schema bi and nothing
-- else. The views run with the owner's rights, so a reader needs none on a table and cannot name one.

CREATE SCHEMA bi;
REVOKE ALL ON SCHEMA bi FROM PUBLIC;

CREATE TABLE bi.readers (
    role_name name PRIMARY KEY,
    tenant_id integer NOT NULL REFERENCES public.tenants,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- The tenant of the login. session_user is what the connection signed in as: neither SET, set_config nor
-- SET ROLE changes it. Null for whoever is no reader, so that views are empty for them.
CREATE FUNCTION bi.tenant_id() RETURNS integer
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ SELECT r.tenant_id FROM bi.readers r WHERE r.role_name = session_user $$;

-- An owner without BYPASSRLS is behind the forced policies too: this lets the views through, for one tenant.
DO $$
DECLARE
    read_table text;
BEGIN
    FOREACH read_table IN ARRAY ARRAY[
        'devices', 'metrics', 'telemetry', 'latest_values', 'dead_letters', 'rules', 'alerts', 'alert_events',
        'notification_outbox'
    ] LOOP
        EXECUTE format(
            'CREATE POLICY reader_views ON %I FOR SELECT TO CURRENT_USER'
            ' USING (tenant_id = (SELECT bi.tenant_id()))', read_table);
    END LOOP;
END
$$;

CREATE VIEW bi.devices WITH (security_barrier) AS
SELECT d.device_id, d.name, d.type, d.location, d.status, d.status_changed_at, d.last_seen, d.created_at
FROM devices d
WHERE d.tenant_id = (SELECT bi.tenant_id()) AND d.retired_at IS NULL;

CREATE VIEW bi.metrics WITH (security_barrier) AS
SELECT d.device_id, m.name AS metric, m.unit, m.kind, m.min, m.max
FROM metrics m
JOIN devices d ON d.tenant_id = m.tenant_id AND d.device_key = m.device_key
WHERE m.tenant_id = (SELECT bi.tenant_id()) AND d.retired_at IS NULL;

CREATE VIEW bi.telemetry WITH (security_barrier) AS
SELECT d.device_id, m.name AS metric, m.unit, t.observed_at, t.received_at, t.value, t.quality
FROM telemetry t
JOIN metrics m ON m.tenant_id = t.tenant_id AND m.metric_id = t.metric_id
JOIN devices d ON d.tenant_id = m.tenant_id AND d.device_key = m.device_key
WHERE t.tenant_id = (SELECT bi.tenant_id());

CREATE VIEW bi.latest_values WITH (security_barrier) AS
SELECT d.device_id, d.name AS device_name, m.name AS metric, m.unit, l.value, l.quality, l.observed_at, l.received_at
FROM latest_values l
JOIN metrics m ON m.tenant_id = l.tenant_id AND m.metric_id = l.metric_id
JOIN devices d ON d.tenant_id = m.tenant_id AND d.device_key = m.device_key
WHERE l.tenant_id = (SELECT bi.tenant_id()) AND d.retired_at IS NULL;

CREATE VIEW bi.rules WITH (security_barrier) AS
SELECT r.rule_id, r.name, r.severity, r.is_enabled, r.version, r.created_at, r.updated_at
FROM rules r
WHERE r.tenant_id = (SELECT bi.tenant_id()) AND r.retired_at IS NULL;

CREATE VIEW bi.alerts WITH (security_barrier) AS
SELECT a.alert_id, d.device_id, d.name AS device_name, r.rule_id, r.name AS rule, m.name AS metric, a.severity, a.state,
       a.message, a.value, a.is_active, a.is_acknowledged, a.repeat_count, a.raised_at, a.acknowledged_at, a.cleared_at
FROM alerts a
LEFT JOIN devices d ON d.tenant_id = a.tenant_id AND d.device_key = a.device_key
LEFT JOIN rules r ON r.tenant_id = a.tenant_id AND r.rule_id = a.rule_id
LEFT JOIN metrics m ON m.tenant_id = a.tenant_id AND m.metric_id = a.metric_id
WHERE a.tenant_id = (SELECT bi.tenant_id());

CREATE VIEW bi.alert_events WITH (security_barrier) AS
SELECT e.alert_event_id, e.alert_id, e.occurrence, d.device_id, r.name AS rule, e.kind, e.severity, e.value,
       CASE WHEN e.message = '' THEN a.message ELSE e.message END AS message, e.observed_at, e.recorded_at
FROM alert_events e
JOIN alerts a ON a.tenant_id = e.tenant_id AND a.alert_id = e.alert_id
LEFT JOIN devices d ON d.tenant_id = a.tenant_id AND d.device_key = a.device_key
LEFT JOIN rules r ON r.tenant_id = a.tenant_id AND r.rule_id = a.rule_id
WHERE e.tenant_id = (SELECT bi.tenant_id());

-- Payloads stay inside: they are whatever a device sent.
CREATE VIEW bi.dead_letters WITH (security_barrier) AS
SELECT l.dead_letter_id, l.source, l.device_id, l.metric, l.reason, l.occurrences, l.received_at, l.last_received_at,
       l.replayed_at
FROM dead_letters l
WHERE l.tenant_id = (SELECT bi.tenant_id());

CREATE VIEW bi.notifications WITH (security_barrier) AS
SELECT n.notification_id, n.state, n.attempts, n.created_at, n.next_attempt_at
FROM notification_outbox n
WHERE n.tenant_id = (SELECT bi.tenant_id());

-- The door is USAGE on the schema, which only readers get: a view added later needs no grant to each of them.
GRANT SELECT ON bi.devices, bi.metrics, bi.telemetry, bi.latest_values, bi.rules, bi.alerts, bi.alert_events,
    bi.dead_letters, bi.notifications TO PUBLIC;
