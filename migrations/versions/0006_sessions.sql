-- Sessions: one row for each sign-in, so that refresh tokens rotate and a stolen one shows.
--
-- A session's refresh tokens are numbered by generation and only the newest one works. An older one that is
-- used once more was copied: the whole session ends.

CREATE TABLE sessions (
    session_id uuid NOT NULL DEFAULT gen_random_uuid(),
    tenant_id integer NOT NULL,
    user_id uuid NOT NULL,
    generation integer NOT NULL DEFAULT 1,
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, session_id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, user_id) ON DELETE CASCADE
) WITH (fillfactor = 80);
-- Serves the removal of a person's sessions that have run out.
CREATE INDEX sessions_user_idx ON sessions (tenant_id, user_id, expires_at);

ALTER TABLE sessions ENABLE ROW LEVEL SECURITY;
ALTER TABLE sessions FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON sessions
    USING (tenant_id = (SELECT current_tenant_id())) WITH CHECK (tenant_id = (SELECT current_tenant_id()));
REVOKE ALL ON sessions FROM PUBLIC;
GRANT SELECT, INSERT, UPDATE, DELETE ON sessions TO iiot_app, iiot_system;
