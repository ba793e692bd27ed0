-- name: server
-- The server's version, its clock, its data directory (null for who may not know), and how many connections it takes.
SELECT current_setting('server_version_num')::integer, clock_timestamp(),
       (SELECT setting FROM pg_settings WHERE name = 'data_directory'),
       current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer;

-- name: roles
-- The platform's roles and the present one: their attributes, whether they own its tables or could act as the role
-- that does, and which is the present one.
SELECT r.rolname, r.rolcanlogin, r.rolsuper, r.rolbypassrls,
       EXISTS (
           SELECT FROM pg_class c
           WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
             AND pg_has_role(r.oid, c.relowner, 'MEMBER')
       ), r.rolname = current_user
FROM pg_roles r
WHERE r.rolname = ANY (%(names)s::text[]) OR r.rolname = current_user;

-- name: missing_partitions
-- Of these UTC days, both included, those without a partition.
SELECT day::date
FROM generate_series(%(first_day)s::date::timestamp, %(last_day)s::date::timestamp, interval '1 day') AS day
WHERE to_regclass('public.telemetry_' || to_char(day, 'YYYYMMDD')) IS NULL
ORDER BY day;

-- name: stray_readings
-- How many readings wait in the default partition.
SELECT count(*) FROM telemetry_default;

-- name: time_zone_count
-- How many time zones the server knows.
SELECT count(*) FROM pg_timezone_names;
