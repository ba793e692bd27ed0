-- name: find_metric
-- One metric of a device of the current tenant, in use or retired.
-- Index: devices_tenant_id_device_id_key
SELECT m.metric_id, d.device_id, m.name, m.unit
FROM devices d
JOIN metrics m ON m.tenant_id = d.tenant_id AND m.device_key = d.device_key
WHERE d.tenant_id = (SELECT current_tenant_id())
  AND d.device_id = %(device_id)s::text
  AND m.name = %(metric)s::text;

-- name: latest_of_device
-- The newest reading of every metric of one device, by metric; times in microseconds since 1970.
-- Index: metrics_tenant_id_device_key_name_key
SELECT d.device_id, m.name, m.unit, l.value, l.quality,
       (extract(epoch FROM l.observed_at) * 1000000)::bigint,
       (extract(epoch FROM l.received_at) * 1000000)::bigint
FROM devices d
JOIN metrics m ON m.tenant_id = d.tenant_id AND m.device_key = d.device_key
JOIN latest_values l ON l.metric_id = m.metric_id
WHERE d.tenant_id = (SELECT current_tenant_id()) AND d.device_key = %(device_key)s::bigint
ORDER BY m.name;

-- name: latest_of_tenant
-- The newest readings of all metrics of devices in use, by metric_id, after the one given; times in
-- microseconds since 1970.
-- Index: latest_values_tenant_idx
SELECT l.metric_id, d.device_id, m.name, m.unit, l.value, l.quality,
       (extract(epoch FROM l.observed_at) * 1000000)::bigint,
       (extract(epoch FROM l.received_at) * 1000000)::bigint
FROM latest_values l
JOIN metrics m ON m.tenant_id = l.tenant_id AND m.metric_id = l.metric_id
JOIN devices d ON d.tenant_id = m.tenant_id AND d.device_key = m.device_key
WHERE l.tenant_id = (SELECT current_tenant_id())
  AND l.metric_id > coalesce(%(after)s::bigint, 0)
  AND d.retired_at IS NULL
ORDER BY l.metric_id
LIMIT %(limit)s::integer;
