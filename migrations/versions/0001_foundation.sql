-- Tenants, people, devices, telemetry, alerts and the notification outbox.
--
-- Roles: the owner runs migrations only; iiot_system writes batches and background work (BYPASSRLS);
-- iiot_app serves requests and sees the rows of the tenant set by `app.tenant_id`, nothing without one.

CREATE FUNCTION current_tenant_id() RETURNS integer
LANGUAGE sql STABLE PARALLEL SAFE
AS $$ SELECT nullif(current_setting('app.tenant_id', true), '')::integer $$;

CREATE TABLE tenants (
    tenant_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    slug text NOT NULL UNIQUE CHECK (slug ~ '^[A-Za-z0-9._-]{1,64}$'),
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    created_at timestamptz NOT NULL DEFAULT now()
);

-- People -------------------------------------------------------------------------------------------

CREATE TABLE users (
    user_id uuid NOT NULL DEFAULT gen_random_uuid() PRIMARY KEY,
    tenant_id integer NOT NULL REFERENCES tenants,
    email text NOT NULL CHECK (email = lower(email) AND length(email) BETWEEN 3 AND 254),
    name text NOT NULL DEFAULT '' CHECK (length(name) <= 200),
    password_hash text NOT NULL,
    is_active boolean NOT NULL DEFAULT true,
    -- Raised by logout, password change and deactivation: tokens of an older version are refused.
    token_version integer NOT NULL DEFAULT 1,
    last_login_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, email),
    UNIQUE (tenant_id, user_id)
);
-- Serves login, which knows the e-mail address but not yet the tenant.
CREATE INDEX users_email_idx ON users (email);

CREATE TABLE roles (
    role_id uuid NOT NULL DEFAULT gen_random_uuid() PRIMARY KEY,
    tenant_id integer NOT NULL REFERENCES tenants,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 64),
    description text NOT NULL DEFAULT '',
    permissions text[] NOT NULL DEFAULT '{}',
    is_default boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, name),
    UNIQUE (tenant_id, role_id)
);

CREATE TABLE user_roles (
    tenant_id integer NOT NULL,
    user_id uuid NOT NULL,
    role_id uuid NOT NULL,
    granted_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, user_id, role_id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, user_id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, role_id) REFERENCES roles (tenant_id, role_id) ON DELETE CASCADE
);

CREATE TABLE api_keys (
    key_id uuid NOT NULL DEFAULT gen_random_uuid() PRIMARY KEY,
    tenant_id integer NOT NULL,
    user_id uuid NOT NULL,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    prefix text NOT NULL UNIQUE,
    key_hash bytea NOT NULL CHECK (length(key_hash) = 32),
    scopes text[] NOT NULL DEFAULT '{}',
    expires_at timestamptz,
    last_used_at timestamptz,
    revoked_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, user_id)
);
CREATE INDEX api_keys_tenant_idx ON api_keys (tenant_id, created_at);

CREATE TABLE audit_logs (
    audit_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id integer NOT NULL REFERENCES tenants,
    occurred_at timestamptz NOT NULL DEFAULT now(),
    actor text NOT NULL,
    action text NOT NULL,
    target text NOT NULL DEFAULT '',
    address inet,
    request_id text NOT NULL DEFAULT '',
    detail jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX audit_logs_tenant_idx ON audit_logs (tenant_id, occurred_at DESC, audit_id DESC);

-- Fleet --------------------------------------------------------------------------------------------

CREATE TABLE devices (
    device_key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id integer NOT NULL REFERENCES tenants,
    device_id text NOT NULL CHECK (device_id ~ '^[A-Za-z0-9._-]{1,64}$'),
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    type text NOT NULL DEFAULT '' CHECK (length(type) <= 64),
    location text NOT NULL DEFAULT '' CHECK (length(location) <= 200),
    metadata jsonb NOT NULL DEFAULT '{}',
    parent_device_key bigint,
    status text NOT NULL DEFAULT 'unknown' CHECK (status IN ('online', 'offline', 'unknown')),
    status_changed_at timestamptz,
    last_seen timestamptz,
    retired_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, device_id),
    UNIQUE (tenant_id, device_key),
    FOREIGN KEY (tenant_id, parent_device_key) REFERENCES devices (tenant_id, device_key)
) WITH (fillfactor = 70);
-- Serves the device tree: what stands below a device.
CREATE INDEX devices_parent_idx ON devices (tenant_id, parent_device_key) WHERE parent_device_key IS NOT NULL;

