-- name: join_in_bulk
-- For the rest of the transaction: no join goes row by row. The number of readings of a young metric is guessed far
-- too low, and a nested loop over as many takes the square of it.
SELECT set_config('enable_nestloop', 'off', true);

-- name: shared_moments
-- Of the newest readings of one metric, how many there are and how many have a reading of the other `lag_s` later.
-- Index: telemetry_pkey
SELECT count(*), count(other.observed_at)
FROM (
    SELECT observed_at FROM telemetry
    WHERE metric_id = %(metric_a)s::integer AND tenant_id = (SELECT current_tenant_id())
      AND observed_at >= %(start)s::timestamptz AND observed_at < %(stop)s::timestamptz
      AND quality >= %(min_quality)s::smallint
    ORDER BY observed_at DESC LIMIT 1000
) newest
LEFT JOIN telemetry other
       ON other.metric_id = %(metric_b)s::integer AND other.tenant_id = (SELECT current_tenant_id())
      AND other.observed_at = newest.observed_at + make_interval(secs => %(lag_s)s::double precision)
      AND other.observed_at >= %(start_b)s::timestamptz AND other.observed_at < %(stop_b)s::timestamptz
      AND other.quality >= %(min_quality)s::smallint;

-- name: median_interval
-- The median of the seconds between neighbours among the newest 10,000 readings in [start, stop).
-- Index: telemetry_pkey
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY gap_s)
FROM (
    SELECT date_part('epoch', observed_at - lag(observed_at) OVER (ORDER BY observed_at)) AS gap_s
    FROM (
        SELECT observed_at FROM telemetry
        WHERE metric_id = %(metric_id)s::integer AND tenant_id = (SELECT current_tenant_id())
          AND observed_at >= %(start)s::timestamptz AND observed_at < %(stop)s::timestamptz
          AND quality >= %(min_quality)s::smallint
        ORDER BY observed_at DESC LIMIT 10000
    ) newest
) gaps
WHERE gap_s IS NOT NULL;

-- name: pairs_exact
-- Centred moments of pairs taken at the same moment (the second `lag_s` later), by slices of time, with the
-- correlation of their ranks among up to about 100,000 of them.
-- Index: telemetry_pkey
WITH pairs AS MATERIALIZED (
    SELECT (date_part('epoch', a.observed_at - %(origin)s::timestamptz) * 1000000)::bigint AS place,
           floor(date_part('epoch', a.observed_at - %(origin)s::timestamptz) / %(slice_s)s::double precision) AS slice,
           a.value - %(base_a)s::double precision AS a, b.value - %(base_b)s::double precision AS b
    FROM telemetry a
    JOIN telemetry b
      ON b.observed_at = a.observed_at + make_interval(secs => %(lag_s)s::double precision)
    WHERE a.metric_id = %(metric_a)s::integer AND a.tenant_id = (SELECT current_tenant_id())
      AND a.observed_at >= %(start)s::timestamptz AND a.observed_at < %(stop)s::timestamptz
      AND a.quality >= %(min_quality)s::smallint
      AND b.metric_id = %(metric_b)s::integer AND b.tenant_id = (SELECT current_tenant_id())
      AND b.observed_at >= %(start_b)s::timestamptz AND b.observed_at < %(stop_b)s::timestamptz
      AND b.quality >= %(min_quality)s::smallint
), thinned AS (
    SELECT a, b FROM pairs
    WHERE hashint8(place) %% greatest(1, (SELECT count(*) FROM pairs)::integer / 100000) = 0
), ranked AS (
    SELECT count(*) AS n, corr(rank_b, rank_a) AS rho
    FROM (
        SELECT rank() OVER (ORDER BY a) + (count(*) OVER (PARTITION BY a) - 1) / 2.0 AS rank_a,
               rank() OVER (ORDER BY b) + (count(*) OVER (PARTITION BY b) - 1) / 2.0 AS rank_b
        FROM thinned
    ) ranks
)
SELECT count(*), regr_avgx(b, a), regr_avgy(b, a), regr_sxx(b, a), regr_syy(b, a), regr_sxy(b, a),
       (SELECT rho FROM ranked), (SELECT n FROM ranked)
FROM pairs
GROUP BY slice
ORDER BY slice;

