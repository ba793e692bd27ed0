-- name: devices
-- Devices in use of the current tenant with their metrics, by device_id, after the one given; device_id
-- asks for a single one.
-- Index: devices_tenant_id_device_id_key
SELECT d.device_id, d.name, d.type, d.location, d.metadata::text, p.device_id, d.status, d.last_seen, d.created_at,
       coalesce((
           SELECT json_agg(json_build_object(
                      'name', m.name, 'unit', m.unit, 'kind', m.kind,
                      'min', m.min, 'max', m.max, 'modulus', m.modulus, 'max_gap_s', m.max_gap_s
                  ) ORDER BY m.name)
           FROM metrics m
           WHERE m.tenant_id = d.tenant_id AND m.device_key = d.device_key
       ), '[]')::text,
       d.out_of_service_at, d.out_of_service_by, d.out_of_service_reason
FROM devices d
LEFT JOIN devices p ON p.tenant_id = d.tenant_id AND p.device_key = d.parent_device_key
WHERE d.tenant_id = (SELECT current_tenant_id())
  AND d.retired_at IS NULL
  AND (%(device_id)s::text IS NULL OR d.device_id = %(device_id)s::text)
  AND (%(type)s::text IS NULL OR d.type = %(type)s::text)
  AND (%(status)s::text IS NULL OR d.status = %(status)s::text)
  AND (%(name_prefix)s::text IS NULL OR starts_with(lower(d.name), lower(%(name_prefix)s::text)))
  AND d.device_id > coalesce(%(after)s::text, '')
ORDER BY d.device_id
LIMIT %(limit)s::integer;

-- name: device_key
-- The number of a device in use.
-- Index: devices_tenant_id_device_id_key
SELECT device_key
FROM devices
WHERE tenant_id = (SELECT current_tenant_id()) AND device_id = %(device_id)s::text AND retired_at IS NULL;

-- name: existing_device_ids
-- Of the given ids, those of devices in use.
-- Index: devices_tenant_id_device_id_key
SELECT device_id
FROM devices
WHERE tenant_id = (SELECT current_tenant_id()) AND device_id = ANY(%(device_ids)s::text[]) AND retired_at IS NULL;

-- name: lock_device
-- The number of a device in use, locked until the end of the transaction against other changes.
-- Index: devices_tenant_id_device_id_key
SELECT device_key
FROM devices
WHERE tenant_id = (SELECT current_tenant_id()) AND device_id = %(device_id)s::text AND retired_at IS NULL
FOR NO KEY UPDATE;

-- name: take_out_of_service
-- Notes who took a device in use out of service, and why; no row where it is out already.
-- Index: devices_tenant_id_device_id_key
UPDATE devices
SET out_of_service_at = %(at)s::timestamptz, out_of_service_by = %(by)s, out_of_service_reason = %(reason)s
WHERE tenant_id = (SELECT current_tenant_id()) AND device_id = %(device_id)s::text AND retired_at IS NULL
  AND out_of_service_at IS NULL
RETURNING device_key;

-- name: return_to_service
-- Puts a device back into service; no row where it is in service already.
-- Index: devices_out_of_service_idx
UPDATE devices
SET out_of_service_at = NULL, out_of_service_by = NULL, out_of_service_reason = NULL
WHERE tenant_id = (SELECT current_tenant_id()) AND device_id = %(device_id)s::text AND retired_at IS NULL
  AND out_of_service_at IS NOT NULL
RETURNING device_key;

-- name: lock_device_tree
-- Lets one transaction at a time move devices of the current tenant below each other.
SELECT pg_advisory_xact_lock(hashtext('device tree'), current_tenant_id());

