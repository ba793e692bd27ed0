-- Rows for test_queries_explain.py: many tenants of some size, so that the planner has a choice to make.
SELECT ensure_telemetry_partitions('2025-12-30', '2026-01-03');
INSERT INTO tenants (slug, name) SELECT 'tenant-' || i, 'T' FROM generate_series(1, 100) i;
INSERT INTO users (tenant_id, email, password_hash)
SELECT tenant_id, i || '@example.com', '' FROM tenants, generate_series(1, 20) i;
INSERT INTO sessions (tenant_id, user_id, expires_at)
SELECT tenant_id, user_id, now() + make_interval(days => i) FROM users, generate_series(1, 5) i;
INSERT INTO roles (tenant_id, name) SELECT tenant_id, 'role-' || i FROM tenants, generate_series(1, 20) i;
INSERT INTO user_roles (tenant_id, user_id, role_id)
SELECT tenant_id, user_id, role_id FROM users JOIN roles USING (tenant_id) WHERE roles.name = 'role-1';
INSERT INTO devices (tenant_id, device_id, name)
SELECT tenant_id, 'D-' || i, 'D' FROM generate_series(1, 50) i, tenants;
INSERT INTO metrics (tenant_id, device_key, name)
SELECT tenant_id, device_key, 'm' || i FROM devices, generate_series(1, 3) i;
INSERT INTO latest_values (metric_id, tenant_id, observed_at, value, quality, received_at)
SELECT metric_id, tenant_id, now(), 1, 192, now() FROM metrics;
INSERT INTO device_credentials (tenant_id, device_key, secret_sha256, created_by, revoked_at)
SELECT tenant_id, device_key, sha256('x'), 'c', CASE WHEN i > 1 THEN now() END FROM devices, generate_series(1, 5) i;
INSERT INTO commands (tenant_id, command_id, device_key, name, params, state, created_at, created_by, expires_at,
                      next_attempt_at, finished_at)
SELECT tenant_id, gen_random_uuid(), device_key, 'start', '{}', CASE i WHEN 1 THEN 'queued' ELSE 'succeeded' END,
       now() - i * interval '1 hour', 'c', now() + interval '1 hour', now(), CASE WHEN i > 1 THEN now() END
FROM devices, generate_series(1, 40) i;
INSERT INTO dead_letters (
    tenant_id, source, topic, reason, detail, payload, payload_bytes, fingerprint, received_at, last_received_at
)
SELECT tenant_id, 'mqtt', 't', 'r', 'd', '', 0, sha256(i::text::bytea), now(), now()
FROM generate_series(1, 100) i, tenants;
INSERT INTO rules (tenant_id, name, severity, condition)
SELECT tenant_id, 'rule-' || i, 'high', '{}' FROM generate_series(1, 10) i, tenants;
INSERT INTO alerts (tenant_id, device_key, source, rule_id, severity, message, raised_at, is_active, shelved_until,
                    realarm_at, suppressed_by)
SELECT d.tenant_id, d.device_key, 'rule:' || r.rule_id, r.rule_id, 'high', 'm', now(), r.name = 'rule-1',
       CASE r.name WHEN 'rule-2' THEN now() END, CASE r.name WHEN 'rule-3' THEN now() END,
       CASE r.name WHEN 'rule-4' THEN 'device:x' END
FROM devices d JOIN rules r USING (tenant_id);
INSERT INTO alert_events (tenant_id, alert_id, kind, observed_at)
SELECT tenant_id, alert_id, kind, '2025-06-01'::timestamptz + (row_number() OVER ()) * interval '10 minutes'
FROM alerts, generate_series(1, 20), unnest(ARRAY['raised', 'acknowledged', 'cleared']) kind
WHERE is_active AND device_key % 10 = 0;
