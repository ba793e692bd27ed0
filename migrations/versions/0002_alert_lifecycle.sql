-- The life of an alert: one row for one source on one device, and a journal from which the row can be recomputed.

-- An alert of the platform itself belongs to no device.
ALTER TABLE alerts ALTER COLUMN device_key DROP NOT NULL;
ALTER TABLE alerts
    -- Which alert of the device it is: `rule:<rule_id>`, `device:<code>`, `platform:<name>`.
    ADD COLUMN source text NOT NULL DEFAULT '' CHECK (length(source) <= 200),
    ADD COLUMN condition_holds boolean NOT NULL DEFAULT true,
    ADD COLUMN is_latched boolean NOT NULL DEFAULT false,
    ADD COLUMN acknowledged_at timestamptz,
    ADD COLUMN acknowledge_comment text,
    -- Numbers in the journal of this alert; written with the events themselves, so that no key is needed.
    ADD COLUMN acknowledged_event_id bigint,
    ADD COLUMN attention_event_id bigint,
    ADD COLUMN shelved_by uuid,
    ADD COLUMN shelve_reason text,
    ADD COLUMN occurrence integer NOT NULL DEFAULT 1,
    ADD COLUMN realarm_after_s double precision CHECK (realarm_after_s > 0),
    ADD COLUMN realarm_at timestamptz,
    ADD COLUMN state text NOT NULL GENERATED ALWAYS AS (
        CASE WHEN is_out_of_service THEN 'out_of_service'
             WHEN suppressed_by IS NOT NULL THEN 'suppressed'
             WHEN shelved_until IS NOT NULL THEN 'shelved'
             WHEN is_active AND is_acknowledged THEN 'acknowledged'
             WHEN is_active THEN 'unacknowledged'
             WHEN is_acknowledged THEN 'normal'
             ELSE 'returned_unacknowledged' END
    ) STORED,
    ADD FOREIGN KEY (tenant_id, shelved_by) REFERENCES users (tenant_id, user_id);
ALTER TABLE alerts SET (fillfactor = 70);

CREATE UNIQUE INDEX alerts_source_idx ON alerts (tenant_id, coalesce(device_key, 0), source);
-- Serve the lists that people filter.
CREATE INDEX alerts_state_idx ON alerts (tenant_id, state, raised_at DESC, alert_id);
CREATE INDEX alerts_device_idx ON alerts (tenant_id, device_key, raised_at DESC, alert_id);
CREATE INDEX alerts_rule_idx ON alerts (tenant_id, rule_id, raised_at DESC, alert_id);
-- Serves the look at what stands on a device and on those above it.
CREATE INDEX alerts_active_idx ON alerts (tenant_id, device_key) WHERE is_active;
-- Serve the timers.
CREATE INDEX alerts_shelved_idx ON alerts (shelved_until) WHERE shelved_until IS NOT NULL;
CREATE INDEX alerts_realarm_idx ON alerts (realarm_at) WHERE realarm_at IS NOT NULL;
CREATE INDEX alerts_suppressed_idx ON alerts (tenant_id, device_key) WHERE suppressed_by IS NOT NULL;

ALTER TABLE alert_events
    DROP COLUMN detail,
    ADD COLUMN severity text NOT NULL DEFAULT 'info'
        CHECK (severity IN ('info', 'low', 'medium', 'high', 'critical')),
    ADD COLUMN value double precision,
    ADD COLUMN message text NOT NULL DEFAULT '',
    ADD COLUMN comment text NOT NULL DEFAULT '',
    ADD COLUMN rule_version integer,
    ADD COLUMN occurrence integer NOT NULL DEFAULT 1,
    ADD COLUMN repeat_count integer NOT NULL DEFAULT 0,
    ADD COLUMN actor_user_id uuid,
    ADD COLUMN until timestamptz,
    ADD COLUMN suppressed_by text,
    ADD COLUMN is_out_of_service boolean NOT NULL DEFAULT false,
    ADD COLUMN is_latched boolean NOT NULL DEFAULT false,
    ADD COLUMN realarm_after_s double precision,
    ADD COLUMN acknowledged_event_id bigint,
    ADD FOREIGN KEY (tenant_id, actor_user_id) REFERENCES users (tenant_id, user_id),
    ADD CHECK (kind IN ('raised', 'severity_changed', 'returned', 'cleared', 'realarmed', 'acknowledged',
                        'commented', 'shelved', 'unshelved', 'suppressed', 'unsuppressed', 'out_of_service',
                        'in_service'));
-- A rule's transition is kept once, however often it is heard.
CREATE UNIQUE INDEX alert_events_once_idx ON alert_events (tenant_id, alert_id, observed_at, kind)
    WHERE kind IN ('raised', 'severity_changed', 'returned', 'cleared', 'realarmed');
-- Serves the journal of a tenant, and the figures over a stretch of time.
CREATE INDEX alert_events_time_idx ON alert_events (tenant_id, kind, observed_at, alert_id);

CREATE FUNCTION refuse_change_of_journal() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    RAISE EXCEPTION 'the journal of alerts is append-only' USING ERRCODE = 'integrity_constraint_violation';
END
$$;
CREATE TRIGGER alert_events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON alert_events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_journal();

GRANT INSERT ON alert_events TO iiot_app;

-- Devices that people have taken out of service; their alerts go on being evaluated.
ALTER TABLE devices
    ADD COLUMN out_of_service_at timestamptz,
    ADD COLUMN out_of_service_by text,
    ADD COLUMN out_of_service_reason text;
CREATE INDEX devices_out_of_service_idx ON devices (tenant_id, device_key) WHERE out_of_service_at IS NOT NULL;
