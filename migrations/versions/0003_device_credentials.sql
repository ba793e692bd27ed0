-- Credentials of devices for the broker. The secret itself is nowhere: it follows from credential_id and the
-- platform's secret key, so that a broker that has lost its users can be given them again.
CREATE TABLE device_credentials (
    credential_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id integer NOT NULL,
    device_key bigint NOT NULL,
    -- SHA-256 of the secret, to notice that the secret key is no longer the one it was made with.
    secret_sha256 bytea NOT NULL CHECK (length(secret_sha256) = 32),
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL,
    revoked_at timestamptz,
    UNIQUE (tenant_id, credential_id),
    FOREIGN KEY (tenant_id, device_key) REFERENCES devices (tenant_id, device_key)
);
CREATE UNIQUE INDEX device_credentials_valid_idx ON device_credentials (tenant_id, device_key) WHERE revoked_at IS NULL;
-- Serves the comparison with the broker: devices that had a credential at any time.
CREATE INDEX device_credentials_device_idx ON device_credentials (tenant_id, device_key);

ALTER TABLE device_credentials ENABLE ROW LEVEL SECURITY;
ALTER TABLE device_credentials FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON device_credentials USING (tenant_id = (SELECT current_tenant_id()))
    WITH CHECK (tenant_id = (SELECT current_tenant_id()));
GRANT SELECT, INSERT, UPDATE ON device_credentials TO iiot_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON device_credentials TO iiot_system;
