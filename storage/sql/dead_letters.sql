-- name: list_dead_letters
-- Dead letters of the current tenant, newest first, from before before_id.
-- Index: dead_letters_tenant_idx
SELECT dead_letter_id, tenant_id, source, topic, device_id, metric, reason, detail, payload, payload_bytes,
       occurrences, received_at, last_received_at, replayed_at
FROM dead_letters
WHERE tenant_id = (SELECT current_tenant_id())
  AND (%(reason)s::text IS NULL OR reason = %(reason)s::text)
  AND (%(device_id)s::text IS NULL OR device_id = %(device_id)s::text)
  AND dead_letter_id < coalesce(%(before_id)s::bigint, 9223372036854775807)
ORDER BY dead_letter_id DESC
LIMIT %(limit)s::integer;

-- name: find_dead_letter
-- One dead letter of the current tenant.
-- Index: dead_letters_tenant_idx
SELECT dead_letter_id, tenant_id, source, topic, device_id, metric, reason, detail, payload, payload_bytes,
       occurrences, received_at, last_received_at, replayed_at
FROM dead_letters
WHERE dead_letter_id = %(dead_letter_id)s::bigint AND tenant_id = (SELECT current_tenant_id());

-- name: mark_replayed
-- Remembers that the payload was accepted when it was handed in again.
-- Index: dead_letters_pkey
UPDATE dead_letters SET replayed_at = now() WHERE dead_letter_id = %(dead_letter_id)s::bigint;
