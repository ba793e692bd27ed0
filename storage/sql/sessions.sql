-- name: remove_expired_sessions
-- Forgets the sessions of a person that have run out.
-- Index: sessions_user_idx
DELETE FROM sessions
WHERE tenant_id = %(tenant_id)s::integer AND user_id = %(user_id)s::uuid AND expires_at < now();

-- name: open_session
-- Begins a session of a person.
INSERT INTO sessions (tenant_id, user_id, expires_at)
VALUES (%(tenant_id)s::integer, %(user_id)s::uuid, now() + make_interval(secs => %(life_s)s::integer))
RETURNING session_id::text;

-- name: revoke_reused_session
-- Ends a session if it has gone beyond this generation.
-- Index: sessions_pkey
UPDATE sessions
SET revoked_at = now()
WHERE tenant_id = %(tenant_id)s::integer AND session_id = %(session_id)s::uuid
    AND generation > %(generation)s::integer AND revoked_at IS NULL
RETURNING session_id;

-- name: rotate_session
-- Goes to the next generation if this one is the newest of an open session; else no row.
-- Index: sessions_pkey
UPDATE sessions
SET generation = generation + 1, expires_at = now() + make_interval(secs => %(life_s)s::integer)
WHERE tenant_id = %(tenant_id)s::integer AND session_id = %(session_id)s::uuid
    AND generation = %(generation)s::integer AND revoked_at IS NULL AND expires_at > now()
RETURNING generation;
