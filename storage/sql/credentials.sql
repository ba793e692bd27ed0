-- name: add_credential
-- Adds a credential to a device of the current tenant.
INSERT INTO device_credentials (tenant_id, credential_id, device_key, secret_sha256, created_by)
VALUES (current_tenant_id(), %(credential_id)s::uuid, %(device_key)s::bigint, %(secret_sha256)s::bytea, %(created_by)s);

-- name: revoke_credential
-- Ends the credential of a device of the current tenant, if it has one.
-- Index: device_credentials_valid_idx
UPDATE device_credentials
SET revoked_at = now()
WHERE tenant_id = (SELECT current_tenant_id()) AND device_key = %(device_key)s::bigint AND revoked_at IS NULL
RETURNING credential_id::text;

-- name: valid_credential
-- The credential of a device of the current tenant.
-- Index: device_credentials_valid_idx
SELECT credential_id::text, created_at, created_by
FROM device_credentials
WHERE tenant_id = (SELECT current_tenant_id()) AND device_key = %(device_key)s::bigint AND revoked_at IS NULL;

-- name: broker_user
-- How the broker should know one device: without a credential it is to be shut out.
-- Index: devices_pkey
SELECT t.slug, d.device_id, c.credential_id::text, c.secret_sha256
FROM devices d
JOIN tenants t ON t.tenant_id = d.tenant_id
LEFT JOIN device_credentials c
    ON c.tenant_id = d.tenant_id AND c.device_key = d.device_key AND c.revoked_at IS NULL AND d.retired_at IS NULL
WHERE d.device_key = %(device_key)s::bigint;

-- name: broker_users
-- How the broker should know every device that was retired or ever had a credential; all tenants, hourly.
SELECT t.slug, d.device_id, c.credential_id::text, c.secret_sha256
FROM devices d
JOIN tenants t ON t.tenant_id = d.tenant_id
LEFT JOIN device_credentials c
    ON c.tenant_id = d.tenant_id AND c.device_key = d.device_key AND c.revoked_at IS NULL AND d.retired_at IS NULL
WHERE d.retired_at IS NOT NULL
   OR EXISTS (SELECT 1 FROM device_credentials e WHERE e.tenant_id = d.tenant_id AND e.device_key = d.device_key);