-- name: pairs_by_bucket
-- The same for pairs of means of both metrics over the same buckets of time, counted from `origin`.
-- Index: telemetry_pkey
WITH means_a AS (
    SELECT floor(date_part('epoch', observed_at - %(origin)s::timestamptz) / %(bucket_s)s::double precision) AS place,
           avg(value - %(base_a)s::double precision) AS mean
    FROM telemetry
    WHERE metric_id = %(metric_a)s::integer AND tenant_id = (SELECT current_tenant_id())
      AND observed_at >= %(start)s::timestamptz AND observed_at < %(stop)s::timestamptz
      AND quality >= %(min_quality)s::smallint
    GROUP BY 1
), means_b AS (
    SELECT floor((date_part('epoch', observed_at - %(origin)s::timestamptz) - %(lag_s)s::double precision)
                 / %(bucket_s)s::double precision) AS place,
           avg(value - %(base_b)s::double precision) AS mean
    FROM telemetry
    WHERE metric_id = %(metric_b)s::integer AND tenant_id = (SELECT current_tenant_id())
      AND observed_at >= %(start_b)s::timestamptz AND observed_at < %(stop_b)s::timestamptz
      AND quality >= %(min_quality)s::smallint
    GROUP BY 1
), pairs AS MATERIALIZED (
    SELECT place::bigint AS place,
           floor(place * %(bucket_s)s::double precision / %(slice_s)s::double precision) AS slice,
           means_a.mean AS a, means_b.mean AS b
    FROM means_a JOIN means_b USING (place)
), thinned AS (
    SELECT a, b FROM pairs
    WHERE hashint8(place) %% greatest(1, (SELECT count(*) FROM pairs)::integer / 100000) = 0
), ranked AS (
    SELECT count(*) AS n, corr(rank_b, rank_a) AS rho
    FROM (
        SELECT rank() OVER (ORDER BY a) + (count(*) OVER (PARTITION BY a) - 1) / 2.0 AS rank_a,
               rank() OVER (ORDER BY b) + (count(*) OVER (PARTITION BY b) - 1) / 2.0 AS rank_b
        FROM thinned
    ) ranks
)
SELECT count(*), regr_avgx(b, a), regr_avgy(b, a), regr_sxx(b, a), regr_syy(b, a), regr_sxy(b, a),
       (SELECT rho FROM ranked), (SELECT n FROM ranked)
FROM pairs
GROUP BY slice
ORDER BY slice;

-- name: pairs_as_of
-- The same for each reading of the first metric with what the second one said last, no older than `max_age_s`.
-- Both are read in one order of time, where readings of the first between two of the second form a group.
-- Index: telemetry_pkey
WITH both_metrics AS (
    SELECT observed_at - make_interval(secs => %(lag_s)s::double precision) AS at, 0 AS turn,
           value - %(base_b)s::double precision AS b, NULL::double precision AS a
    FROM telemetry
    WHERE metric_id = %(metric_b)s::integer AND tenant_id = (SELECT current_tenant_id())
      AND observed_at >= %(start_b)s::timestamptz AND observed_at < %(stop_b)s::timestamptz
      AND quality >= %(min_quality)s::smallint
    UNION ALL
    SELECT observed_at, 1, NULL, value - %(base_a)s::double precision
    FROM telemetry
    WHERE metric_id = %(metric_a)s::integer AND tenant_id = (SELECT current_tenant_id())
      AND observed_at >= %(start)s::timestamptz AND observed_at < %(stop)s::timestamptz
      AND quality >= %(min_quality)s::smallint
), grouped AS (
    SELECT at, turn, b, a, count(b) OVER (ORDER BY at, turn) AS since FROM both_metrics
), carried AS (
    SELECT at, a, first_value(b) OVER said AS b, first_value(at) OVER said AS said_at
    FROM grouped WHERE since > 0
    WINDOW said AS (PARTITION BY since ORDER BY turn, at)
), pairs AS MATERIALIZED (
    SELECT (date_part('epoch', at - %(origin)s::timestamptz) * 1000000)::bigint AS place,
           floor(date_part('epoch', at - %(origin)s::timestamptz) / %(slice_s)s::double precision) AS slice, a, b
    FROM carried
    WHERE a IS NOT NULL AND at - said_at <= make_interval(secs => %(max_age_s)s::double precision)
), thinned AS (
    SELECT a, b FROM pairs
    WHERE hashint8(place) %% greatest(1, (SELECT count(*) FROM pairs)::integer / 100000) = 0
), ranked AS (
    SELECT count(*) AS n, corr(rank_b, rank_a) AS rho
    FROM (
        SELECT rank() OVER (ORDER BY a) + (count(*) OVER (PARTITION BY a) - 1) / 2.0 AS rank_a,
               rank() OVER (ORDER BY b) + (count(*) OVER (PARTITION BY b) - 1) / 2.0 AS rank_b
        FROM thinned
    ) ranks
)
SELECT count(*), regr_avgx(b, a), regr_avgy(b, a), regr_sxx(b, a), regr_syy(b, a), regr_sxy(b, a),
       (SELECT rho FROM ranked), (SELECT n FROM ranked)
FROM pairs
GROUP BY slice
ORDER BY slice;
