-- Commands to devices, and what became of them.
CREATE TABLE commands (
    tenant_id integer NOT NULL,
    -- Chosen by us or by the caller: asking twice with the same id commands once.
    command_id uuid NOT NULL,
    device_key bigint NOT NULL,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 64),
    params jsonb NOT NULL,
    state text NOT NULL DEFAULT 'created' CHECK (state IN (
        'created', 'queued', 'sent', 'delivered', 'accepted', 'rejected', 'succeeded', 'failed', 'timed_out',
        'expired', 'cancelled')),
    created_at timestamptz NOT NULL,
    created_by text NOT NULL,
    expires_at timestamptz NOT NULL CHECK (expires_at > created_at),
    next_attempt_at timestamptz NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    sent_at timestamptz,
    delivered_at timestamptz,
    accepted_at timestamptz,
    finished_at timestamptz,
    answer jsonb,
    -- What the device said when nobody waited any more.
    late_answer jsonb,
    late_answer_at timestamptz,
    PRIMARY KEY (tenant_id, command_id),
    FOREIGN KEY (tenant_id, device_key) REFERENCES devices (tenant_id, device_key)
) WITH (fillfactor = 80);
-- Serves the list of a device.
CREATE INDEX commands_device_idx ON commands (tenant_id, device_key, created_at DESC, command_id);
-- Serve the dispatcher: what is to be sent, and whose time is over.
CREATE INDEX commands_waiting_idx ON commands (next_attempt_at) WHERE state IN ('created', 'queued', 'sent');
CREATE INDEX commands_open_idx ON commands (expires_at) WHERE finished_at IS NULL;

ALTER TABLE commands ENABLE ROW LEVEL SECURITY;
ALTER TABLE commands FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON commands USING (tenant_id = (SELECT current_tenant_id()))
    WITH CHECK (tenant_id = (SELECT current_tenant_id()));
GRANT SELECT, INSERT, UPDATE ON commands TO iiot_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON commands TO iiot_system;
