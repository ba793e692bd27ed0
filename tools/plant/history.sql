-- name: first_readings
-- Every metric of the tenant's devices in use, with the time of its first reading in microseconds since 1970.
-- Index: telemetry_pkey
SELECT d.device_id, m.name, m.metric_id,
       (SELECT (extract(epoch FROM min(t.observed_at)) * 1000000)::bigint
        FROM telemetry t WHERE t.metric_id = m.metric_id)
FROM devices d
JOIN metrics m ON m.tenant_id = d.tenant_id AND m.device_key = d.device_key
WHERE d.tenant_id = %(tenant_id)s::integer AND d.retired_at IS NULL;