-- name: is_below
-- Whether device_key is lower_key itself or lies anywhere above it.
-- Index: devices_tenant_id_device_key_key
WITH RECURSIVE above AS (
    SELECT device_key, parent_device_key, 1 AS depth
    FROM devices
    WHERE tenant_id = (SELECT current_tenant_id()) AND device_key = %(lower_key)s::bigint
    UNION ALL
    SELECT d.device_key, d.parent_device_key, above.depth + 1
    FROM above
    JOIN devices d ON d.tenant_id = (SELECT current_tenant_id()) AND d.device_key = above.parent_device_key
    WHERE above.depth < 1000
)
SELECT EXISTS (SELECT 1 FROM above WHERE device_key = %(device_key)s::bigint);

-- name: create_device
-- Adds a device to the current tenant; no row where the device_id was used before.
INSERT INTO devices (tenant_id, device_id, name, type, location, metadata, parent_device_key)
VALUES (current_tenant_id(), %(device_id)s, %(name)s, %(type)s, %(location)s, %(metadata)s::jsonb,
        %(parent_device_key)s::bigint)
ON CONFLICT (tenant_id, device_id) DO NOTHING
RETURNING device_key;

-- name: is_retired
-- Whether a device_id belongs to a device that was retired.
-- Index: devices_tenant_id_device_id_key
SELECT retired_at IS NOT NULL
FROM devices
WHERE tenant_id = (SELECT current_tenant_id()) AND device_id = %(device_id)s::text;

-- name: update_device
-- Replaces what people say about a device.
-- Index: devices_pkey
UPDATE devices
SET name = %(name)s, type = %(type)s, location = %(location)s, metadata = %(metadata)s::jsonb,
    parent_device_key = %(parent_device_key)s::bigint, updated_at = now()
WHERE device_key = %(device_key)s::bigint;

-- name: retire_device
-- Takes a device out of use; its history and its device_id stay.
-- Index: devices_pkey
UPDATE devices
SET retired_at = now(), updated_at = now(), parent_device_key = NULL
WHERE device_key = %(device_key)s::bigint;

-- name: lift_children
-- Devices below a device that goes out of use stand on their own.
-- Index: devices_parent_idx
UPDATE devices
SET parent_device_key = NULL, updated_at = now()
WHERE tenant_id = (SELECT current_tenant_id()) AND parent_device_key = %(device_key)s::bigint;

-- name: metrics_that_would_change_meaning
-- Names of metrics with readings whose unit or kind differs from the wanted one; locks all metrics of the
-- device, so that no first reading slips in before the end of the transaction.
-- Index: metrics_tenant_id_device_key_name_key
WITH present AS (
    SELECT metric_id, name, unit, kind
    FROM metrics
    WHERE tenant_id = (SELECT current_tenant_id()) AND device_key = %(device_key)s::bigint
    FOR UPDATE
)
SELECT m.name
FROM present m
JOIN json_to_recordset(%(metrics)s::json) AS wanted (name text, unit text, kind text) ON wanted.name = m.name
WHERE (m.unit, m.kind) IS DISTINCT FROM (wanted.unit, wanted.kind)
  AND EXISTS (SELECT 1 FROM latest_values l WHERE l.metric_id = m.metric_id)
ORDER BY m.name;

-- name: put_metrics
-- Adds metrics to a device, or changes those it has.
INSERT INTO metrics (tenant_id, device_key, name, unit, kind, min, max, modulus, max_gap_s)
SELECT current_tenant_id(), %(device_key)s::bigint, name, unit, kind, min, max, modulus, max_gap_s
FROM json_to_recordset(%(metrics)s::json) AS wanted (
    name text, unit text, kind text, min float8, max float8, modulus float8, max_gap_s float8
)
ORDER BY name
ON CONFLICT (tenant_id, device_key, name) DO UPDATE
SET unit = excluded.unit, kind = excluded.kind, min = excluded.min, max = excluded.max,
    modulus = excluded.modulus, max_gap_s = excluded.max_gap_s;

-- name: count_metrics
-- How many metrics a device has.
-- Index: metrics_tenant_id_device_key_name_key
SELECT count(*) FROM metrics WHERE tenant_id = (SELECT current_tenant_id()) AND device_key = %(device_key)s::bigint;
