-- name: ensure_tenant
-- Makes the tenant unless it exists; no row where it does.
-- Index: tenants_slug_key
INSERT INTO tenants (slug, name) VALUES (%(slug)s, %(name)s)
ON CONFLICT (slug) DO NOTHING
RETURNING tenant_id;

-- name: tenant_id_of_slug
-- The number of the tenant with this slug.
-- Index: tenants_slug_key
SELECT tenant_id FROM tenants WHERE slug = %(slug)s::text;

-- name: put_default_role
-- Makes a default role, or brings its permissions to those of this release.
INSERT INTO roles (tenant_id, name, description, permissions, is_default)
VALUES (%(tenant_id)s::integer, %(name)s, %(description)s, %(permissions)s::text[], true)
ON CONFLICT (tenant_id, name) DO UPDATE
SET description = excluded.description, permissions = excluded.permissions
WHERE roles.is_default;

-- name: create_user
-- Adds a person to a tenant; no row where the tenant has the address already.
INSERT INTO users (tenant_id, email, name, password_hash)
VALUES (%(tenant_id)s::integer, %(email)s, %(name)s, %(password_hash)s)
ON CONFLICT (tenant_id, email) DO NOTHING
RETURNING user_id::text;

-- name: grant_role
-- Gives a person the role of this name in their own tenant.
-- Index: roles_tenant_id_name_key
INSERT INTO user_roles (tenant_id, user_id, role_id)
SELECT r.tenant_id, %(user_id)s::uuid, r.role_id
FROM roles r
WHERE r.tenant_id = %(tenant_id)s::integer AND r.name = %(role)s::text
ON CONFLICT DO NOTHING;

-- name: has_user_with_role
-- Whether a tenant has an active person with the role of this name.
-- Index: user_roles_pkey
SELECT EXISTS (
    SELECT 1
    FROM roles r
    JOIN user_roles ur ON ur.tenant_id = r.tenant_id AND ur.role_id = r.role_id
    JOIN users u ON u.tenant_id = ur.tenant_id AND u.user_id = ur.user_id
    WHERE r.tenant_id = %(tenant_id)s::integer AND r.name = %(role)s::text AND u.is_active
);

-- name: login_candidates
-- The active people with this address, in all tenants or in the one named.
-- Index: users_email_idx
SELECT u.user_id::text, u.tenant_id, u.password_hash
FROM users u
JOIN tenants t ON t.tenant_id = u.tenant_id
WHERE u.email = %(email)s::text AND u.is_active AND (%(tenant)s::text IS NULL OR t.slug = %(tenant)s::text)
ORDER BY u.tenant_id
LIMIT 2;

-- name: account
-- A person with their tenant, roles and permissions, as the current tenant sees them; no row where the session is over.
-- Index: users_tenant_id_user_id_key
SELECT u.email, u.name, u.tenant_id, t.slug, t.name, u.token_version, u.password_hash,
       coalesce(g.roles, '{}'), coalesce(g.permissions, '{}')
FROM users u
JOIN tenants t ON t.tenant_id = u.tenant_id
LEFT JOIN LATERAL (
    SELECT array_agg(DISTINCT r.name) AS roles, array_agg(DISTINCT p.permission) AS permissions
    FROM user_roles ur
    JOIN roles r ON r.tenant_id = ur.tenant_id AND r.role_id = ur.role_id
    LEFT JOIN unnest(r.permissions) AS p (permission) ON true
    WHERE ur.tenant_id = u.tenant_id AND ur.user_id = u.user_id
) g ON true
WHERE u.tenant_id = (SELECT current_tenant_id()) AND u.user_id = %(user_id)s::uuid AND u.is_active
    AND (%(session_id)s::uuid IS NULL OR EXISTS (
        SELECT 1
        FROM sessions s
        WHERE s.session_id = %(session_id)s::uuid AND s.tenant_id = u.tenant_id AND s.user_id = u.user_id
            AND s.revoked_at IS NULL AND s.expires_at > now()
    ));

-- name: note_login
-- Remembers when a person signed in, and a hash of newer strength where one was made.
-- Index: users_pkey
UPDATE users
SET last_login_at = now(), password_hash = coalesce(%(password_hash)s::text, password_hash)
WHERE user_id = %(user_id)s::uuid;

-- name: revoke_tokens
-- Makes all tokens issued to a person so far worthless.
-- Index: users_pkey
UPDATE users SET token_version = token_version + 1 WHERE user_id = %(user_id)s::uuid;

-- name: set_password
-- Replaces a password, unless it has changed since it was read, and makes all earlier tokens worthless.
-- Index: users_pkey
UPDATE users
SET password_hash = %(password_hash)s::text, token_version = token_version + 1
WHERE user_id = %(user_id)s::uuid AND password_hash = %(replaced_hash)s::text
RETURNING token_version;
