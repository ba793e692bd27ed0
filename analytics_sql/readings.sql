-- name: history_ascending
-- Readings of one metric in [start, stop), oldest first.
-- Index: telemetry_pkey
SELECT observed_at, value, quality, received_at
FROM telemetry
WHERE metric_id = %(metric_id)s::integer
  AND tenant_id = (SELECT current_tenant_id())
  AND observed_at >= %(start)s::timestamptz
  AND observed_at < %(stop)s::timestamptz
ORDER BY observed_at
LIMIT %(limit)s::integer;

-- name: history_descending
-- Readings of one metric in [start, stop), newest first.
-- Index: telemetry_pkey
SELECT observed_at, value, quality, received_at
FROM telemetry
WHERE metric_id = %(metric_id)s::integer
  AND tenant_id = (SELECT current_tenant_id())
  AND observed_at >= %(start)s::timestamptz
  AND observed_at < %(stop)s::timestamptz
ORDER BY observed_at DESC
LIMIT %(limit)s::integer;
