-- name: edges
-- The first and the last reading of one metric in [start, stop), and how many there are, counted up to `enough`.
-- Index: telemetry_pkey
SELECT first.observed_at, first.value, last.observed_at, last.value, few.n
FROM (
    SELECT observed_at, value FROM telemetry
    WHERE metric_id = %(metric_id)s::integer AND tenant_id = (SELECT current_tenant_id())
      AND observed_at >= %(start)s::timestamptz AND observed_at < %(stop)s::timestamptz
      AND quality >= %(min_quality)s::smallint
    ORDER BY observed_at LIMIT 1
) first, (
    SELECT observed_at, value FROM telemetry
    WHERE metric_id = %(metric_id)s::integer AND tenant_id = (SELECT current_tenant_id())
      AND observed_at >= %(start)s::timestamptz AND observed_at < %(stop)s::timestamptz
      AND quality >= %(min_quality)s::smallint
    ORDER BY observed_at DESC LIMIT 1
) last, (
    SELECT count(*) AS n FROM (
        SELECT FROM telemetry
        WHERE metric_id = %(metric_id)s::integer AND tenant_id = (SELECT current_tenant_id())
          AND observed_at >= %(start)s::timestamptz AND observed_at < %(stop)s::timestamptz
          AND quality >= %(min_quality)s::smallint
        ORDER BY observed_at LIMIT %(enough)s::integer
    ) counted
) few;

-- name: moments_by_slice
-- Centred moments of time (seconds since `origin`) and value (above `base`) over slices of `width_s`, oldest first.
-- regr_* are computed by Youngs' and Cramer's updates; the slices are combined outside by Chan's formula. Both
-- coordinates are taken relative to something near them first, so that no digit is lost to their size.
-- Index: telemetry_pkey
SELECT slice * %(width_s)s::double precision + regr_avgx(above, within_s), count(*), regr_avgy(above, within_s),
       regr_sxx(above, within_s), regr_syy(above, within_s), regr_sxy(above, within_s), min(value), max(value)
FROM (
    SELECT slice, elapsed_s - slice * %(width_s)s::double precision AS within_s,
           value - %(base)s::double precision AS above, value
    FROM (
        SELECT value, elapsed_s, floor(elapsed_s / %(width_s)s::double precision) AS slice
        FROM (
            SELECT value, date_part('epoch', observed_at - %(origin)s::timestamptz) AS elapsed_s
            FROM telemetry
            WHERE metric_id = %(metric_id)s::integer AND tenant_id = (SELECT current_tenant_id())
              AND observed_at >= %(start)s::timestamptz AND observed_at < %(stop)s::timestamptz
              AND quality >= %(min_quality)s::smallint
        ) read
    ) sliced
) placed
GROUP BY slice
ORDER BY slice;

-- name: mann_kendall
-- S of Mann's and Kendall's test over points, their number of pairs, and the sizes of groups of equal values.
SELECT (SELECT coalesce(sum(sign(later.y - earlier.y)), 0)::bigint
        FROM unnest(%(x)s::double precision[], %(y)s::double precision[]) earlier (x, y)
        JOIN unnest(%(x)s::double precision[], %(y)s::double precision[]) later (x, y) ON later.x > earlier.x),
       (SELECT coalesce(array_agg(size), '{}')
        FROM (SELECT count(*)::integer AS size FROM unnest(%(y)s::double precision[]) y GROUP BY y) tied
        WHERE size > 1);

-- name: sen_slopes
-- The median of the slopes between all pairs of points, and those of two ranks, which bound it.
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY slope),
       (array_agg(slope ORDER BY slope))[%(low)s::integer],
       (array_agg(slope ORDER BY slope))[%(high)s::integer]
FROM (
    SELECT (later.y - earlier.y) / (later.x - earlier.x) AS slope
    FROM unnest(%(x)s::double precision[], %(y)s::double precision[]) earlier (x, y)
    JOIN unnest(%(x)s::double precision[], %(y)s::double precision[]) later (x, y) ON later.x > earlier.x
) pairwise;