CREATE TABLE metrics (
    metric_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id integer NOT NULL,
    device_key bigint NOT NULL,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 64),
    unit text NOT NULL DEFAULT '' CHECK (length(unit) <= 32),
    kind text NOT NULL DEFAULT 'gauge' CHECK (kind IN ('gauge', 'counter', 'state')),
    min double precision,
    max double precision,
    modulus double precision CHECK (modulus > 0),
    max_gap_s double precision CHECK (max_gap_s > 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, device_key, name),
    UNIQUE (tenant_id, metric_id),
    FOREIGN KEY (tenant_id, device_key) REFERENCES devices (tenant_id, device_key)
);

-- Telemetry ----------------------------------------------------------------------------------------

-- One row a reading, partitioned by day of observed_at. The key holds no tenant because metric_id is
-- unique over all tenants. ingest_seq orders readings as they were stored: batch number * 2^20 + place.
CREATE TABLE telemetry (
    observed_at timestamptz NOT NULL,
    value double precision NOT NULL,
    received_at timestamptz NOT NULL,
    ingest_seq bigint NOT NULL,
    metric_id integer NOT NULL,
    tenant_id integer NOT NULL,
    quality smallint NOT NULL,
    PRIMARY KEY (metric_id, observed_at)
) PARTITION BY RANGE (observed_at);

CREATE TABLE telemetry_default PARTITION OF telemetry DEFAULT;

CREATE SEQUENCE ingest_batch_seq AS bigint;

-- The newest reading of every metric by observed_at, whatever order readings arrive in.
CREATE TABLE latest_values (
    metric_id integer PRIMARY KEY,
    tenant_id integer NOT NULL,
    observed_at timestamptz NOT NULL,
    value double precision NOT NULL,
    quality smallint NOT NULL,
    received_at timestamptz NOT NULL,
    FOREIGN KEY (tenant_id, metric_id) REFERENCES metrics (tenant_id, metric_id)
) WITH (fillfactor = 50);
CREATE INDEX latest_values_tenant_idx ON latest_values (tenant_id, metric_id);

-- What could not be stored as a reading, with the reason. tenant_id is null where the topic names no
-- tenant that exists: such rows belong to the platform and no tenant sees them.
CREATE TABLE dead_letters (
    dead_letter_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id integer REFERENCES tenants,
    source text NOT NULL CHECK (source IN ('mqtt', 'http')),
    topic text NOT NULL,
    device_id text,
    metric text,
    reason text NOT NULL,
    detail text NOT NULL,
    payload bytea NOT NULL,
    payload_bytes integer NOT NULL,
    fingerprint bytea NOT NULL CHECK (length(fingerprint) = 32),
    occurrences integer NOT NULL DEFAULT 1,
    received_at timestamptz NOT NULL,
    last_received_at timestamptz NOT NULL,
    replayed_at timestamptz
);
CREATE UNIQUE INDEX dead_letters_fingerprint_idx ON dead_letters (coalesce(tenant_id, 0), fingerprint);
CREATE INDEX dead_letters_tenant_idx ON dead_letters (tenant_id, dead_letter_id DESC);

-- Makes the redelivery of a message whose readings carry no time harmless: the last payload stored for
-- each message id of a broker session. Cleared when the broker has forgotten the session.
CREATE TABLE ingest_inbox (
    client_id text NOT NULL,
    message_id integer NOT NULL,
    payload_hash bytea NOT NULL CHECK (length(payload_hash) = 32),
    PRIMARY KEY (client_id, message_id)
) WITH (fillfactor = 70);

