-- name: percentiles
-- The 25th, 50th, 75th and 95th percentile of the values in [start, stop), linearly interpolated (type 7).
-- Index: telemetry_pkey
SELECT percentile_cont(ARRAY[0.25, 0.5, 0.75, 0.95]) WITHIN GROUP (ORDER BY value)
FROM telemetry
WHERE metric_id = %(metric_id)s::integer AND tenant_id = (SELECT current_tenant_id())
  AND observed_at >= %(start)s::timestamptz AND observed_at < %(stop)s::timestamptz
  AND quality >= %(min_quality)s::smallint;

-- name: neighbours
-- What each reading says together with the next: the sum of products of their distances from the mean (for the lag-1
-- autocorrelation), the area between them above the mean as a trapezoid and as a step, and the time covered. A gap
-- longer than max_gap_s covers nothing.
-- Index: telemetry_pkey
SELECT sum(above * next_above),
       sum((above + next_above) / 2 * gap_s) FILTER (WHERE is_covered),
       sum(above * gap_s) FILTER (WHERE is_covered),
       sum(gap_s) FILTER (WHERE is_covered),
       count(*) FILTER (WHERE NOT is_covered)
FROM (
    SELECT above, next_above, gap_s, gap_s <= coalesce(%(max_gap_s)s::double precision, 'Infinity') AS is_covered
    FROM (
        SELECT value - %(mean)s::double precision AS above,
               lead(value) OVER following - %(mean)s::double precision AS next_above,
               date_part('epoch', lead(observed_at) OVER following - observed_at) AS gap_s
        FROM telemetry
        WHERE metric_id = %(metric_id)s::integer AND tenant_id = (SELECT current_tenant_id())
          AND observed_at >= %(start)s::timestamptz AND observed_at < %(stop)s::timestamptz
          AND quality >= %(min_quality)s::smallint
        WINDOW following AS (ORDER BY observed_at)
    ) paired
    WHERE next_above IS NOT NULL
) judged;

-- name: counter_growth
-- How far a counter went from the first to the last reading: a fall by more than half the modulus is a rollover; a
-- fall below half the value a reset, after which it counts from zero; any other fall is jitter, which the next step
-- takes back. With its number of resets and rollovers.
-- Index: telemetry_pkey
SELECT CASE WHEN count(*) > 0 THEN greatest(0, sum(CASE
           WHEN step >= 0 THEN step
           WHEN -step > modulus / 2 THEN step + modulus
           WHEN next_value < value / 2 THEN next_value
           ELSE step
       END)) END,
       count(*) FILTER (WHERE step < 0 AND next_value < value / 2 AND NOT coalesce(-step > modulus / 2, false)),
       count(*) FILTER (WHERE -step > modulus / 2)
FROM (
    SELECT value, next_value, next_value - value AS step, %(modulus)s::double precision AS modulus
    FROM (
        SELECT value, lead(value) OVER (ORDER BY observed_at) AS next_value
        FROM telemetry
        WHERE metric_id = %(metric_id)s::integer AND tenant_id = (SELECT current_tenant_id())
          AND observed_at >= %(start)s::timestamptz AND observed_at < %(stop)s::timestamptz
          AND quality >= %(min_quality)s::smallint
    ) paired
    WHERE next_value IS NOT NULL
) steps;

-- name: state_durations
-- How long a state stood at each value, longest first: from one reading to the next, from `start` where a reading
-- before it says so, and up to `until`. A gap longer than max_gap_s belongs to no value.
-- Index: telemetry_pkey
WITH told AS (
    (SELECT %(start)s::timestamptz AS observed_at, value
     FROM telemetry
     WHERE metric_id = %(metric_id)s::integer AND tenant_id = (SELECT current_tenant_id())
       AND observed_at < %(start)s::timestamptz
       AND observed_at >= %(start)s::timestamptz - make_interval(secs => %(carry_s)s::double precision)
       AND quality >= %(min_quality)s::smallint
     ORDER BY telemetry.observed_at DESC LIMIT 1)
    UNION ALL
    SELECT observed_at, value
    FROM telemetry
    WHERE metric_id = %(metric_id)s::integer AND tenant_id = (SELECT current_tenant_id())
      AND observed_at >= %(start)s::timestamptz AND observed_at < %(stop)s::timestamptz
      AND quality >= %(min_quality)s::smallint
), held AS (
    SELECT value, date_part('epoch', coalesce(lead(observed_at) OVER (ORDER BY observed_at),
                            greatest(%(until)s::timestamptz, observed_at)) - observed_at) AS lasted_s
    FROM told
)
SELECT value, coalesce(sum(lasted_s) FILTER (WHERE lasted_s <= coalesce(%(max_gap_s)s::double precision, 'Infinity')), 0)
              AS duration_s, count(*)
FROM held
GROUP BY value
ORDER BY duration_s DESC, value
LIMIT 100;

-- name: when_value
-- The first reading in [start, stop) that has this value.
-- Index: telemetry_pkey
SELECT observed_at
FROM telemetry
WHERE metric_id = %(metric_id)s::integer AND tenant_id = (SELECT current_tenant_id())
  AND observed_at >= %(start)s::timestamptz AND observed_at < %(stop)s::timestamptz
  AND quality >= %(min_quality)s::smallint AND value = %(value)s::double precision
ORDER BY observed_at
LIMIT 1;

-- name: statistics_by_day
-- The figures of each calendar day in a time zone, which has 23, 24 or 25 hours, oldest first; for counters the steps
-- that ended on that day.
-- Index: telemetry_pkey
SELECT day, day::timestamp AT TIME ZONE %(timezone)s::text, (day + 1)::timestamp AT TIME ZONE %(timezone)s::text,
       count(*), avg(above), var_samp(above), min(value), max(value),
       percentile_cont(ARRAY[0.25, 0.5, 0.75, 0.95]) WITHIN GROUP (ORDER BY value),
       CASE WHEN count(step) > 0 THEN greatest(0, sum(CASE
           WHEN step >= 0 THEN step
           WHEN -step > %(modulus)s::double precision / 2 THEN step + %(modulus)s::double precision
           WHEN value < (value - step) / 2 THEN value
           ELSE step
       END)) END
FROM (
    SELECT (observed_at AT TIME ZONE %(timezone)s::text)::date AS day, value,
           value - %(base)s::double precision AS above,
           value - lag(value) OVER (ORDER BY observed_at) AS step
    FROM telemetry
    WHERE metric_id = %(metric_id)s::integer AND tenant_id = (SELECT current_tenant_id())
      AND observed_at >= %(start)s::timestamptz AND observed_at < %(stop)s::timestamptz
      AND quality >= %(min_quality)s::smallint
) dated
GROUP BY day
ORDER BY day
LIMIT %(limit)s::integer;
