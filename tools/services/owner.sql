-- Runs in psql as the superuser of the embedded server at every start: the owner role and its database exist.
-- PGPASSWORD is the password of both. Before PostgreSQL 16 only a superuser can make the platform's system role,
-- which has BYPASSRLS.
SET client_min_messages = warning;
\getenv password PGPASSWORD

SELECT format(
    'CREATE ROLE iiot_owner LOGIN %s PASSWORD %L',
    CASE
        WHEN current_setting('server_version_num')::int >= 160000 THEN 'CREATEDB CREATEROLE BYPASSRLS'
        ELSE 'SUPERUSER'
    END,
    :'password'
)
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'iiot_owner')
\gexec

GRANT pg_monitor, pg_signal_backend TO iiot_owner;

SELECT 'CREATE DATABASE iiot OWNER iiot_owner'
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'iiot')
\gexec

-- Here, not in iiot: it counts the statements of all databases, and the platform's schema needs no extension.
SELECT 'CREATE EXTENSION IF NOT EXISTS pg_stat_statements'
WHERE current_setting('shared_preload_libraries') LIKE '%pg_stat_statements%'
\gexec