-- What devices say besides telemetry: alerts they raise themselves and answers to commands.
CREATE TABLE device_events (
    device_event_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id integer NOT NULL,
    device_key bigint NOT NULL,
    kind text NOT NULL CHECK (kind IN ('alert', 'command_response')),
    subject text NOT NULL DEFAULT '',
    payload jsonb NOT NULL,
    fingerprint bytea NOT NULL CHECK (length(fingerprint) = 32),
    received_at timestamptz NOT NULL,
    UNIQUE (tenant_id, device_key, fingerprint),
    FOREIGN KEY (tenant_id, device_key) REFERENCES devices (tenant_id, device_key)
);

-- Rules, alerts, notifications ---------------------------------------------------------------------

CREATE TABLE rules (
    rule_id uuid NOT NULL DEFAULT gen_random_uuid() PRIMARY KEY,
    tenant_id integer NOT NULL REFERENCES tenants,
    version integer NOT NULL DEFAULT 1,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    severity text NOT NULL CHECK (severity IN ('info', 'low', 'medium', 'high', 'critical')),
    device_key bigint,
    device_type text,
    condition jsonb NOT NULL,
    is_enabled boolean NOT NULL DEFAULT true,
    retired_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, rule_id),
    FOREIGN KEY (tenant_id, device_key) REFERENCES devices (tenant_id, device_key)
);

-- Independent facts; the ISA-18.2 state is derived from them.
CREATE TABLE alerts (
    alert_id uuid NOT NULL DEFAULT gen_random_uuid() PRIMARY KEY,
    tenant_id integer NOT NULL,
    rule_id uuid,
    rule_version integer,
    device_key bigint NOT NULL,
    metric_id integer,
    severity text NOT NULL CHECK (severity IN ('info', 'low', 'medium', 'high', 'critical')),
    message text NOT NULL,
    value double precision,
    is_active boolean NOT NULL DEFAULT true,
    is_acknowledged boolean NOT NULL DEFAULT false,
    acknowledged_by uuid,
    shelved_until timestamptz,
    suppressed_by text,
    is_out_of_service boolean NOT NULL DEFAULT false,
    repeat_count integer NOT NULL DEFAULT 0,
    raised_at timestamptz NOT NULL,
    cleared_at timestamptz,
    UNIQUE (tenant_id, alert_id),
    FOREIGN KEY (tenant_id, rule_id) REFERENCES rules (tenant_id, rule_id),
    FOREIGN KEY (tenant_id, device_key) REFERENCES devices (tenant_id, device_key),
    FOREIGN KEY (tenant_id, metric_id) REFERENCES metrics (tenant_id, metric_id),
    FOREIGN KEY (tenant_id, acknowledged_by) REFERENCES users (tenant_id, user_id)
);
CREATE INDEX alerts_tenant_idx ON alerts (tenant_id, raised_at DESC, alert_id);

CREATE TABLE alert_events (
    alert_event_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id integer NOT NULL,
    alert_id uuid NOT NULL,
    kind text NOT NULL,
    observed_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    actor text NOT NULL DEFAULT '',
    detail jsonb NOT NULL DEFAULT '{}',
    UNIQUE (tenant_id, alert_event_id),
    FOREIGN KEY (tenant_id, alert_id) REFERENCES alerts (tenant_id, alert_id)
);
CREATE INDEX alert_events_alert_idx ON alert_events (tenant_id, alert_id, alert_event_id);

CREATE TABLE notification_outbox (
    notification_id uuid NOT NULL DEFAULT gen_random_uuid() PRIMARY KEY,
    tenant_id integer NOT NULL,
    alert_event_id bigint NOT NULL,
    channel_id uuid NOT NULL,
    body bytea NOT NULL,
    state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'held', 'dead')),
    attempts integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    leased_until timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, alert_event_id, channel_id),
    FOREIGN KEY (tenant_id, alert_event_id) REFERENCES alert_events (tenant_id, alert_event_id)
);
-- Serves the dispatcher's claim: what is due, oldest first.
CREATE INDEX notification_outbox_due_idx ON notification_outbox (next_attempt_at) WHERE state = 'pending';

-- Partitions ---------------------------------------------------------------------------------------

