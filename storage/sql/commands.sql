-- name: add_command
-- Adds a command of the current tenant; no row where its id is taken.
INSERT INTO commands (tenant_id, command_id, device_key, name, params, created_at, created_by, expires_at, next_attempt_at)
VALUES (current_tenant_id(), %(command_id)s::uuid, %(device_key)s::bigint, %(name)s, %(params)s::jsonb,
        %(now)s::timestamptz, %(created_by)s, %(expires_at)s::timestamptz, %(now)s::timestamptz)
ON CONFLICT (tenant_id, command_id) DO NOTHING
RETURNING 1;

-- name: find_command
-- One command of a device of the current tenant.
-- Index: commands_pkey
SELECT c.command_id::text, d.device_id, c.name, c.params::text, c.state, c.created_at, c.created_by, c.expires_at,
       c.attempts, c.sent_at, c.delivered_at, c.accepted_at, c.finished_at, c.answer::text, c.late_answer::text,
       c.late_answer_at
FROM commands c
JOIN devices d ON d.tenant_id = c.tenant_id AND d.device_key = c.device_key
WHERE c.tenant_id = (SELECT current_tenant_id()) AND c.command_id = %(command_id)s::uuid
  AND d.device_id = %(device_id)s::text;

-- name: list_commands
-- Commands of a device of the current tenant, newest first, after the given one.
-- Index: commands_device_idx
SELECT c.command_id::text, d.device_id, c.name, c.params::text, c.state, c.created_at, c.created_by, c.expires_at,
       c.attempts, c.sent_at, c.delivered_at, c.accepted_at, c.finished_at, c.answer::text, c.late_answer::text,
       c.late_answer_at
FROM commands c
JOIN devices d ON d.tenant_id = c.tenant_id AND d.device_key = c.device_key
WHERE c.tenant_id = (SELECT current_tenant_id()) AND c.device_key = %(device_key)s::bigint
  AND (%(state)s::text IS NULL OR c.state = %(state)s::text)
  AND (%(before)s::timestamptz IS NULL
       OR c.created_at < %(before)s::timestamptz
       OR (c.created_at = %(before)s::timestamptz AND c.command_id > %(after_id)s::uuid))
ORDER BY c.created_at DESC, c.command_id
LIMIT %(limit)s::integer;

-- name: lock_command
-- The state of one command of a device, locked against other changes.
-- Index: commands_pkey
SELECT state
FROM commands
WHERE tenant_id = %(tenant_id)s::integer AND command_id = %(command_id)s::uuid
  AND device_key = %(device_key)s::bigint
FOR NO KEY UPDATE;

-- name: commands_to_send
-- Commands whose attempt is due and whose time is not over, of all tenants; another dispatcher's are passed over.
-- Index: commands_waiting_idx
SELECT c.tenant_id, t.slug, c.device_key, d.device_id, d.status, c.command_id::text, c.name, c.params::text, c.state, c.expires_at
FROM commands c
JOIN devices d ON d.tenant_id = c.tenant_id AND d.device_key = c.device_key
JOIN tenants t ON t.tenant_id = c.tenant_id
WHERE c.state IN ('created', 'queued', 'sent') AND c.next_attempt_at <= %(now)s::timestamptz
  AND c.expires_at > %(now)s::timestamptz AND d.retired_at IS NULL
ORDER BY c.next_attempt_at
LIMIT %(limit)s::integer
FOR NO KEY UPDATE OF c SKIP LOCKED;

-- name: commands_fallen_due
-- Commands without an end whose time is over, of all tenants.
-- Index: commands_open_idx
SELECT tenant_id, command_id::text, state
FROM commands
WHERE finished_at IS NULL AND expires_at <= %(now)s::timestamptz
ORDER BY expires_at
LIMIT %(limit)s::integer
FOR NO KEY UPDATE SKIP LOCKED;

-- name: move_command
-- Writes the state that a locked command has come to.
-- Index: commands_pkey
UPDATE commands
SET state = %(state)s,
    next_attempt_at = coalesce(%(next_attempt_at)s::timestamptz, next_attempt_at),
    attempts = attempts + (%(state)s = 'sent')::integer,
    sent_at = CASE WHEN %(state)s = 'sent' THEN %(now)s::timestamptz ELSE sent_at END,
    delivered_at = CASE WHEN %(state)s = 'delivered' THEN %(now)s::timestamptz ELSE delivered_at END,
    accepted_at = CASE WHEN %(state)s = 'accepted' THEN %(now)s::timestamptz ELSE accepted_at END,
    finished_at = CASE WHEN %(is_final)s::boolean THEN %(now)s::timestamptz ELSE finished_at END,
    answer = coalesce(%(answer)s::jsonb, answer)
WHERE tenant_id = %(tenant_id)s::integer AND command_id = %(command_id)s::uuid;

-- name: note_late_answer
-- Keeps the first answer that came after the end.
-- Index: commands_pkey
UPDATE commands
SET late_answer = %(answer)s::jsonb, late_answer_at = %(now)s::timestamptz
WHERE tenant_id = %(tenant_id)s::integer AND command_id = %(command_id)s::uuid AND late_answer IS NULL;
