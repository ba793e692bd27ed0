-- name: try_lock
-- Take the lock of a periodic job until the end of the transaction; false where another process has it.
SELECT pg_try_advisory_xact_lock(hashtext('iiot job'), hashtext(%(name)s));

-- name: ping
-- A sign of life.
SELECT 1;