-- Makes the daily partitions for [first_day, last_day] and moves stray rows out of the default one.
-- Runs with the owner's rights so that the system role needs no DDL rights. Returns how many it made.
CREATE FUNCTION ensure_telemetry_partitions(first_day date, last_day date) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    day date := first_day;
    part text;
    lower_at timestamptz;
    upper_at timestamptz;
    made integer := 0;
BEGIN
    IF last_day - first_day > 20000 THEN
        RAISE EXCEPTION 'asked for % daily partitions at once', last_day - first_day
            USING ERRCODE = 'program_limit_exceeded';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('ensure_telemetry_partitions'));
    WHILE day <= last_day LOOP
        part := 'telemetry_' || to_char(day, 'YYYYMMDD');
        IF to_regclass('public.' || part) IS NULL THEN
            lower_at := day::timestamp AT TIME ZONE 'UTC';
            upper_at := (day + 1)::timestamp AT TIME ZONE 'UTC';
            EXECUTE format('CREATE TABLE public.%I (LIKE public.telemetry INCLUDING ALL)', part);
            EXECUTE format(
                'WITH strays AS (DELETE FROM public.telemetry_default'
                ' WHERE observed_at >= %L AND observed_at < %L RETURNING *)'
                ' INSERT INTO public.%I SELECT * FROM strays', lower_at, upper_at, part);
            EXECUTE format('ALTER TABLE public.telemetry ATTACH PARTITION public.%I'
                ' FOR VALUES FROM (%L) TO (%L)', part, lower_at, upper_at);
            EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY', part);
            EXECUTE format('ALTER TABLE public.%I FORCE ROW LEVEL SECURITY', part);
            made := made + 1;
        END IF;
        day := day + 1;
    END LOOP;
    RETURN made;
END
$$;

-- Row-level security and grants --------------------------------------------------------------------

ALTER TABLE telemetry_default ENABLE ROW LEVEL SECURITY;
ALTER TABLE telemetry_default FORCE ROW LEVEL SECURITY;

DO $$
DECLARE
    tenant_table text;
BEGIN
    FOREACH tenant_table IN ARRAY ARRAY[
        'tenants', 'users', 'roles', 'user_roles', 'api_keys', 'audit_logs', 'devices', 'metrics', 'telemetry',
        'latest_values', 'dead_letters', 'device_events', 'rules', 'alerts', 'alert_events', 'notification_outbox'
    ] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', tenant_table);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', tenant_table);
        EXECUTE format(
            'CREATE POLICY tenant_isolation ON %I USING (tenant_id = (SELECT current_tenant_id()))'
            ' WITH CHECK (tenant_id = (SELECT current_tenant_id()))', tenant_table);
    END LOOP;
END
$$;
ALTER TABLE ingest_inbox ENABLE ROW LEVEL SECURITY;
ALTER TABLE ingest_inbox FORCE ROW LEVEL SECURITY;

REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC;
REVOKE ALL ON FUNCTION ensure_telemetry_partitions(date, date) FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO iiot_app, iiot_system;

GRANT SELECT ON tenants, telemetry, latest_values, device_events, alert_events, notification_outbox TO iiot_app;
GRANT SELECT, INSERT ON audit_logs TO iiot_app;
GRANT SELECT, INSERT, UPDATE ON users, roles, api_keys, devices, metrics, rules, alerts TO iiot_app;
GRANT SELECT, INSERT, DELETE ON user_roles TO iiot_app;
GRANT SELECT, UPDATE ON dead_letters TO iiot_app;

GRANT SELECT, INSERT, UPDATE, DELETE ON tenants, users, roles, user_roles, api_keys, devices, metrics, telemetry,
    latest_values, dead_letters, ingest_inbox, device_events, rules, alerts, notification_outbox TO iiot_system;
GRANT SELECT, INSERT ON audit_logs, alert_events TO iiot_system;
-- To look for strays; only ensure_telemetry_partitions moves them.
GRANT SELECT ON telemetry_default TO iiot_system;
GRANT USAGE ON SEQUENCE ingest_batch_seq TO iiot_system;
GRANT EXECUTE ON FUNCTION ensure_telemetry_partitions(date, date) TO iiot_system;
