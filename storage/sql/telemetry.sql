-- name: ensure_partitions
-- Make the daily partitions for these days; how many were made.
SELECT ensure_telemetry_partitions(%(first_day)s::date, %(last_day)s::date);

-- name: stray_days
-- The days of readings that wait in the default partition.
SELECT DISTINCT (observed_at AT TIME ZONE 'UTC')::date FROM telemetry_default;
