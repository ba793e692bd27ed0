-- name: next_batch
-- The number of the next ingest batch; a reading's ingest_seq is batch number * 2^20 + its place.
SELECT nextval('ingest_batch_seq');

-- name: next_batch_straight
-- The same, and a savepoint to return to when the rows cannot go straight into the table: one round trip.
SAVEPOINT straight;
SELECT nextval('ingest_batch_seq');

-- name: create_incoming
-- The session's own copy of the telemetry columns, for batches that may hold what is stored already.
CREATE TEMP TABLE IF NOT EXISTS incoming (
    observed_at timestamptz NOT NULL,
    value double precision NOT NULL,
    received_at timestamptz NOT NULL,
    ingest_seq bigint NOT NULL,
    metric_id integer NOT NULL,
    tenant_id integer NOT NULL,
    quality smallint NOT NULL
) ON COMMIT DELETE ROWS;

-- name: store_incoming
-- Store what is new of the staged readings, the first of equal keys; the ingest_seq of each stored one.
-- Index: telemetry_pkey
INSERT INTO telemetry (observed_at, value, received_at, ingest_seq, metric_id, tenant_id, quality)
SELECT DISTINCT ON (metric_id, observed_at)
    observed_at, value, received_at, ingest_seq, metric_id, tenant_id, quality
FROM incoming
ORDER BY metric_id, observed_at, ingest_seq
ON CONFLICT (metric_id, observed_at) DO NOTHING
RETURNING ingest_seq;

-- name: unstored_incoming
-- Of the staged readings, those that are not the stored ones, with the value that is stored instead.
-- Index: telemetry_pkey
SELECT i.ingest_seq, t.value
FROM incoming i
JOIN telemetry t ON t.metric_id = i.metric_id AND t.observed_at = i.observed_at
WHERE t.ingest_seq <> i.ingest_seq;

-- name: advance_latest
-- Keep the newest reading of each metric by observed_at; the metrics that moved.
-- Index: latest_values_pkey
INSERT INTO latest_values AS latest (metric_id, tenant_id, observed_at, value, quality, received_at)
SELECT offered.metric_id, offered.tenant_id,
       'epoch'::timestamptz + offered.observed_at_us * interval '1 microsecond',
       offered.value, offered.quality,
       'epoch'::timestamptz + offered.received_at_us * interval '1 microsecond'
FROM unnest(
    %(metric_ids)s::integer[], %(tenant_ids)s::integer[], %(observed_at_us)s::bigint[],
    %(observed_values)s::double precision[], %(qualities)s::smallint[], %(received_at_us)s::bigint[]
) AS offered (metric_id, tenant_id, observed_at_us, value, quality, received_at_us)
ORDER BY offered.metric_id
ON CONFLICT (metric_id) DO UPDATE
SET observed_at = excluded.observed_at, value = excluded.value,
    quality = excluded.quality, received_at = excluded.received_at
WHERE excluded.observed_at > latest.observed_at
RETURNING metric_id;

-- name: tenant_by_slug
-- The tenant that a topic names.
-- Index: tenants_slug_key
SELECT tenant_id FROM tenants WHERE slug = %(slug)s;

-- name: device_with_metrics
-- A device and its metrics, one row a metric; one row with null metrics where it has none.
-- Index: devices_tenant_id_device_id_key
SELECT d.device_key, d.retired_at IS NOT NULL, d.status,
       (extract(epoch FROM d.last_seen) * 1000000)::bigint,
       m.metric_id, m.name, m.unit, m.kind
FROM devices d
LEFT JOIN metrics m ON m.tenant_id = d.tenant_id AND m.device_key = d.device_key
WHERE d.tenant_id = %(tenant_id)s::integer AND d.device_id = %(device_id)s;

-- name: register_device
-- A device that its first message introduces; an existing one is left as it is.
INSERT INTO devices (tenant_id, device_id, name)
VALUES (%(tenant_id)s, %(device_id)s, %(device_id)s)
ON CONFLICT (tenant_id, device_id) DO NOTHING;

