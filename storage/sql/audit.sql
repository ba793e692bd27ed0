-- name: add_audit_log
-- One entry of the audit log.
INSERT INTO audit_logs (tenant_id, actor, action, target, address, request_id, detail)
VALUES (%(tenant_id)s::integer, %(actor)s, %(action)s, %(target)s, %(address)s::inet, %(request_id)s, %(detail)s::jsonb);
