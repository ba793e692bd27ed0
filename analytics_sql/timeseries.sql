-- name: moving_by_points
-- A page of readings in [since, stop), oldest first, with the average over the last points and the reading before.
-- The frame reaches back before the page, but not before `start`.
-- Index: telemetry_pkey
WITH page AS (
    SELECT observed_at, value FROM telemetry
    WHERE metric_id = %(metric_id)s::integer AND tenant_id = (SELECT current_tenant_id())
      AND observed_at >= %(since)s::timestamptz AND observed_at < %(stop)s::timestamptz
      AND quality >= %(min_quality)s::smallint
    ORDER BY observed_at LIMIT %(limit)s::integer
), lead_in AS (
    SELECT observed_at, value FROM telemetry
    WHERE metric_id = %(metric_id)s::integer AND tenant_id = (SELECT current_tenant_id())
      AND observed_at >= %(start)s::timestamptz AND observed_at < %(since)s::timestamptz
      AND quality >= %(min_quality)s::smallint
    ORDER BY observed_at DESC LIMIT greatest(%(points_before)s::integer, 1)
), framed AS (
    SELECT observed_at, value,
           avg(value) OVER (ORDER BY observed_at ROWS BETWEEN %(points_before)s::integer PRECEDING AND CURRENT ROW)
               AS moving_average,
           lag(value) OVER (ORDER BY observed_at) AS before,
           date_part('epoch', observed_at - lag(observed_at) OVER (ORDER BY observed_at)) AS gap_s
    FROM (SELECT * FROM page UNION ALL SELECT * FROM lead_in) joined
)
SELECT observed_at, value, moving_average, before, gap_s
FROM framed
WHERE observed_at >= %(since)s::timestamptz
ORDER BY observed_at;

-- name: moving_by_time
-- A page of readings in [since, stop), oldest first, with the average over the last `window_s` seconds and the reading
-- before. Sums are taken in numeric: readings leave the frame exactly, so that a long frame costs no more than a short
-- one and a huge value leaves no trace. Adding a zero of 30 places gives all the same scale, which leaving asks for.
-- Index: telemetry_pkey
WITH page AS (
    SELECT observed_at, value FROM telemetry
    WHERE metric_id = %(metric_id)s::integer AND tenant_id = (SELECT current_tenant_id())
      AND observed_at >= %(since)s::timestamptz AND observed_at < %(stop)s::timestamptz
      AND quality >= %(min_quality)s::smallint
    ORDER BY observed_at LIMIT %(limit)s::integer
), last_before AS (
    SELECT observed_at, value FROM telemetry
    WHERE metric_id = %(metric_id)s::integer AND tenant_id = (SELECT current_tenant_id())
      AND observed_at >= %(start)s::timestamptz AND observed_at < %(since)s::timestamptz
      AND quality >= %(min_quality)s::smallint
    ORDER BY observed_at DESC LIMIT 1
), lead_in AS (
    SELECT observed_at, value FROM telemetry
    WHERE metric_id = %(metric_id)s::integer AND tenant_id = (SELECT current_tenant_id())
      AND observed_at >= %(lead_start)s::timestamptz AND observed_at < %(since)s::timestamptz
      AND quality >= %(min_quality)s::smallint
), framed AS (
    SELECT observed_at, value,
           avg(value::numeric + 0.000000000000000000000000000000) OVER (
               ORDER BY observed_at
               RANGE BETWEEN make_interval(secs => %(window_s)s::double precision - 0.000001) PRECEDING AND CURRENT ROW
           )::double precision AS moving_average,
           lag(value) OVER (ORDER BY observed_at) AS before,
           date_part('epoch', observed_at - lag(observed_at) OVER (ORDER BY observed_at)) AS gap_s
    FROM (SELECT * FROM page UNION ALL (SELECT * FROM lead_in UNION SELECT * FROM last_before)) joined
)
SELECT observed_at, value, moving_average, before, gap_s
FROM framed
WHERE observed_at >= %(since)s::timestamptz
ORDER BY observed_at;

-- name: buckets
-- Buckets of time from `first_bucket` to `last_bucket`, also empty ones, from readings in [since, stop): number, mean or
-- (for counters) greatest value, extremes, and the average over the last buckets.
-- Index: telemetry_pkey
WITH filled AS (
    SELECT date_bin(make_interval(secs => %(bucket_s)s::double precision), observed_at, 'epoch'::timestamptz) AS bucket,
           count(*) AS n, min(value) AS low, max(value) AS high,
           CASE WHEN %(is_counter)s::boolean THEN max(value)
                ELSE %(base)s::double precision + avg(value - %(base)s::double precision) END AS value
    FROM telemetry
    WHERE metric_id = %(metric_id)s::integer AND tenant_id = (SELECT current_tenant_id())
      AND observed_at >= %(since)s::timestamptz AND observed_at < %(stop)s::timestamptz
      AND quality >= %(min_quality)s::smallint
    GROUP BY 1
)
SELECT bucket, coalesce(n, 0), value, low, high,
       avg(value) OVER (ORDER BY bucket ROWS BETWEEN %(points_before)s::integer PRECEDING AND CURRENT ROW),
       lag(value) OVER (ORDER BY bucket)
FROM generate_series(%(first_bucket)s::timestamptz, %(last_bucket)s::timestamptz,
                     make_interval(secs => %(bucket_s)s::double precision)) AS series (bucket)
LEFT JOIN filled USING (bucket)
ORDER BY bucket;

-- name: all_points
-- Every reading in [start, stop), oldest first, for ranges known to be short.
-- Index: telemetry_pkey
SELECT observed_at, value
FROM telemetry
WHERE metric_id = %(metric_id)s::integer AND tenant_id = (SELECT current_tenant_id())
  AND observed_at >= %(start)s::timestamptz AND observed_at < %(stop)s::timestamptz
  AND quality >= %(min_quality)s::smallint
ORDER BY observed_at;

-- name: extreme_points
-- The first lowest and the first highest reading of each of `slices` equal slices of time, oldest first.
-- Index: telemetry_pkey
WITH placed AS MATERIALIZED (
    SELECT observed_at, value,
           floor(date_part('epoch', observed_at - %(start)s::timestamptz)
                 / date_part('epoch', %(stop)s::timestamptz - %(start)s::timestamptz) * %(slices)s::integer) AS slice
    FROM telemetry
    WHERE metric_id = %(metric_id)s::integer AND tenant_id = (SELECT current_tenant_id())
      AND observed_at >= %(start)s::timestamptz AND observed_at < %(stop)s::timestamptz
      AND quality >= %(min_quality)s::smallint
), extremes AS (
    SELECT slice, min(value) AS low, max(value) AS high FROM placed GROUP BY slice
)
SELECT min(placed.observed_at) AS observed_at, placed.value
FROM placed
JOIN extremes ON extremes.slice = placed.slice AND placed.value IN (extremes.low, extremes.high)
GROUP BY placed.slice, placed.value
ORDER BY 1;

-- name: gaps
-- Stretches without a reading that are longer than max_gap_s, oldest first.
-- Index: telemetry_pkey
SELECT before, observed_at
FROM (
    SELECT observed_at, lag(observed_at) OVER (ORDER BY observed_at) AS before
    FROM telemetry
    WHERE metric_id = %(metric_id)s::integer AND tenant_id = (SELECT current_tenant_id())
      AND observed_at >= %(start)s::timestamptz AND observed_at < %(stop)s::timestamptz
      AND quality >= %(min_quality)s::smallint
) paired
WHERE observed_at - before > make_interval(secs => %(max_gap_s)s::double precision)
ORDER BY observed_at
LIMIT 1000;