-- name: register_metrics
-- Metrics that a reading introduces; returns all the named ones, new or not.
-- Index: metrics_tenant_id_device_key_name_key
INSERT INTO metrics (tenant_id, device_key, name, unit, kind)
SELECT %(tenant_id)s::integer, %(device_key)s::bigint, offered.name, offered.unit, offered.kind
FROM unnest(%(names)s::text[], %(units)s::text[], %(kinds)s::text[]) AS offered (name, unit, kind)
ON CONFLICT (tenant_id, device_key, name) DO UPDATE SET name = excluded.name
RETURNING metric_id, name, unit, kind;

-- name: mark_seen
-- A device sent telemetry: when, and that it is online. Returns the devices whose status changed.
-- Index: devices_pkey
UPDATE devices d
SET last_seen = greatest(d.last_seen, 'epoch'::timestamptz + seen.at_us * interval '1 microsecond'),
    status = seen.status,
    status_changed_at = CASE WHEN d.status = seen.status THEN d.status_changed_at
                             ELSE 'epoch'::timestamptz + seen.at_us * interval '1 microsecond' END
FROM unnest(%(device_keys)s::bigint[], %(at_us)s::bigint[], %(statuses)s::text[]) AS seen (device_key, at_us, status)
WHERE d.device_key = seen.device_key;

-- name: redelivered
-- Of these messages, those whose very payload was stored under the same id.
-- Index: ingest_inbox_pkey
SELECT inbox.message_id, inbox.payload_hash
FROM unnest(%(message_ids)s::integer[], %(hashes)s::bytea[]) AS offered (message_id, payload_hash)
JOIN ingest_inbox inbox ON inbox.client_id = %(client_id)s AND inbox.message_id = offered.message_id
WHERE inbox.payload_hash = offered.payload_hash;

-- name: remember_messages
-- The payload stored last under each message id.
-- Index: ingest_inbox_pkey
INSERT INTO ingest_inbox (client_id, message_id, payload_hash)
SELECT %(client_id)s, offered.message_id, offered.payload_hash
FROM unnest(%(message_ids)s::integer[], %(hashes)s::bytea[]) AS offered (message_id, payload_hash)
ON CONFLICT (client_id, message_id) DO UPDATE SET payload_hash = excluded.payload_hash;

-- name: forget_messages
-- The broker's session is gone, and with it the meaning of its message ids.
-- Index: ingest_inbox_pkey
DELETE FROM ingest_inbox WHERE client_id = %(client_id)s;

-- name: add_dead_letters
-- What could not be stored; the same thing again raises the count of the row that is there.
-- Index: dead_letters_fingerprint_idx
INSERT INTO dead_letters AS letter (
    tenant_id, source, topic, device_id, metric, reason, detail, payload, payload_bytes, fingerprint,
    occurrences, received_at, last_received_at
)
SELECT offered.tenant_id, offered.source, offered.topic, offered.device_id, offered.metric, offered.reason,
       offered.detail, offered.payload, offered.payload_bytes, offered.fingerprint, offered.occurrences,
       'epoch'::timestamptz + offered.received_at_us * interval '1 microsecond',
       'epoch'::timestamptz + offered.received_at_us * interval '1 microsecond'
FROM unnest(
    %(tenant_ids)s::integer[], %(sources)s::text[], %(topics)s::text[], %(device_ids)s::text[], %(metrics)s::text[],
    %(reasons)s::text[], %(details)s::text[], %(payloads)s::bytea[], %(payload_bytes)s::integer[],
    %(fingerprints)s::bytea[], %(occurrences)s::integer[], %(received_at_us)s::bigint[]
) AS offered (tenant_id, source, topic, device_id, metric, reason, detail, payload, payload_bytes,
              fingerprint, occurrences, received_at_us)
ON CONFLICT (coalesce(tenant_id, 0), fingerprint) DO UPDATE
SET occurrences = letter.occurrences + excluded.occurrences, last_received_at = excluded.last_received_at;

-- name: add_device_event
-- What a device says besides telemetry; the same thing again is stored once.
-- Index: device_events_tenant_id_device_key_fingerprint_key
INSERT INTO device_events (tenant_id, device_key, kind, subject, payload, fingerprint, received_at)
VALUES (%(tenant_id)s::integer, %(device_key)s::bigint, %(kind)s, %(subject)s, %(payload)s::jsonb, %(fingerprint)s::bytea,
        'epoch'::timestamptz + %(received_at_us)s::bigint * interval '1 microsecond')
ON CONFLICT (tenant_id, device_key, fingerprint) DO NOTHING;
