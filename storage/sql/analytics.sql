-- name: read_one_moment
-- From here on the transaction reads, and sees the database as it is at its first query.
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY;

-- name: allow_analysis
-- Names the tenant of this transaction, gives its sorts room, and spares it the compiler, which costs more than it saves.
SELECT set_config('app.tenant_id', %(tenant)s::text, true),
       set_config('work_mem', '64MB', true),
       set_config('jit', 'off', true);

-- name: find_series
-- One metric of a device of the current tenant with what analytics must know of it, in use or retired.
-- Index: devices_tenant_id_device_id_key
SELECT m.metric_id, d.device_id, m.name, m.unit, m.kind, m.min, m.max, m.modulus, m.max_gap_s
FROM devices d
JOIN metrics m ON m.tenant_id = d.tenant_id AND m.device_key = d.device_key
WHERE d.tenant_id = (SELECT current_tenant_id())
  AND d.device_id = %(device_id)s::text
  AND m.name = %(metric)s::text;
